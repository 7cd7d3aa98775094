// Package entry owns the kernel's first instructions and the hooks by which
// the Go runtime finds its machine: Hwinit0, Hwinit1 and their like.
package entry

import (
	"unsafe"

	"github.com/sluice-os/sluice/kernel/layout"
)

// The boot stack is g0's: the runtime takes 64 KiB below its top. The page
// under those is the guard that vm.Init unmaps.
const (
	stackSize     = 64 << 10
	bootStackSize = stackSize + 3*layout.PageSize
)

var bootStack [bootStackSize]byte

// startInfo is the physical address that the boot loader left in EBX, or X0.
var startInfo uint64

// StackGuard returns the address of the unmapped page below the boot stack.
func StackGuard() uintptr {
	top := (uintptr(unsafe.Pointer(&bootStack)) + bootStackSize) &^ (layout.PageSize - 1)
	return top - stackSize - layout.PageSize
}

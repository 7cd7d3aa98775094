// Package rt is what a program in a domain has instead of an operating system:
// it answers the system calls of the standard library. The builder puts it into
// the standard library as internal/sluice/rt, where package os imports it.
package rt

import (
	"runtime/goos"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
)

//go:linkname kernel runtime.sluiceKernel
func kernel(num, a1, a2, a3, a4 uintptr) int64

func init() {
	goos.Syscall = answer
}

func answer(num, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr, ok bool) {
	switch num {
	case 1:
		if a1 != 1 && a1 != 2 {
			return ^uintptr(0), 0, 9, true
		}
		goos.Write(unsafe.Pointer(a2), int32(a3))
		return a3, 0, 0, true
	case 318:
		n := kernel(abi.SysControl, abi.ControlRandom, a1, min(a2, abi.ControlMax), 0)
		return uintptr(n), 0, 0, true
	case 231:
		goos.Exit(int32(a1))
	}
	return 0, 0, 0, false
}

// Command release gives back memory that it uses.
package main

import (
	"fmt"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

func main() {
	fmt.Println("start")
	kit.Call(abi.SysRelease, uintptr(abi.StackTop-abi.StackSize), 0, 0, 0)
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = 1
	}
	start := (uintptr(unsafe.Pointer(&b[0])) + 4095) &^ 4095
	for range 100 {
		kit.Check(kit.Call(abi.SysRelease, start, 128<<10, 0, 0) == 0, "release")
		for i := range uintptr(128 << 10) {
			p := (*byte)(unsafe.Pointer(start + i))
			kit.Check(*p == 0, "byte %d is %d after a release", i, *p)
			*p = 1
		}
	}
	fmt.Println("all zero")
}

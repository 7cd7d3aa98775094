// Command guard writes below the stack that it began on.
package main

import (
	"fmt"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

func main() {
	fmt.Println("start")
	*(*byte)(unsafe.Pointer(uintptr(abi.StackTop - abi.StackSize - 8))) = 1
	kit.Survived("WROTE")
}

// Command asks has the kernel work for it all the time: it runs almost nothing
// itself.
package main

import (
	"fmt"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

func main() {
	buffer := make([]byte, abi.ControlMax)
	fmt.Println("spinning")
	for {
		kit.Call(abi.SysControl, abi.ControlRandom, uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)), 0)
	}
}

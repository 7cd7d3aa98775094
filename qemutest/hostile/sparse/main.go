// Command sparse touches a page here and there, so that page tables take the quota.
package main

import (
	"fmt"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

func main() {
	fmt.Println("start")
	for addr := uintptr(abi.Start + 1<<30); addr < abi.HeapEnd; addr += 1 << 21 {
		*(*byte)(unsafe.Pointer(addr)) = 1
	}
	kit.Survived("TOUCHED ALL")
}

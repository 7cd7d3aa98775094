// Command search looks for what others have left in the memory that it is given.
package main

import (
	"fmt"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

func main() {
	fmt.Println("start")
	const from = abi.Start + 2<<30
	memory := unsafe.Slice((*uint64)(unsafe.Pointer(uintptr(from))), 6<<20/8)
	for i, word := range memory {
		kit.Check(word == 0, "the word at %#x is %#x", from+8*i, word)
	}
	for i := range memory {
		memory[i] = 0x5ec2e75ec2e7 // for the next one to find
	}
	fmt.Println("all zero")
}

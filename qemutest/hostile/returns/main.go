// Command returns has SysReturn load what no domain may have.
package main

import (
	"bufio"
	"fmt"
	"os"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

func main() {
	fmt.Println("start")
	line, _, _ := bufio.NewReader(os.Stdin).ReadLine()
	c := abi.Context{IP: uint64(kit.Entries(kit.Exit)), Flags: 0x202, SP: abi.StackTop - 64}
	switch string(line) {
	case "kernel":
		c.IP = 0x201000
	case "noncanonical":
		c.IP = 1 << 63
	case "upper":
		c.IP = 0xffff_8000_0020_1000
	case "stack":
		c.SP = 1 << 63
	case "flags": // goes on at code that exits
		c.Flags = ^uint64(0)
	}
	kit.Call(abi.SysReturn, uintptr(unsafe.Pointer(&c)), 0, 0, 0)
	kit.Survived("RETURNED")
}

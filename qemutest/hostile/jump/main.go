// Command jump executes what it is told to: data, heap, stack, the boot page, or an
// address.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

var data = [16]byte{0xc3}

func main() {
	fmt.Println("start")
	line, _, _ := bufio.NewReader(os.Stdin).ReadLine()
	heap := make([]byte, 1<<16)
	heap[0] = 0xc3
	var addr uintptr
	switch string(line) {
	case "data":
		addr = uintptr(unsafe.Pointer(&data))
	case "heap":
		addr = uintptr(unsafe.Pointer(&heap[0]))
	case "stack":
		addr = abi.StackTop - 64
	case "boot":
		addr = abi.BootPage
	default:
		n, err := strconv.ParseUint(string(line), 0, 64)
		kit.Check(err == nil, "%v", err)
		addr = uintptr(n)
	}
	kit.Jump(addr)
	kit.Survived("EXECUTED")
}

// Command poke writes the address that it is given.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

func main() {
	fmt.Println("start")
	line, _, _ := bufio.NewReader(os.Stdin).ReadLine()
	addr, err := strconv.ParseUint(string(line), 0, 64)
	kit.Check(err == nil, "%v", err)
	*(*byte)(unsafe.Pointer(uintptr(addr))) = 0x5a
	kit.Survived("WROTE")
}

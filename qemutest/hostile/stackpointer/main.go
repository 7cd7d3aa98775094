// Command stackpointer puts its stack pointer where no stack can be, and makes a system call
// or spins.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

func main() {
	fmt.Println("start")
	line, _, _ := bufio.NewReader(os.Stdin).ReadLine()
	what, where, _ := strings.Cut(string(line), " ")
	sp, err := strconv.ParseUint(where, 0, 64)
	kit.Check(err == nil, "%v", err)
	if what == "call" {
		kit.SyscallAtStack(uintptr(sp))
		kit.Survived("CALLED")
	}
	kit.SpinAtStack(uintptr(sp))
}

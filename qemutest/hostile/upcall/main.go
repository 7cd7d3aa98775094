// Command upcall gives the kernel a routine for upcalls that is not fit for it, and waits
// for one.
package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

func main() {
	fmt.Println("start")
	line, _, _ := bufio.NewReader(os.Stdin).ReadLine()
	which, ok := map[string]int{"spin": kit.Spin, "fault": kit.Fault, "exit": kit.Exit, "nowhere": kit.Nowhere}[string(line)]
	kit.Check(ok, "no routine %q", line)
	if string(line) == "spin" {
		fmt.Println("spinning")
	}
	kit.Check(kit.Call(abi.SysUpcall, kit.Entries(which), abi.StackTop-4096, 0, 0) == 0, "SysUpcall")
	kit.Loop()
}

// Command instruction executes one instruction that no domain may.
package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

func main() {
	fmt.Println("start")
	line, _, _ := bufio.NewReader(os.Stdin).ReadLine()
	f, ok := kit.Instructions[string(line)]
	kit.Check(ok, "no instruction %q", line)
	f()
	kit.Survived(string(line))
}

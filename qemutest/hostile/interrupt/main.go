// Command interrupt executes INT n.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"

	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

func main() {
	fmt.Println("start")
	line, _, _ := bufio.NewReader(os.Stdin).ReadLine()
	n, err := strconv.ParseUint(string(line), 0, 8)
	kit.Check(err == nil, "%v", err)
	kit.Int(uint8(n))
	kit.Survived("INT")
}

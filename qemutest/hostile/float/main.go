// Command float divides by zero with floating-point exceptions on.
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
	if string(line) == "x87" {
		kit.DivideX87()
		kit.Survived("DIVIDED")
	}
	kit.DivideSSE()
	fmt.Println("divided")
}

// Command float divides by zero with floating-point exceptions on.
package main

import (
	"fmt"

	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

func main() {
	fmt.Println("start")
	kit.DivideSSE()
	kit.Survived("DIVIDED")
}

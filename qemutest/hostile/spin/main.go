// Command spin spins in a loop without a function call.
package main

import (
	"fmt"

	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

func main() {
	fmt.Println("start")
	fmt.Println("spinning")
	kit.Loop()
}

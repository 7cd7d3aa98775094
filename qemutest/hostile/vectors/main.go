// Command vectors keeps a pattern in all vector registers over thousands of system calls
// and preemptions, beside others that do the same.
package main

import (
	"fmt"

	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

func main() {
	fmt.Println("start")
	for round := range 20 {
		var in, out [16][32]byte
		for i := range in {
			for j := range in[i] {
				in[i][j] = byte(round*7 + i*16 + j)
			}
		}
		kit.Vectors(&in, &out, 500)
		kit.Check(in == out, "round %d: the registers are\n%x\nnot\n%x", round, out, in)
	}
	fmt.Println("all kept")
}

// Command allocate allocates for ever.
package main

import (
	"fmt"
)

var kept [][]byte

func main() {
	fmt.Println("start")
	for {
		b := make([]byte, 64<<10)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		kept = append(kept, b)
	}
}

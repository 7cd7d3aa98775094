// Command flood floods the console.
package main

import (
	"fmt"
	"strings"
	"time"
)

func main() {
	fmt.Println("start")
	line := strings.Repeat("flood ", 100)
	began := time.Now()
	for range 1000 {
		fmt.Println(line)
	}
	fmt.Printf("\x1b[2J\x07flooded for %v\n", time.Since(began) > time.Second)
}

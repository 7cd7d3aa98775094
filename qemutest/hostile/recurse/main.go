// Command recurse recurses for ever: Go's own limit ends it.
package main

import (
	"fmt"
)

//lint:ignore SA5007 recursion without end is what it is for
func deeper(n int) int { return deeper(n+1) + 1 }

func main() {
	fmt.Println("start")
	fmt.Println(deeper(0))
}

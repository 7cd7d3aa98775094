// Command fork starts goroutines for ever.
package main

import (
	"fmt"
)

func main() {
	fmt.Println("start")
	for {
		go func() { select {} }()
	}
}

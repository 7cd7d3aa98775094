// Command spinners spins in many goroutines.
package main

import (
	"fmt"
)

func main() {
	fmt.Println("start")
	for range 50 {
		go func() {
			//lint:ignore SA5002 spinning is what it is for
			for {
			}
		}()
	}
	fmt.Println("spinning")
	//lint:ignore SA5002 spinning is what it is for
	for {
	}
}

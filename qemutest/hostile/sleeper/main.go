// Command sleeper is well behaved: it sleeps some hundred times for a millisecond
// and tells by how much it woke late at worst.
package main

import (
	"fmt"
	"time"
)

func main() {
	const nap = time.Millisecond
	time.Sleep(2 * time.Second) // to start took more than its share
	worst := time.Duration(0)
	for range 300 {
		before := time.Now()
		time.Sleep(nap)
		worst = max(worst, time.Since(before)-nap)
	}
	fmt.Printf("worst delay %d us\n", worst.Microseconds())
}

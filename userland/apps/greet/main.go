// Command greet is an app as any other Go program: it greets, says now and then
// how it fares, and leaves when it is asked to.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	leave := make(chan os.Signal, 1) // before the greeting: who reads that may ask at once
	signal.Notify(leave, syscall.SIGTERM, os.Interrupt)

	name, _ := os.Hostname()
	greeting := strings.Join(os.Args[1:], " ")
	if text, err := os.ReadFile("/etc/greeting"); err == nil && greeting == "" {
		greeting = strings.TrimSpace(string(text))
	}
	fmt.Printf("%s from domain %s (%s)\n", greeting, name, runtime.Version())

	every := time.NewTicker(time.Minute)
	start := time.Now()
	for {
		select {
		case <-every.C:
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Printf("up %v, heap %d KiB, %d collections\n", time.Since(start).Truncate(time.Second), m.HeapAlloc>>10, m.NumGC)
		case s := <-leave:
			fmt.Printf("good-bye: %v\n", s)
			return
		}
	}
}

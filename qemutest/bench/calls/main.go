// Command calls measures what entering the kernel costs. It runs as a domain of
// Sluice and, by the same instructions, as a process of Linux:
//
//	calls null NUMBER COUNT    a system call that does nothing
//	calls switch NUMBER COUNT  one that gives the processor to the other program
//	calls start                the time from loading to main, in a domain
//
// It prints "calls: WHAT NANOSECONDS", of one call.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

//go:linkname nanotime runtime.nanotime
func nanotime() int64

func main() {
	if len(os.Args) == 2 && os.Args[1] == "start" {
		boot := (*abi.Boot)(unsafe.Pointer(uintptr(abi.BootPage)))
		fmt.Println("calls: start", nanotime()-int64(boot.Started))
		return
	}
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "calls: want null or switch, the number of a system call and a count")
		os.Exit(2)
	}
	number, err := strconv.ParseUint(os.Args[2], 10, 16)
	if err != nil {
		fmt.Fprintln(os.Stderr, "calls:", err)
		os.Exit(2)
	}
	count, err := strconv.Atoi(os.Args[3])
	if err != nil || count < 1 {
		fmt.Fprintf(os.Stderr, "calls: count %q: want 1 or more\n", os.Args[3])
		os.Exit(2)
	}
	one := func() { kit.Call(uintptr(number), 0, 0, 0, 0) }
	if os.Args[1] == "switch" {
		// Its like has as much to do: both begin at one second of the clock.
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(2 * time.Second)))
	}
	for range count / 10 {
		one()
	}
	before := time.Now()
	for range count {
		one()
	}
	fmt.Printf("calls: %s %.1f\n", os.Args[1], float64(time.Since(before).Nanoseconds())/float64(count))
}

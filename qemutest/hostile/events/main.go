// Command events writes the event page, which is its own to spoil.
package main

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
)

func main() {
	fmt.Println("start")
	page := unsafe.Slice((*byte)(unsafe.Pointer(uintptr(abi.EventPage))), 4096)
	for i := 8; i < len(page); i++ {
		page[i] = 0xff
	}
	for range 10 {
		*(*uint64)(unsafe.Pointer(uintptr(abi.EventPage))) = ^uint64(0) &^ (abi.EventTerm | abi.EventInterrupt)
		time.Sleep(time.Millisecond)
	}
	fmt.Println("spoilt")
}

// Command keep has its channel grow, and then does as it is told with the memory.
package main

import (
	"bufio"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
	"github.com/sluice-os/sluice/userland/channel"
)

var (
	request = &abi.OpenRequest{Offloads: abi.OffloadsAll}
	schema  *abi.Schema
	base    unsafe.Pointer
)

func main() {
	fmt.Println("start")
	lines := bufio.NewScanner(os.Stdin)
	lines.Scan()
	copy(request.Schema[:], "default")
	n := kit.Call(abi.SysControl, abi.ControlOpen, uintptr(unsafe.Pointer(request)), unsafe.Sizeof(*request), 0)
	kit.Check(n == 0, "open: %d", n)
	base = unsafe.Pointer(uintptr(request.Base))
	schema = (*abi.Schema)(base)
	c, err := channel.New(base, func() { kit.Call(abi.SysNotify, uintptr(request.Channel), 0, 0, 0) })
	kit.Check(err == nil, "%v", err)
	switch lines.Text() {
	case "keep":
		grow(c)
		time.Sleep(time.Minute)
	case "return":
		// The control: what it is asked for it gives back.
		grow(c)
		for hold(abi.HoldLarge) > schema.Large.Count/4 {
			time.Sleep(100 * time.Millisecond)
		}
		c.Trim()
		grow(c)
		fmt.Println("gave it back")
		os.Exit(0)
	case "stale":
		stale(c)
		fmt.Println("all zero")
		os.Exit(0)
	}
	kit.Survived(lines.Text())
}

// grow sends packets, which the kernel takes and drops, until the domain may hold as many
// large buffers as it ever may.
func grow(c *channel.Channel) {
	for most := uint32(0); ; {
		for range 20 {
			kit.Check(c.Send(&channel.Outgoing{Length: c.Longest()}, func([]byte) {}), "no room")
		}
		now := hold(abi.HoldLarge)
		kit.Check(now <= schema.Large.Count/2, "%d of %d buffers", now, schema.Large.Count)
		if now == most {
			break
		}
		most = now
	}
	c.Flush()
}

// hold is how many of a kind it may have.
func hold(kind int) uint32 {
	r := (*abi.Ring)(unsafe.Add(base, schema.Rings[abi.RingAlloc].Header))
	return atomic.LoadUint32(&r.Hold[kind])
}

// stale reads and writes all buffers, most of which have no memory yet, and sees to it that
// those that come then are zero and work.
func stale(c *channel.Channel) {
	t := &schema.Large
	all := unsafe.Slice((*uint64)(unsafe.Add(base, t.Offset)), t.Count*t.Size/8)
	for i, w := range all {
		kit.Check(w == 0, "%#x at %#x", w, i*8)
	}
	const mark = 0x5a5a5a5a5a5a5a5a
	for i := range all {
		all[i] = mark
	}
	// What the domain has the kernel reads, and what it does not have nobody.
	for seen := map[*byte]bool{}; len(seen) < int(t.Count)/4; {
		ok := c.Send(&channel.Outgoing{Length: c.Longest()}, func(piece []byte) {
			first := unsafe.SliceData(piece)
			if seen[first] || uintptr(unsafe.Pointer(first)) < uintptr(unsafe.Pointer(&all[0])) {
				return
			}
			seen[first] = true
			words := unsafe.Slice((*uint64)(unsafe.Pointer(first)), len(piece)/8)
			if len(seen) <= 4 { // had memory when it was opened
				return
			}
			for i, w := range words {
				kit.Check(w == 0, "%#x at %d of new memory", w, i*8)
			}
		})
		kit.Check(ok, "no room")
	}
	c.Flush()
}

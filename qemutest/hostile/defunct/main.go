// Command defunct opens a channel and uses it on and on, whatever the kernel has done
// with it: it reads and writes all of it, and has the kernel look and answer.
package main

import (
	"bufio"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

// own is what it writes into its buffers.
const own = 0x5a5a5a5a5a5a5a5a

func main() {
	r := &abi.OpenRequest{Offloads: abi.OffloadsAll}
	copy(r.Schema[:], "default")
	n := kit.Call(abi.SysControl, abi.ControlOpen, uintptr(unsafe.Pointer(r)), unsafe.Sizeof(*r), 0)
	kit.Check(n == 0, "open: %d", n)
	schema := (*abi.Schema)(unsafe.Pointer(uintptr(r.Base)))
	size := schema.Size
	words := unsafe.Slice((*uint64)(unsafe.Pointer(schema)), size/8)
	first := uint64(schema.Buffers.Offset) / 8
	last := uint64(schema.Stats.Offset) / 8
	for i := first; i < last; i++ {
		words[i] = own
	}
	active := func() bool { return atomic.LoadUint32(&schema.Flags)&abi.SchemaActive != 0 }
	notify := func() int64 { return kit.Call(abi.SysNotify, uintptr(r.Channel), 0, 0, 0) }
	kit.Check(notify() == 0, "the control: a sync is refused")
	fmt.Println("open")
	// It reads while its memory is taken: what it finds is its own, or nothing.
	for rounds := 0; active(); rounds++ {
		for i := first; i < last; i += 64 {
			w := atomic.LoadUint64(&words[i])
			kit.Check(w == own || w == 0, "word %d is %#x", i, w)
		}
	}
	for i := uint64(512); i < size/8; i++ {
		if i >= first && i < last {
			// Where no memory was it finds what it has written.
			w := atomic.LoadUint64(&words[i])
			kit.Check(w == own || w == 0, "word %d is %#x", i, w)
			continue
		}
		for atomic.LoadUint64(&words[i]) != 0 {
			// The schema says so first.
		}
	}
	kit.Check(schema.Version == abi.SchemaVersion && schema.Size == size, "the schema is %+v", schema)
	fmt.Println("defunct")
	lines := bufio.NewScanner(os.Stdin)
	lines.Scan() // another has what was its own
	writable := uint64(schema.Stats.Offset) / 8
	for round := range uint64(20) {
		for i := uint64(512); i < writable; i += 8 {
			words[i] = round<<32 | i
		}
		for i := uint64(512); i < writable; i += 8 {
			w := words[i]
			kit.Check(w>>32 == round && w<<32>>32 < writable, "word %d is %#x", i, w)
		}
		kit.Check(words[writable] == 0, "what it may not write is %#x", words[writable])
		kit.Check(notify() == int64(abi.Defunct), "a sync: %d", notify())
		kit.Check(!active(), "it is active")
		flow := &abi.FlowRequest{Op: abi.FlowConnect, Protocol: 17, Channel: uint32(r.Channel), RemotePort: 53}
		flow.Remote = [16]byte{10: 0xff, 11: 0xff, 12: 10, 14: 2, 15: 2}
		got := kit.Call(abi.SysControl, abi.ControlFlow, uintptr(unsafe.Pointer(flow)), unsafe.Sizeof(*flow), 0)
		kit.Check(got == -abi.FlowErrno-6, "a request: %d", got) // ENXIO
	}
	// Nor does the kernel read or write there for it.
	for _, addr := range []uint64{r.Base, r.Base + 4096, r.Base + size - 4096} {
		kit.Check(kit.Call(abi.SysWrite, uintptr(addr), 64, 0, 0) == int64(abi.BadAddress), "the kernel reads at %#x", addr)
		kit.Check(kit.Call(abi.SysControl, abi.ControlRandom, uintptr(addr), 64, 0) == int64(abi.BadAddress), "the kernel writes at %#x", addr)
	}
	other := &abi.OpenRequest{Channel: 7}
	copy(other.Schema[:], "default")
	reopen := func(o *abi.OpenRequest) int64 {
		return kit.Call(abi.SysControl, abi.ControlReopen, uintptr(unsafe.Pointer(o)), unsafe.Sizeof(*o), 0)
	}
	kit.Check(reopen(other) == int64(abi.BadArgument), "a channel that there is not was opened anew")
	other.Channel = 1 << 40
	kit.Check(reopen(other) == int64(abi.BadArgument), "a channel beyond all was opened anew")
	other.Channel = r.Channel
	other.Watch, other.Direction = abi.RecordNetif, abi.RecordRx
	kit.Check(reopen(other) == int64(abi.BadArgument), "it became a monitor")
	other.Watch, other.Pipe[1] = 0, 'x'
	kit.Check(reopen(other) == int64(abi.BadArgument), "it became a pipe")
	other.Pipe[1] = 0
	for kind := range other.Slots {
		other.Slots[kind] = 1<<32 - 1
		kit.Check(reopen(other) == int64(abi.BadArgument), "a ring of any size")
		other.Slots[kind] = 0
	}
	for _, n := range []uint32{0, 3, 64, 1<<32 - 1} {
		s := &abi.ResizeRequest{Channel: uint32(r.Channel), Ring: n % 8, Slots: n}
		got := kit.Call(abi.SysControl, abi.ControlResize, uintptr(unsafe.Pointer(s)), unsafe.Sizeof(*s), 0)
		kit.Check(got == int64(abi.Defunct), "resized to %d: %d", n, got)
	}
	copy(other.Schema[:], "nothing\x00")
	kit.Check(reopen(other) == int64(abi.BadArgument), "it was opened anew with another schema than there is")
	kit.Check(notify() == int64(abi.Defunct), "a refusal has changed it")
	kit.Check(reopen(r) == int64(r.Channel) && active() && notify() == 0, "it is not opened anew")
	kit.Check(reopen(r) == int64(abi.NotNow), "one that works was opened anew")
	for i := first; i < last; i += 64 {
		kit.Check(words[i] == 0, "in the new channel word %d is %#x", i, words[i])
	}
	fmt.Println("all as it should be")
}

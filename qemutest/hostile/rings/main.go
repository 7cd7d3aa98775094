// Command rings opens a channel and breaks the contract of its rings, as it is
// told, then asks the kernel to look.
package main

import (
	"bufio"
	"fmt"
	"os"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

func main() {
	fmt.Println("start")
	lines := bufio.NewScanner(os.Stdin)
	lines.Scan()
	request := &abi.OpenRequest{Offloads: abi.OffloadsAll}
	copy(request.Schema[:], "small")
	if lines.Text() == "advisory-more" {
		copy(request.Schema[:], "default") // whose table has parts without memory
	}
	n := kit.Call(abi.SysControl, abi.ControlOpen, uintptr(unsafe.Pointer(request)), unsafe.Sizeof(*request), 0)
	kit.Check(n == 0, "open: %d", n)
	base := unsafe.Pointer(uintptr(request.Base))
	schema := (*abi.Schema)(base)
	ring := func(kind int) *abi.Ring { return (*abi.Ring)(unsafe.Add(base, schema.Rings[kind].Header)) }
	slot := func(kind, i int) *abi.Slot {
		return (*abi.Slot)(unsafe.Add(base, int(schema.Rings[kind].Slots)+i*abi.SlotSize))
	}
	resize := func(kind, n uint32) int64 {
		r := &abi.ResizeRequest{Channel: uint32(request.Channel), Ring: kind, Slots: n}
		return kit.Call(abi.SysControl, abi.ControlResize, uintptr(unsafe.Pointer(r)), unsafe.Sizeof(*r), 0)
	}
	switch lines.Text() {
	case "control":
		for _, n := range []uint32{2, 16384, 64} {
			kit.Check(resize(abi.RingTx, n) == 0 && schema.Rings[abi.RingTx].Count == n, "no %d slots", n)
			*slot(abi.RingTx, int(n)-1) = abi.Slot{}
		}
		for _, n := range []uint32{0, 1, 3, 1 << 15, 1<<32 - 1} {
			kit.Check(resize(abi.RingTx, n) == int64(abi.BadArgument) && schema.Rings[abi.RingTx].Count == 64, "%d slots", n)
		}
		watch := &abi.OpenRequest{Watch: abi.RecordNetif, Direction: abi.RecordRx}
		copy(watch.Schema[:], "small")
		kit.Check(kit.Call(abi.SysControl, abi.ControlOpen, uintptr(unsafe.Pointer(watch)), unsafe.Sizeof(*watch), 0) == int64(abi.NotAllowed), "it may watch")
		kit.Check(resize(9, 64) == int64(abi.BadArgument), "another ring was resized")
		// A domain has ChannelsMax channels, and one more when it has closed one.
		more := &abi.OpenRequest{Offloads: abi.OffloadsAll}
		copy(more.Schema[:], "small")
		about := func(what uintptr) int64 {
			return kit.Call(abi.SysControl, what, uintptr(unsafe.Pointer(more)), unsafe.Sizeof(*more), 0)
		}
		for i := int64(1); i < abi.ChannelsMax; i++ {
			kit.Check(about(abi.ControlOpen) == i, "no channel %d", i)
		}
		kit.Check(about(abi.ControlOpen) == int64(abi.BadArgument), "there is one channel too many")
		more.Channel = 5
		kit.Check(about(abi.ControlClose) == 0 && about(abi.ControlOpen) == 5, "a closed channel makes no room")
		kit.Check(about(abi.ControlOpen) == int64(abi.BadArgument), "there is one channel too many")
		for more.Channel = 1; more.Channel < abi.ChannelsMax; more.Channel++ {
			kit.Check(about(abi.ControlClose) == 0, "channel %d is not closed", more.Channel)
		}
		for _, n := range []uint64{1, abi.ChannelsMax, 1 << 40} {
			more.Channel = n
			kit.Check(about(abi.ControlClose) == int64(abi.BadArgument), "channel %d was closed", n)
		}
		kit.Check(resize(abi.RingAlloc, 2) == int64(abi.NotNow), "a full ring became small")
		fmt.Println("kept the contract")
	case "old-head":
		kit.Check(resize(abi.RingTx, 16) == 0, "not resized")
		ring(abi.RingTx).Head = 40
	case "old-slot":
		old := slot(abi.RingTx, 0)
		old.Index = 1
		kit.Check(resize(abi.RingTx, 128) == 0, "not resized")
		kit.Check(old.Index == 0, "the old slot holds %d", old.Index)
		old.Index = 2
		kit.Check(slot(abi.RingTx, 0).Index == 0, "the old slot is the new one")
	case "head":
		ring(abi.RingTx).Head = 1<<32 - 1
	case "head-beyond":
		ring(abi.RingRx).Head = 3
	case "tail":
		ring(abi.RingTx).Tail = 9
	case "index":
		*slot(abi.RingTx, 0) = abi.Slot{Index: 1 << 30, Kind: abi.SlotPacket}
		ring(abi.RingTx).Head = 1
	case "kind":
		*slot(abi.RingTx, 0) = abi.Slot{Kind: 77}
		ring(abi.RingTx).Head = 1
	case "free":
		*slot(abi.RingFree, 0) = abi.Slot{Index: 200, Kind: abi.SlotPacket}
		ring(abi.RingFree).Head = 1
	case "garbage":
		for i := range 512 {
			*(*uint64)(unsafe.Add(base, int(schema.Rings[0].Header)+i%80*8)) = uint64(i) * 0x9e3779b97f4a7c15
		}
	case "schema":
		schema.Flags = 0
	case "advisory":
		(*abi.Advisory)(unsafe.Add(base, schema.Advisory.Offset)).State = 1
	case "advisory-more":
		last := schema.Advisory.Offset + (schema.Advisory.Count-1)*schema.Advisory.Size
		e := (*abi.Advisory)(unsafe.Add(base, last))
		kit.Check(*e == abi.Advisory{}, "the last entry is %v", *e)
		e.State = 1
	case "beyond":
		*(*byte)(unsafe.Add(base, schema.Size)) = 1
	}
	kit.Call(abi.SysNotify, uintptr(request.Channel), 0, 0, 0)
	if lines.Text() == "old-slot" {
		os.Exit(0)
	}
	if lines.Text() == "control" {
		// What a call refuses is no reason to end.
		kit.Check(kit.Call(abi.SysNotify, 7, 0, 0, 0) < 0, "another channel was notified")
		kit.Check(kit.Call(abi.SysWrite, uintptr(base), 8, 0, 0) < 0, "the console was given an arena's memory")
		kit.Check(kit.Call(abi.SysControl, abi.ControlRandom, uintptr(unsafe.Pointer(slot(abi.RingTx, 0))), 8, 0) < 0, "random bytes were written to an arena")
		kit.Check(kit.Call(abi.SysControl, abi.ControlFlow, uintptr(unsafe.Pointer(request)), 3, 0) < 0, "a short request was taken")
		flow := &abi.FlowRequest{Op: 99, Channel: 1 << 30}
		kit.Check(kit.Call(abi.SysControl, abi.ControlFlow, uintptr(unsafe.Pointer(flow)), unsafe.Sizeof(*flow), 0) < 0, "an unknown request was taken")
		flow = &abi.FlowRequest{Op: abi.FlowBind, Protocol: 6, LocalPort: 80}
		kit.Check(kit.Call(abi.SysControl, abi.ControlFlow, uintptr(unsafe.Pointer(flow)), unsafe.Sizeof(*flow), 0) < 0, "a port was given that the manifest does not name")
		const denied, nowhere, senseless = 13, 2, 22 // EACCES, ENOENT, EINVAL
		ask := func(f *abi.FlowRequest) int64 {
			return kit.Call(abi.SysControl, abi.ControlFlow, uintptr(unsafe.Pointer(f)), unsafe.Sizeof(*f), 0)
		}
		branch := func(b *abi.BranchRequest) int64 {
			return kit.Call(abi.SysControl, abi.ControlBranch, uintptr(unsafe.Pointer(b)), unsafe.Sizeof(*b), 0)
		}
		kit.Check(ask(&abi.FlowRequest{Op: abi.FlowBind, Protocol: 89}) == -abi.FlowErrno-denied, "a protocol was given that the manifest does not name")
		echo := &abi.FlowRequest{Op: abi.FlowBind, Protocol: 58}
		kit.Check(ask(echo) == 0, "no echo was given")
		kit.Check(ask(&abi.FlowRequest{Op: abi.FlowJoin, Flow: echo.Flow, Generation: echo.Generation, Remote: [16]byte{0xff, 0x02}}) == -abi.FlowErrno-senseless,
			"an echo is in a group")
		kit.Check(branch(&abi.BranchRequest{Channel: 1 << 30}) == int64(abi.BadArgument), "a channel that there is not has a branch")
		kit.Check(branch(&abi.BranchRequest{Flow: 99, Count: 1}) == -abi.FlowErrno-nowhere, "nothing has a branch")
		parts := &abi.BranchRequest{Flow: echo.Flow, Generation: echo.Generation, Count: 1 << 20}
		kit.Check(branch(parts) == -abi.FlowErrno-senseless, "an endless branch was made")
		parts.Count, parts.Patterns[0].Length = 1, 1
		kit.Check(branch(parts) == -abi.FlowErrno-senseless, "an echo has a branch")
		os.Exit(0)
	}
	kit.Survived(lines.Text())
}

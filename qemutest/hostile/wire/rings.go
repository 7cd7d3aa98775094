package main

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/forge"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
	"github.com/sluice-os/sluice/userland/channel"
)

// This file owns what it does to its rings. Memory is reached past userland/channel.

func (d *domain) schema() *abi.Schema { return (*abi.Schema)(d.base) }

func (d *domain) ring(kind int) *abi.Ring {
	return (*abi.Ring)(unsafe.Add(d.base, d.schema().Rings[kind].Header))
}

func (d *domain) slot(kind, i int) *abi.Slot {
	return (*abi.Slot)(unsafe.Add(d.base, int(d.schema().Rings[kind].Slots)+i*abi.SlotSize))
}

func (d *domain) packet(i uint32) *abi.Packet {
	return (*abi.Packet)(unsafe.Add(d.base, int(d.schema().Packets.Offset)+int(i)*abi.PacketSize))
}

func (d *domain) buflet(i uint32) *abi.Buflet {
	return (*abi.Buflet)(unsafe.Add(d.base, int(d.schema().Buflets.Offset)+int(i)*abi.BufletSize))
}

// lent returns the packet and the two small buflets that it was given first.
func (d *domain) lent() (packet, first, second uint32) {
	packet, first, second = abi.None, abi.None, abi.None
	for i := range int(d.ring(abi.RingAlloc).Tail) {
		switch s := d.slot(abi.RingAlloc, i); {
		case s.Kind == abi.SlotPacket && packet == abi.None:
			packet = s.Index
		case s.Kind == abi.SlotBuflet && s.Index < d.schema().Buffers.Count && first == abi.None:
			first = s.Index
		case s.Kind == abi.SlotBuflet && s.Index < d.schema().Buffers.Count && second == abi.None:
			second = s.Index
		}
	}
	kit.Check(second != abi.None, "nothing was lent")
	return packet, first, second
}

// fill puts a packet of two buffers into slot n of the tx ring, as it ought to be.
func (d *domain) fill(n int) (p *abi.Packet, a, b *abi.Buflet) {
	i, first, second := d.lent()
	p, a, b = d.packet(i), d.buflet(first), d.buflet(second)
	p.First, p.Buflets, p.Length, p.Flags = first, 2, 3000, 0
	a.Next, a.Offset, a.Length = second, 0, 2048
	b.Next, b.Offset, b.Length = abi.None, 0, 952
	*d.slot(abi.RingTx, n) = abi.Slot{Index: i, Kind: abi.SlotPacket}
	d.ring(abi.RingTx).Head = uint32(n + 1)
	return p, a, b
}

var kinds = map[string]int{"rx": abi.RingRx, "tx": abi.RingTx, "alloc": abi.RingAlloc, "free": abi.RingFree, "event": abi.RingEvent}

// damage breaks the contract of the rings.
func (d *domain) damage(name string) {
	if how, kind, ok := strings.Cut(name, "-of-"); ok {
		n, known := kinds[kind]
		kit.Check(known, "no ring %s", kind)
		r := d.ring(n)
		switch how {
		case "head-out":
			r.Head = 1<<32 - 1
		case "head-beyond":
			r.Head = (r.Tail + 1) & (d.schema().Rings[n].Count - 1)
		case "tail":
			r.Tail ^= 1
		default:
			kit.Check(false, "no damage %s", name)
		}
		return
	}
	packet, first, second := d.lent()
	switch name {
	case "packet-twice":
		d.fill(0)
		*d.slot(abi.RingTx, 1) = *d.slot(abi.RingTx, 0)
		d.ring(abi.RingTx).Head = 2
	case "buffer-twice":
		_, a, _ := d.fill(0)
		a.Next = first
	case "buffer-in-two-packets":
		d.fill(0)
		d.packet(packet+1).First, d.packet(packet+1).Buflets, d.packet(packet+1).Length = second, 1, 952
		*d.slot(abi.RingTx, 1) = abi.Slot{Index: packet + 1, Kind: abi.SlotPacket}
		d.ring(abi.RingTx).Head = 2
	case "foreign-index":
		*d.slot(abi.RingTx, 0) = abi.Slot{Index: d.schema().Packets.Count + 5, Kind: abi.SlotPacket}
		d.ring(abi.RingTx).Head = 1
	case "not-lent":
		*d.slot(abi.RingTx, 0) = abi.Slot{Index: d.schema().Packets.Count - 1, Kind: abi.SlotPacket}
		d.ring(abi.RingTx).Head = 1
	case "stale-index": // of a packet that has arrived and was given back
		d.flows()
		fmt.Println("ready")
		rx := d.ring(abi.RingRx)
		for atomic.LoadUint32(&rx.Tail) == 0 {
		}
		arrived := *d.slot(abi.RingRx, 0)
		rx.Head = 1
		*d.slot(abi.RingFree, 0) = arrived
		d.ring(abi.RingFree).Head = 1
		d.notify()
		*d.slot(abi.RingTx, 0) = abi.Slot{Index: arrived.Index, Kind: abi.SlotPacket}
		d.ring(abi.RingTx).Head = 1
	case "freed-twice":
		*d.slot(abi.RingFree, 0) = abi.Slot{Index: first, Kind: abi.SlotBuflet}
		*d.slot(abi.RingFree, 1) = abi.Slot{Index: first, Kind: abi.SlotBuflet}
		d.ring(abi.RingFree).Head = 2
	case "sent-and-freed":
		d.fill(0)
		*d.slot(abi.RingFree, 0) = abi.Slot{Index: first, Kind: abi.SlotBuflet}
		d.ring(abi.RingFree).Head = 1
	case "offset-wraps":
		_, a, _ := d.fill(0)
		a.Offset, a.Length = 1<<32-1, 2049
	case "length-beyond-the-buffer":
		_, a, _ := d.fill(0)
		a.Length = 2049
	case "longer-than-its-buffers":
		p, _, _ := d.fill(0)
		p.Length = 65535
	case "shorter-than-its-buffers":
		p, _, _ := d.fill(0)
		p.Length = 2999
	case "no-buffer":
		p, _, _ := d.fill(0)
		p.Buflets = 0
	case "a-chain-without-end":
		p, _, _ := d.fill(0)
		p.Buflets = 1 << 31
	case "index-in-the-metadata":
		p, _, _ := d.fill(0)
		p.Index++
	case "redzone":
		p, _, _ := d.fill(0)
		p.Redzone++
	case "no-such-kind":
		d.fill(0)
		d.slot(abi.RingTx, 0).Kind = abi.SlotLink
	default:
		kit.Check(false, "no damage %s", name)
	}
}

// silence is how long it says nothing: the kernel looks each second.
const silence = 10 * time.Second

// shown has the kernel look at what was damaged, in one of the ways in which it does.
func (d *domain) shown(name, way string) {
	switch way {
	case "notify":
		d.notify()
	case "resize":
		_, kind, _ := strings.Cut(name, "-of-")
		r := &abi.ResizeRequest{Channel: uint32(d.number), Ring: uint32(kinds[kind]), Slots: 64}
		kit.Check(kit.Call(abi.SysControl, abi.ControlResize, uintptr(unsafe.Pointer(r)), unsafe.Sizeof(*r), 0) < 0, "a broken ring was resized")
		time.Sleep(silence)
	case "silent":
		time.Sleep(silence)
	default:
		kit.Check(false, "no way %s", way)
	}
}

// keep does what looks like damage and is none, or what the kernel does not look at.
func (d *domain) keep(name string) {
	switch name {
	case "changed-after-submit":
		d.flows()
		b := forge.Twins[0].Make(0)
		var at []byte
		kit.Check(d.user.Send(&channel.Outgoing{Length: len(b)}, func(piece []byte) {
			copy(piece, b)
			at = piece
		}), "no room")
		d.user.Flush()
		copy(at, forge.Forgeries[0].Make(0))
		clear(at[20:])
		p, first, _ := d.lent()
		d.packet(p).Length, d.buflet(first).Length = 65535, 1<<31
	case "length-of-the-slot":
		d.flows()
		d.submit(forge.Twins[0].Make(0), channel.Outgoing{})
		for i := range int(d.schema().Rings[abi.RingTx].Count) {
			d.slot(abi.RingTx, i).Length = 65535
		}
		d.user.Flush()
	case "sum-beyond-the-packet":
		d.flows()
		d.submit(forge.Twins[0].Make(0), channel.Outgoing{Checksum: true, ChecksumStart: 60000, ChecksumOffset: 60000})
		d.user.Flush()
	case "broken-and-closed":
		for _, kind := range kinds {
			d.ring(kind).Head, d.ring(kind).Tail = 1<<32-1, 7
		}
		kit.Check(d.close() == 0, "a broken channel was not closed")
		*d = *open()
	case "broken-and-ended":
		for _, kind := range kinds {
			d.ring(kind).Head, d.ring(kind).Tail = 1<<32-1, 7
		}
		fmt.Println("kept", name)
		os.Exit(0)
	case "closed-twice":
		kit.Check(d.close() == 0 && d.close() < 0, "closed twice")
		*d = *open()
	case "watermarks":
		for _, kind := range kinds {
			d.ring(kind).Low = 1<<32 - 1
		}
		d.notify()
	default:
		kit.Check(false, "nothing called %s", name)
	}
}

// die ends in the middle of a packet of 64 KiB: a part of it is written, its slot is filled,
// and the kernel was not told. A whole one is on its way.
func (d *domain) die() {
	d.flows()
	d.submit(forge.Datagram(60000), channel.Outgoing{})
	d.user.Flush()
	b := forge.Datagram(60000)
	written := 0
	d.user.Send(&channel.Outgoing{Length: len(b)}, func(piece []byte) {
		if written += copy(piece, b[written:]); written > 30000 {
			os.Exit(1)
		}
	})
	os.Exit(1)
}

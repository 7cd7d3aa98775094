package arena

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
)

// ErrShort is an error of Memory's: the machine has none left, whoever asks.
var ErrShort = errors.New("the machine has no memory left for it")

// Memory is what an arena is made of, and the domain's range of addresses that it
// lies in. Addresses and memory are apart: the range is the domain's for as long as the
// arena lasts, with or without memory behind a part of it.
type Memory interface {
	// Alloc returns memory of a multiple of PageSize bytes, aligned to it and
	// outside of Go's heap: its address may be given to a device and to a domain.
	// It holds what its last owner left in it. It is for a region, which the account
	// of the machine's memory tells.
	Alloc(id ID, size int) ([]byte, error)
	// Free takes it back.
	Free([]byte)
	// Show lets the domain see a segment at an offset from the arena's start, in
	// place of what it sees there. With an error it sees what it saw before.
	Show(offset int, segment []byte, r Right) error
	// Hide takes size bytes at an offset from the domain: when it returns, nothing
	// that the domain does reaches what was shown there. It finds zeros, in pages of
	// its own, and may write to them where the region lets it.
	Hide(offset, size int)
}

// Arena is the kernel's view of one. Its memory is written by the domain at any
// time: words that both use are read by one atomic load.
type Arena struct {
	*Layout
	memory   Memory
	segments [Regions][][]byte       // nil: not backed
	base     [Regions]unsafe.Pointer // of regions with one segment
	backed   [Regions]int            // bytes
	stage    stage
}

// New makes an arena with the schema in place and memory behind the slots of all rings and
// the first segment of each other region: of those that have more, the rest comes with Back. An error is that of
// the memory; nothing is kept then.
func New(l *Layout, m Memory, cookie uint64) (*Arena, error) {
	own := *l // a ring may be resized
	a := &Arena{Layout: &own, memory: m}
	for id := range l.Spans {
		a.segments[id] = make([][]byte, l.Segments(ID(id)))
		first := min(1, len(a.segments[id]))
		if ID(id) == Slots {
			first = abi.RingKinds
		}
		for i := range first {
			if err := a.Back(ID(id), i); err != nil {
				a.Free()
				return nil, err
			}
		}
	}
	*(*abi.Schema)(a.base[Schema]) = l.schema(cookie)
	return a, nil
}

// Back puts memory behind segment i of a region, which has none: zeroed, whoever had it
// before. An error is that of the memory; nothing has changed then.
func (a *Arena) Back(id ID, i int) error {
	if a.segments[id][i] != nil {
		panic("arena: backed already")
	}
	offset, size := a.SegmentAt(id, i)
	segment, err := a.show(id, offset, size)
	if err != nil {
		return err
	}
	a.segments[id][i] = segment
	a.backed[id] += size
	if len(a.segments[id]) == 1 {
		a.base[id] = unsafe.Pointer(unsafe.SliceData(segment))
	}
	return nil
}

// show takes memory for a segment, zeroed, and shows it to the domain.
func (a *Arena) show(id ID, offset, size int) ([]byte, error) {
	segment, err := a.memory.Alloc(id, size)
	if err == nil {
		// Before the domain can see what was there.
		clear(segment)
		if err = a.memory.Show(offset, segment, id.Info().User); err == nil {
			return segment, nil
		}
		a.memory.Free(segment)
	}
	return nil, fmt.Errorf("arena: %d bytes of %s: %w", size, id, err)
}

// Unback takes the memory from behind segment i of a region, which has some: first from
// the domain, which finds zeros there, then it is free. The kernel must not use the
// segment's objects any more.
func (a *Arena) Unback(id ID, i int) {
	offset, size := a.SegmentAt(id, i)
	a.memory.Hide(offset, size)
	a.memory.Free(a.segments[id][i])
	a.segments[id][i] = nil
	a.backed[id] -= size
	a.base[id] = nil
}

// Backed is how many bytes of memory are behind a region.
func (a *Arena) Backed(id ID) int { return a.backed[id] }

// Free gives all memory back. Nothing may use the arena any more.
func (a *Arena) Free() {
	for id := range a.segments {
		for i, segment := range a.segments[id] {
			if segment != nil {
				a.Unback(ID(id), i)
			}
		}
	}
}

// Segment returns the memory behind segment i of a region; nil for none.
func (a *Arena) Segment(id ID, i int) []byte { return a.segments[id][i] }

// Deactivate clears the schema's active flag, before anything else is taken from
// the domain. It is called once.
func (a *Arena) Deactivate() {
	a.reach(inactive)
	atomic.StoreUint32(&(*abi.Schema)(a.base[Schema]).Flags, 0)
}

// Ring returns the shared part of a ring and its slots.
func (a *Arena) Ring(kind int) (*abi.Ring, []abi.Slot) {
	// The ring lies in its region by NewLayout, which the segment covers.
	ring := (*abi.Ring)(unsafe.Add(a.base[Rings], kind*abi.RingSize))
	return ring, slotsIn(a.segments[Slots][kind], a.Layout.Slots[kind])
}

// slotsIn are the first n slots of a segment, which is slotsSize(n) long.
func slotsIn(segment []byte, n int) []abi.Slot {
	return unsafe.Slice((*abi.Slot)(unsafe.Pointer(unsafe.SliceData(segment))), n)
}

// SetOffloads has the schema tell what the kernel does for the domain.
func (a *Arena) SetOffloads(set uint32) { (*abi.Schema)(a.base[Schema]).Offloads = set }

// Stats returns the statistics that the domain reads.
func (a *Arena) Stats() *abi.Stats { return (*abi.Stats)(a.base[Stats]) }

// Advisories returns chunk i of the advisory table, whose segment must be backed.
func (a *Arena) Advisories(i int) *[abi.AdvisoryChunk]abi.Advisory {
	// The segment is there, or this panics, and has the chunk's size.
	return (*[abi.AdvisoryChunk]abi.Advisory)(unsafe.Pointer(&a.segments[Advisory][i][0]))
}

// Packet returns the shared metadata of packet i, whose segment must be backed.
func (a *Arena) Packet(i uint32) *abi.Packet {
	// The index is within the segment, and the segment is there, or this panics.
	return (*abi.Packet)(unsafe.Pointer(&a.segments[Packets][i/PacketsPer][i%PacketsPer*abi.PacketSize]))
}

// Buflet returns the shared metadata of buflet i, which must be below
// BufletCount.
func (a *Arena) Buflet(i uint32) *abi.Buflet {
	if int(i) >= a.BufletCount() {
		panic("arena: no such buflet")
	}
	return (*abi.Buflet)(unsafe.Add(a.base[Buflets], int(i)*abi.BufletSize))
}

// BufletCount is how many buflets there are; the first Params.Buffers are small.
func (l *Layout) BufletCount() int { return l.Params.Buffers + l.Params.Large }

// Buffer returns the memory of buflet i, whose segment must be backed.
func (a *Arena) Buffer(i uint32) []byte {
	if n := uint32(a.Params.Buffers); i >= n {
		i -= n
		at := i % LargePer * LargeSize
		return a.segments[Large][i/LargePer][at : at+LargeSize : at+LargeSize]
	}
	at := i % BuffersPer * BufferSize
	return a.segments[Buffers][i/BuffersPer][at : at+BufferSize : at+BufferSize]
}

// BufferSize is the size of buflet i's buffer in bytes.
func (l *Layout) BufferSize(i int) int {
	if i < l.Params.Buffers {
		return BufferSize
	}
	return LargeSize
}

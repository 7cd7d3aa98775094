package arena

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
)

// Memory gives and takes segments.
type Memory interface {
	// Alloc returns zeroed memory of a multiple of PageSize bytes, aligned to
	// it and outside of Go's heap: its address may be given to a device and to
	// a domain.
	Alloc(size int) ([]byte, error)
	// Free takes it back.
	Free([]byte)
}

// Arena is the kernel's view of one. Its memory is written by the domain at any
// time: words that both use are read by one atomic load.
type Arena struct {
	*Layout
	memory   Memory
	segments [Regions][][]byte
	base     [Regions]unsafe.Pointer // of regions with one segment
}

// New makes an arena with all its segments and the schema in place. An error is
// that of the memory; nothing is kept then.
func New(l *Layout, m Memory, cookie uint64) (a *Arena, err error) {
	made := &Arena{Layout: l, memory: m}
	defer func() {
		if err != nil {
			made.Free()
		}
	}()
	for id := range l.Spans {
		span := l.Spans[id]
		for at := 0; at < span.Size; at += span.Segment {
			segment, err := m.Alloc(span.Segment)
			if err != nil {
				return nil, fmt.Errorf("arena: %d bytes of %s: %w", span.Segment, ID(id), err)
			}
			made.segments[id] = append(made.segments[id], segment)
		}
		if span.Size > 0 {
			made.base[id] = unsafe.Pointer(unsafe.SliceData(made.segments[id][0]))
		}
	}
	*(*abi.Schema)(made.base[Schema]) = l.schema(cookie)
	return made, nil
}

// Free gives all segments back. Nothing may use the arena any more, a domain's
// page table included.
func (a *Arena) Free() {
	for id := range a.segments {
		for _, segment := range a.segments[id] {
			a.memory.Free(segment)
		}
		a.segments[id] = nil
	}
}

// Map calls f for each segment that a domain may see, with its offset from the
// arena's start, until f reports false. Map reports whether f did not.
func (a *Arena) Map(f func(offset int, segment []byte, r Right) bool) bool {
	for id := range a.segments {
		info := ID(id).Info()
		if info.User == None {
			continue
		}
		for i, segment := range a.segments[id] {
			if !f(a.Spans[id].Offset+i*a.Spans[id].Segment, segment, info.User) {
				return false
			}
		}
	}
	return true
}

// Deactivate clears the schema's active flag, before anything else is taken from
// the domain.
func (a *Arena) Deactivate() {
	atomic.StoreUint32(&(*abi.Schema)(a.base[Schema]).Flags, 0)
}

// Ring returns the shared part of a ring and its slots.
func (a *Arena) Ring(kind int) (*abi.Ring, []abi.Slot) {
	// Both lie in their region by NewLayout, which the segment covers.
	ring := (*abi.Ring)(unsafe.Add(a.base[Rings], kind*abi.RingSize))
	slots := (*abi.Slot)(unsafe.Add(a.base[Slots], a.slotsAt[kind]))
	return ring, unsafe.Slice(slots, a.Layout.Slots[kind])
}

// Packet returns the shared metadata of packet i, which must be below
// Params.Packets.
func (a *Arena) Packet(i uint32) *abi.Packet {
	if int(i) >= a.Params.Packets {
		panic("arena: no such packet")
	}
	return (*abi.Packet)(unsafe.Add(a.base[Packets], int(i)*abi.PacketSize))
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

// Buffer returns the memory of buflet i, which must be below BufletCount.
func (a *Arena) Buffer(i uint32) []byte {
	const small, large = SegmentSize / BufferSize, LargeSegment / LargeSize
	if n := uint32(a.Params.Buffers); i >= n {
		i -= n
		at := i % large * LargeSize
		return a.segments[Large][i/large][at : at+LargeSize : at+LargeSize]
	}
	at := i % small * BufferSize
	return a.segments[Buffers][i/small][at : at+BufferSize : at+BufferSize]
}

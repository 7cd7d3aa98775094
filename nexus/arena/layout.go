package arena

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/sluice-os/sluice/nexus/abi"
)

const (
	// PageSize is the unit of mapping in bytes.
	PageSize = 4096
	// SegmentSize is the size of a segment of buffers in bytes. The packets' metadata
	// comes in segments of a page, and regions of other things have one segment.
	SegmentSize = 32 << 10
	// LargeSegment is that of a segment of large buffers.
	LargeSegment = 64 << 10
	// BufferSize and LargeSize are the sizes of buffers in bytes.
	BufferSize = 2 << 10
	LargeSize  = 16 << 10
	// PacketsPer, BuffersPer and LargePer are how many a segment has.
	PacketsPer = PageSize / abi.PacketSize
	BuffersPer = SegmentSize / BufferSize
	LargePer   = LargeSegment / LargeSize
)

// Params is the size of an arena. A zero takes the default.
type Params struct {
	Slots    [abi.RingKinds]int // powers of two
	Packets  int
	Buffers  int // a multiple of a segment's
	Large    int // likewise; 0 is none
	Advisory int // entries, a multiple of abi.AdvisoryChunk
	// IOPage is the page of the unit that translates the device's addresses,
	// in bytes. Segments of buffers are multiples of it.
	IOPage int
}

// bounds are the least, usual and most values of a parameter.
type bounds struct {
	name               string
	least, usual, most int
}

var (
	slotBounds = [abi.RingKinds]bounds{
		abi.RingRx:    {"rx slots", 2, 1024, 16384},
		abi.RingTx:    {"tx slots", 2, 256, 16384},
		abi.RingAlloc: {"alloc slots", 2, 256, 16384},
		abi.RingFree:  {"free slots", 2, 256, 16384},
		abi.RingEvent: {"event slots", 2, 32, 1024},
	}
	packetBounds   = bounds{"packets", 4, 2048, 16384}
	bufferBounds   = bounds{"buffers", BuffersPer, 1024, 4096}
	largeBounds    = bounds{"large buffers", 0, 128, 1024}
	advisoryBounds = bounds{"advisory entries", 64, 512, 65536}
)

// ErrBounds says that a parameter is out of its bounds.
var ErrBounds = errors.New("arena: parameter out of bounds")

func (b bounds) check(v *int) error {
	if *v == 0 {
		*v = b.usual
	}
	if *v < b.least || *v > b.most {
		return fmt.Errorf("%w: %d %s, want %d to %d", ErrBounds, *v, b.name, b.least, b.most)
	}
	return nil
}

// checkSlots fills in the default number of a ring's slots and reports one that cannot
// be.
func checkSlots(kind int, n *int) error {
	if err := slotBounds[kind].check(n); err != nil {
		return err
	}
	if *n&(*n-1) != 0 {
		return fmt.Errorf("%w: %d %s, want a power of two", ErrBounds, *n, slotBounds[kind].name)
	}
	return nil
}

// Check fills in defaults and reports what is out of bounds, as ErrBounds.
func (p *Params) Check() error {
	for kind := range p.Slots {
		if err := checkSlots(kind, &p.Slots[kind]); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		b bounds
		v *int
	}{{packetBounds, &p.Packets}, {bufferBounds, &p.Buffers}, {advisoryBounds, &p.Advisory}} {
		if err := c.b.check(c.v); err != nil {
			return err
		}
	}
	if p.Large < 0 || p.Large > largeBounds.most {
		return fmt.Errorf("%w: %d large buffers, want 0 to %d", ErrBounds, p.Large, largeBounds.most)
	}
	if p.Buffers%(BuffersPer) != 0 || p.Large%(LargePer) != 0 {
		return fmt.Errorf("%w: %d and %d buffers do not fill their segments", ErrBounds, p.Buffers, p.Large)
	}
	if p.Advisory%abi.AdvisoryChunk != 0 {
		return fmt.Errorf("%w: %d advisory entries, want a multiple of %d", ErrBounds, p.Advisory, abi.AdvisoryChunk)
	}
	if p.IOPage == 0 {
		p.IOPage = PageSize
	}
	if p.IOPage < PageSize || p.IOPage&(p.IOPage-1) != 0 || SegmentSize%p.IOPage != 0 {
		return fmt.Errorf("%w: an IO page of %d bytes, want a power of two from %d to %d", ErrBounds, p.IOPage, PageSize, SegmentSize)
	}
	return nil
}

// With returns the parameters with other sizes for the rings whose number of slots is not
// 0, and the other rings as they are. An rx ring that is larger brings the packets and
// small buffers to fill it with. It fails with ErrBounds; p is not changed.
func (p Params) With(slots [abi.RingKinds]int) (Params, error) {
	if err := p.Check(); err != nil {
		return Params{}, err
	}
	rx := p.Slots[abi.RingRx]
	for kind, n := range slots {
		if n != 0 {
			p.Slots[kind] = n
		}
	}
	if err := p.Check(); err != nil {
		return Params{}, err
	}
	grow := max(p.Slots[abi.RingRx]/rx, 1)
	if most := min(packetBounds.most/p.Packets, bufferBounds.most/p.Buffers); grow > most {
		return Params{}, fmt.Errorf("%w: %d rx slots, want %d at most, as packets and buffers are bounded",
			ErrBounds, p.Slots[abi.RingRx], rx<<(bits.Len(uint(most))-1))
	}
	p.Packets, p.Buffers = p.Packets*grow, p.Buffers*grow
	return p, nil
}

// Span is where a region lies in the arena.
type Span struct {
	Offset, Size int // bytes
	Segment      int // size of a segment in bytes; those of Slots differ
}

// Layout is where everything lies.
type Layout struct {
	Params
	Spans [Regions]Span
	Size  int // of the arena in bytes
	// slotsAt is where each ring's slots begin in the arena, and moved where the
	// two places are that they may have when the ring is resized, behind all
	// regions. They are used by turns.
	slotsAt [abi.RingKinds]int
	moved   [abi.RingKinds][2]int
	placed  [abi.RingKinds][2]bool // it was used: the domain finds zeros there
	// Range is how many bytes of addresses the arena takes, with those places.
	Range int
}

// NewLayout lays out an arena. It fails with ErrBounds.
func NewLayout(p Params) (*Layout, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	l := &Layout{Params: p}
	slots := 0
	for kind, n := range p.Slots {
		l.slotsAt[kind] = slots
		slots += slotsSize(n)
	}
	sizes := [Regions]int{
		Schema:   PageSize,
		Rings:    abi.RingKinds * abi.RingSize,
		Slots:    slots,
		Packets:  p.Packets * abi.PacketSize,
		Buflets:  (p.Buffers + p.Large) * abi.BufletSize,
		Buffers:  p.Buffers * BufferSize,
		Large:    p.Large * LargeSize,
		Stats:    PageSize,
		Advisory: p.Advisory * abi.AdvisorySize,
	}
	for id, size := range sizes {
		s := Span{Offset: l.Size, Size: (size + PageSize - 1) &^ (PageSize - 1)}
		s.Segment = s.Size
		switch ID(id) {
		case Packets, Advisory:
			s.Segment = PageSize
		case Buffers:
			s.Segment = SegmentSize
		case Large:
			s.Segment = LargeSegment
		}
		l.Spans[id] = s
		l.Size += s.Size
	}
	l.Range = l.Size
	for kind := range l.slotsAt {
		l.slotsAt[kind] += l.Spans[Slots].Offset
		for i := range l.moved[kind] {
			l.moved[kind][i] = l.Range
			l.Range += slotsSize(slotBounds[kind].most)
		}
	}
	if l.Range > abi.ArenaStride {
		return nil, fmt.Errorf("%w: %d bytes in all, want %d at most", ErrBounds, l.Range, abi.ArenaStride)
	}
	return l, nil
}

// slotsSize is the memory of a ring's slots in bytes: each ring has pages of its own.
func slotsSize(n int) int { return (n*abi.SlotSize + PageSize - 1) &^ (PageSize - 1) }

// Segments is how many segments a region has: of Slots one for each ring.
func (l *Layout) Segments(id ID) int {
	switch {
	case id == Slots:
		return abi.RingKinds
	case l.Spans[id].Size == 0:
		return 0
	}
	return l.Spans[id].Size / l.Spans[id].Segment
}

// First is how many bytes of memory an arena has when New has made it.
func (l *Layout) First() (n int) {
	for id := range l.Spans {
		for i := range l.Segments(ID(id)) {
			if i == 0 || ID(id) == Slots {
				_, size := l.SegmentAt(ID(id), i)
				n += size
			}
		}
	}
	return n
}

// SegmentAt is where segment i of a region lies in the arena, and its size in bytes.
func (l *Layout) SegmentAt(id ID, i int) (offset, size int) {
	if id == Slots {
		return l.slotsAt[i], slotsSize(l.Slots[i])
	}
	s := l.Spans[id]
	return s.Offset + i*s.Segment, s.Segment
}

// Right is what the domain may do at an offset from the arena's start.
func (l *Layout) Right(offset int) Right {
	for id, s := range l.Spans {
		if offset >= s.Offset && offset-s.Offset < s.Size {
			return ID(id).Info().User
		}
	}
	for kind, places := range l.moved {
		for i, at := range places {
			if l.placed[kind][i] && offset >= at && offset-at < slotsSize(slotBounds[kind].most) {
				return Slots.Info().User
			}
		}
	}
	return None
}

// wholeLarge is how many large buffers the longest packet takes.
const wholeLarge = (abi.PacketMax + LargeSize - 1) / LargeSize

// Empty is how many packets, small and large buffers the domain may hold to fill: for
// each a part of the alloc ring, so that all have a place in it, and half of what
// there is at most, as the rest is for what arrives. What it may hold is enough for
// the longest packet where that is possible.
func (l *Layout) Empty() (packets, small, large int) {
	slots := l.Slots[abi.RingAlloc] - 1
	part := max(slots*3/8, 1)
	return min(part, l.Params.Packets/2), min(part, l.Params.Buffers/2), min(max(slots/4, wholeLarge), l.Params.Large/2)
}

// Least is how many packets, small and large buffers the domain may always hold to fill:
// what Empty says at most, and enough for the longest packet if there are large buffers.
// They fit the first segment of each.
func (l *Layout) Least() (packets, small, large int) {
	packets, small, large = l.Empty()
	return min(packets, leastEmpty), min(small, leastEmpty), min(large, wholeLarge)
}

// leastEmpty is the least of packets, and of small buffers.
const leastEmpty = 8

// SmallMax is the longest packet in bytes that goes into small buffers: with more than
// two of them a large one is better used.
const SmallMax = 2 * BufferSize

// Chain is how many small and large buffers the domain takes to send a packet of length
// bytes, when it holds all the large ones that it may.
func (l *Layout) Chain(length int) (small, large int) {
	if length > SmallMax {
		_, _, most := l.Empty()
		large = min((length-SmallMax+LargeSize-1)/LargeSize, most)
		length -= min(length, large*LargeSize)
	}
	return (length + BufferSize - 1) / BufferSize, large
}

// Longest is the longest packet that the domain can send, in bytes.
func (l *Layout) Longest() int {
	_, small, large := l.Empty()
	return min(abi.PacketMax, small*BufferSize+large*LargeSize)
}

// Accepts is the longest packet that the domain can always be given when it has read
// the others, in bytes.
func (l *Layout) Accepts() int {
	_, small, large := l.Empty()
	return min(abi.PacketMax, (l.Params.Buffers-small)*BufferSize+(l.Params.Large-large)*LargeSize)
}

// schema describes the layout to the domain.
func (l *Layout) schema(cookie uint64) abi.Schema {
	s := abi.Schema{Version: abi.SchemaVersion, Flags: abi.SchemaActive, Cookie: cookie, Size: uint64(l.Size), Longest: uint64(l.Longest())}
	for kind, n := range l.Slots {
		s.Rings[kind] = abi.SchemaRing{
			Header: uint32(l.Spans[Rings].Offset + kind*abi.RingSize),
			Slots:  uint32(l.slotsAt[kind]),
			Count:  uint32(n),
		}
	}
	table := func(id ID, n, size int) abi.SchemaTable {
		return abi.SchemaTable{Offset: uint32(l.Spans[id].Offset), Count: uint32(n), Size: uint32(size)}
	}
	s.Packets = table(Packets, l.Params.Packets, abi.PacketSize)
	s.Buflets = table(Buflets, l.Params.Buffers+l.Params.Large, abi.BufletSize)
	s.Buffers = table(Buffers, l.Params.Buffers, BufferSize)
	s.Large = table(Large, l.Params.Large, LargeSize)
	s.Stats = table(Stats, 1, PageSize)
	s.Advisory = table(Advisory, l.Params.Advisory, abi.AdvisorySize)
	return s
}

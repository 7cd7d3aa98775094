package channel_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/pool"
)

// This file owns the tests of the capabilities list, section 1.

// sizes are the slots of all rings.
type sizes = [abi.RingKinds]int

// slots returns the sizes of a channel's rings as both ends know them.
func (x *pair) slots(t *testing.T) (list sizes) {
	t.Helper()
	for kind, r := range x.Rings() {
		list[kind] = r.Slots
		if n := (raw{x}).schema().Rings[kind].Count; int(n) != r.Slots {
			t.Errorf("%s: the domain is told of %d slots, there are %d", channel.RingName(kind), n, r.Slots)
		}
	}
	return list
}

// works has packets pass both ways.
func (x *pair) works(t *testing.T) {
	t.Helper()
	data := content(3000)
	x.sent = nil
	x.submit(data)
	x.user.Flush()
	x.deliver(data)
	x.Flush()
	got := x.receive(9)
	x.user.Flush()
	if x.err != nil || len(x.sent) != 1 || len(got) != 1 || !bytes.Equal(x.sent[0], data) || !bytes.Equal(got[0], data) {
		t.Errorf("%d packets sent, %d received, %v", len(x.sent), len(got), x.err)
	}
}

// TestCapability11Schemas: a schema's name gives exactly its rings, beside channels of
// others, and another name is refused.
func TestCapability11Schemas(t *testing.T) {
	open := map[string]*pair{}
	for name, want := range map[string]sizes{
		"default": {1024, 256, 256, 256, 32},
		"small":   {128, 64, 64, 64, 32},
		"bulk":    {2048, 512, 512, 512, 32},
	} {
		p, err := arena.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		open[name] = newPair(t, p)
		if got := open[name].slots(t); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"", "huge", "Small", "small "} {
		if _, err := arena.Named(name); !errors.Is(err, arena.ErrBounds) {
			t.Errorf("schema %q: %v", name, err)
		}
	}
	for _, x := range open {
		x.works(t)
	}
}

// TestCapability12RangesApart: two channels in one memory have no byte in common, what
// one domain writes anywhere in its own changes nothing of the other's, and an index
// names what is the domain's own or nothing.
func TestCapability12RangesApart(t *testing.T) {
	p, _ := arena.Named("small")
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	if l.Size > abi.ArenaStride || abi.ArenaStart+abi.ChannelsMax*abi.ArenaStride > abi.SharedEnd {
		t.Errorf("the ranges of a domain's channels overlap: %d bytes", l.Size)
	}
	m := arenatest.New(t, 2*l.Size)
	a, b := newPairIn(t, l, m), newPairIn(t, l, m.Range(t, l.Size))
	type span struct{ from, to uintptr }
	var spans []span
	for _, x := range []*pair{a, b} {
		for id := range arena.Regions {
			for i := range l.Segments(id) {
				if segment := x.Arena().Segment(id, i); segment != nil {
					from := uintptr(unsafe.Pointer(&segment[0]))
					spans = append(spans, span{from, from + uintptr(len(segment))})
				}
			}
		}
	}
	slices.SortFunc(spans, func(x, y span) int { return int(x.from) - int(y.from) })
	for i := range spans[1:] {
		if spans[i].to > spans[i+1].from {
			t.Errorf("segments overlap: %x", spans[i:i+2])
		}
	}
	a.works(t)
	b.works(t)

	// What b has is the first index that a does not have.
	before := bytes.Clone(unsafe.Slice((*byte)(b.base), l.Size))
	a.submit(content(60))
	r := raw{a}
	r.ring(abi.RingTx).Head++
	r.slot(abi.RingTx, 1).Index = uint32(p.Packets)
	var v *channel.Violation
	if err := a.Channel.Sync(a.send); !errors.As(err, &v) || !errors.Is(err, pool.ErrNotLent) {
		t.Errorf("an index behind the own table: %v", err)
	}
	writable := unsafe.Slice((*byte)(a.base), l.Size)[l.Spans[arena.Rings].Offset:l.Spans[arena.Stats].Offset]
	for i := range writable {
		writable[i] = 0xff
	}
	a.Deliver(&channel.Delivery{Length: 60}, func([]byte) {})
	a.Flush()
	if err := a.Channel.Sync(a.send); err == nil {
		t.Error("a domain that overwrote its rings goes on")
	}
	if !bytes.Equal(before, unsafe.Slice((*byte)(b.base), l.Size)) {
		t.Error("one domain has changed the other's memory")
	}
	b.works(t)
}

// TestCapability15SizesApart: a size that is asked for is that of the named ring and of
// no other, up and down.
func TestCapability15SizesApart(t *testing.T) {
	for _, name := range []string{"default", "small", "bulk"} {
		schema, _ := arena.Named(name)
		usual := newPair(t, schema)
		for kind := range abi.RingKinds {
			for _, n := range []int{2, 16, 128} {
				var ask sizes
				ask[kind] = n
				p, err := schema.With(ask)
				if err != nil {
					t.Errorf("%s with %v: %v", name, ask, err)
					continue
				}
				want := usual.slots(t)
				want[kind] = n
				x := newPair(t, p)
				if got := x.slots(t); got != want {
					t.Errorf("%s with %v: %v, want %v", name, ask, got, want)
				}
				if x.Pools() != usual.Pools() && kind != abi.RingAlloc {
					t.Errorf("%s with %v: the pools are others too", name, ask)
				}
				if kind != abi.RingAlloc { // which bounds the longest packet
					x.works(t)
				}
			}
		}
	}
	p, _ := arena.Named("default")
	p, err := p.With(sizes{abi.RingRx: 2048, abi.RingTx: 64})
	if err != nil {
		t.Fatal(err)
	}
	x := newPair(t, p)
	n := 0
	for x.deliver(content(60)) {
		n++
	}
	if want := 2048 - 1; n > want || n < 1900 { // less what the domain may hold empty
		t.Errorf("%d packets arrived in 2048 slots", n)
	}
	x.full = true
	for n = 0; x.submit(content(60)); n++ {
	}
	if n != 63 {
		t.Errorf("%d packets are sent in 64 slots", n)
	}
}

// TestCapability15Refused: what cannot be is refused with what can; the channel that is
// open works on with its sizes, and nothing of the other one is left.
func TestCapability15Refused(t *testing.T) {
	schema, _ := arena.Named("small")
	x := newPair(t, schema)
	was := x.slots(t)
	for _, c := range []struct {
		ask  sizes
		want string
	}{
		{sizes{abi.RingRx: 100}, "100 rx slots, want a power of two"},
		{sizes{abi.RingTx: 1}, "1 tx slots, want 2 to 16384"},
		{sizes{abi.RingTx: -64}, "-64 tx slots, want 2 to 16384"},
		{sizes{abi.RingRx: 1 << 20}, "1048576 rx slots, want 2 to 16384"},
		{sizes{abi.RingRx: 4096}, "4096 rx slots, want 2048 at most, as packets and buffers are bounded"},
		{sizes{abi.RingEvent: 2048}, "2048 event slots, want 2 to 1024"},
		{sizes{abi.RingRx: 128, abi.RingFree: 3}, "3 free slots, want a power of two"},
	} {
		p, err := schema.With(c.ask)
		if !errors.Is(err, arena.ErrBounds) || !strings.HasSuffix(err.Error(), c.want) || p != (arena.Params{}) {
			t.Errorf("%v: %v, want %q", c.ask, err, c.want)
		}
		x.works(t)
	}
	// The size is fine and the memory is not there.
	p, err := schema.With(sizes{abi.RingRx: 256})
	if err != nil {
		t.Fatal(err)
	}
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	m := arenatest.New(t, l.Size)
	m.Most = 64 << 10
	if _, err := arena.New(l, m, cookie); err == nil || m.Live() != 0 {
		t.Errorf("without memory: %v, %d segments are left", err, m.Live())
	}
	if x.works(t); x.slots(t) != was {
		t.Error("the open channel has other sizes")
	}
}

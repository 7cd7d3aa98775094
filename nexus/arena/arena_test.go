package arena_test

import (
	"errors"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
)

// TestRights repeats the contract of the region table: what the domain may do with
// each, what a device may be pointed at, and what a defunct channel still shows.
func TestRights(t *testing.T) {
	for id, want := range map[arena.ID]arena.Info{
		arena.Schema:   {Name: "schema", User: arena.ReadOnly},
		arena.Rings:    {Name: "rings", User: arena.ReadWrite, Redirect: true},
		arena.Slots:    {Name: "slots", User: arena.ReadWrite, Redirect: true},
		arena.Packets:  {Name: "packets", User: arena.ReadWrite, Redirect: true},
		arena.Buflets:  {Name: "buflets", User: arena.ReadWrite, Redirect: true},
		arena.Buffers:  {Name: "buffers", User: arena.ReadWrite, Redirect: true, IO: true},
		arena.Large:    {Name: "large", User: arena.ReadWrite, Redirect: true, IO: true},
		arena.Stats:    {Name: "stats", User: arena.ReadOnly, Redirect: true},
		arena.Advisory: {Name: "advisory", User: arena.ReadOnly, Redirect: true},
	} {
		if got := id.Info(); got != want {
			t.Errorf("%v: %+v, want %+v", id, got, want)
		}
	}
}

// TestSchemas: each name gives an arena of its sizes, another is refused (capability
// 1.1).
func TestSchemas(t *testing.T) {
	for _, c := range []struct {
		name   string
		rx, tx int
	}{{"default", 1024, 256}, {"small", 128, 64}, {"bulk", 2048, 512}} {
		p, err := arena.Named(c.name)
		if err != nil {
			t.Fatal(err)
		}
		l, err := arena.NewLayout(p)
		if err != nil {
			t.Fatal(err)
		}
		m := arenatest.New(t, l.Size)
		a, err := arena.New(l, m, 1)
		if err != nil {
			t.Fatal(err)
		}
		s := (*abi.Schema)(m.Domain())
		if s.Version != abi.SchemaVersion || s.Flags&abi.SchemaActive == 0 || s.Size != uint64(l.Size) ||
			int(s.Rings[abi.RingRx].Count) != c.rx || int(s.Rings[abi.RingTx].Count) != c.tx {
			t.Errorf("%s: %+v", c.name, s)
		}
		// Objects lie apart from each other and within their segments.
		end := 0
		for id := range arena.Regions {
			span := l.Spans[id]
			if span.Offset != end || span.Size%arena.PageSize != 0 || span.Size > 0 && span.Size%span.Segment != 0 {
				t.Errorf("%s: %v lies at %+v behind %d", c.name, id, span, end)
			}
			end += span.Size
		}
		seen := map[*byte]bool{}
		for i := range l.BufletCount() {
			b := a.Buffer(uint32(i))
			if seen[&b[0]] || len(b) != arena.BufferSize && len(b) != arena.LargeSize {
				t.Fatalf("%s: buffer %d of %d bytes", c.name, i, len(b))
			}
			seen[&b[0]] = true
		}
		a.Deactivate()
		if s.Flags&abi.SchemaActive != 0 {
			t.Error("it is still active")
		}
		a.Free()
		if m.Live() != 0 {
			t.Errorf("%d segments are left", m.Live())
		}
	}
	if _, err := arena.Named("huge"); !errors.Is(err, arena.ErrBounds) {
		t.Errorf("an unknown schema: %v", err)
	}
}

func TestBounds(t *testing.T) {
	for name, p := range map[string]arena.Params{
		"slots that are no power of two": {Slots: [abi.RingKinds]int{abi.RingTx: 100}},
		"one slot":                       {Slots: [abi.RingKinds]int{abi.RingTx: 1}},
		"too many slots":                 {Slots: [abi.RingKinds]int{abi.RingRx: 1 << 15}},
		"negative":                       {Packets: -1},
		"too many buffers":               {Buffers: 8192},
		"half a segment":                 {Buffers: 24},
		"half a large segment":           {Large: 3},
		"an IO page beyond a segment":    {IOPage: 64 << 10},
	} {
		if _, err := arena.NewLayout(p); !errors.Is(err, arena.ErrBounds) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMemoryThatRunsOut leaves nothing behind, wherever that happens.
func TestMemoryThatRunsOut(t *testing.T) {
	p, _ := arena.Named("small")
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	for most := 0; most < l.Size; most += arena.SegmentSize {
		m := arenatest.New(t, l.Size)
		m.Most = most
		if _, err := arena.New(l, m, 1); err == nil || m.Live() != 0 {
			t.Fatalf("with %d bytes: %v, %d segments are left", most, err, m.Live())
		}
	}
}

package arena_test

import (
	"bytes"
	"errors"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
)

// TestRights (verifynxadv, writeif, readsmap, writesmap) repeats the contract of the region
// table: what the domain may do with each, what a device may be pointed at, and what a defunct
// channel still shows.
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
		backAll(t, a)
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

// backAll puts memory behind all segments.
func backAll(t *testing.T, a *arena.Arena) {
	for id := range arena.Regions {
		for i := range a.Segments(id) {
			if a.Segment(id, i) != nil {
				continue
			}
			if err := a.Back(id, i); err != nil {
				t.Fatal(err)
			}
		}
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
		"half a chunk of advisories":     {Advisory: 96},
		"too few advisories":             {Advisory: 32},
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
	least := 0 // that an arena has
	for id := range arena.Regions {
		least += l.Spans[id].Segment
	}
	for most := 0; most < least; most += arena.PageSize {
		m := arenatest.New(t, l.Size)
		m.Most = most
		if _, err := arena.New(l, m, 1); err == nil || m.Live() != 0 {
			t.Fatalf("with %d bytes: %v, %d segments are left", most, err, m.Live())
		}
	}
}

// watched is memory that looks at the order in which an arena uses it.
type watched struct {
	*arenatest.Memory
	t      *testing.T
	hidden map[int]bool // offsets
	shown  int
}

func (w *watched) Show(offset int, segment []byte, r arena.Right) error {
	if i := bytes.IndexFunc(segment, func(r rune) bool { return r != 0 }); i >= 0 {
		w.t.Errorf("the domain would see what the last owner has left at %d", i)
	}
	w.shown++
	w.hidden[w.Offset(segment)] = false
	return w.Memory.Show(offset, segment, r)
}

func (w *watched) Hide(offset, size int) {
	w.Memory.Hide(offset, size)
	for _, b := range unsafe.Slice((*byte)(unsafe.Add(w.Domain(), offset)), size) {
		if b != 0 {
			w.t.Fatal("the domain sees something where nothing is")
		}
	}
	w.hidden[offset] = true
}

func (w *watched) Free(b []byte) {
	w.Memory.Free(b)
	for i := range b {
		b[i] = 0xee // the next owner would find it
	}
}

// TestSegmentsComeAndGo takes each segment that a domain may do without and gives it
// back, at another place of the machine's memory: the domain never faults, sees its own
// or zeros, and nothing of a segment that was taken reaches the next owner.
func TestSegmentsComeAndGo(t *testing.T) {
	p, _ := arena.Named("small")
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	m := &watched{Memory: arenatest.New(t, 2*l.Size), t: t, hidden: map[int]bool{}}
	a, err := arena.New(l, m, 1)
	if err != nil {
		t.Fatal(err)
	}
	for id := range arena.Regions {
		if a.Backed(id) != l.Spans[id].Segment {
			t.Errorf("%v: %d bytes are backed", id, a.Backed(id))
		}
	}
	backAll(t, a)
	for id := range arena.Regions {
		if !id.Info().Redirect {
			continue
		}
		for i := range l.Segments(id) {
			offset, size := l.SegmentAt(id, i)
			domain := unsafe.Slice((*byte)(unsafe.Add(m.Domain(), offset)), size)
			fill := func(b byte) {
				for i := range domain {
					domain[i] = b
				}
			}
			fill(0xaa)
			before := m.Offset(a.Segment(id, i))
			a.Unback(id, i)
			if a.Segment(id, i) != nil || a.Backed(id) != l.Spans[id].Size-size || !m.hidden[offset] {
				t.Fatalf("segment %d of %v is still there", i, id)
			}
			fill(0xbb)         // stale, and the domain's own
			var taken [][]byte // by another, up to what was just freed
			for len(taken) == 0 || m.Offset(taken[len(taken)-1]) < before+size-arena.PageSize {
				b, err := m.Alloc(arena.Buffers, arena.PageSize)
				if err != nil {
					t.Fatal(err)
				}
				taken = append(taken, b)
				if bytes.IndexByte(b, 0xbb) >= 0 {
					t.Fatalf("segment %d of %v: a stale write reached what another has now", i, id)
				}
			}
			if at := m.Offset(taken[len(taken)-1]); at != before+size-arena.PageSize {
				t.Errorf("segment %d of %v was not freed", i, id)
			}
			if err := a.Back(id, i); err != nil {
				t.Fatal(err)
			}
			if after := m.Offset(a.Segment(id, i)); after == before || bytes.IndexByte(domain, 0xbb) >= 0 {
				t.Errorf("segment %d of %v: at %#x as before, or with what was written meanwhile", i, id, after)
			}
			for _, b := range taken {
				m.Free(b)
			}
			a.Segment(id, i)[size-1] = 7
			if domain[size-1] != 7 {
				t.Errorf("segment %d of %v: the domain does not see it", i, id)
			}
		}
	}
	a.Free()
	if m.Live() != 0 || m.Used() != 0 {
		t.Errorf("%d segments are left", m.Live())
	}
}

// TestRightAtEachOffset: what the domain may do where no memory is.
func TestRightAtEachOffset(t *testing.T) {
	l, err := arena.NewLayout(arena.Params{Large: 4})
	if err != nil {
		t.Fatal(err)
	}
	for id, s := range l.Spans {
		for _, offset := range []int{s.Offset, s.Offset + s.Size - 1} {
			if got, want := l.Right(offset), arena.ID(id).Info().User; got != want {
				t.Errorf("%v at %#x: %v, want %v", arena.ID(id), offset, got, want)
			}
		}
	}
	for offset, want := range map[int]arena.Right{
		-1: arena.None, l.Size: arena.None, l.Range - 1: arena.None, l.Range: arena.None, l.Range + 1<<20: arena.None,
	} {
		if got := l.Right(offset); got != want {
			t.Errorf("at %#x: %v, want %v", offset, got, want)
		}
	}
}

// TestResizedSlots: slots of another size lie elsewhere, where the domain may write from
// then on, also when they are gone again.
func TestResizedSlots(t *testing.T) {
	l, err := arena.NewLayout(arena.Params{Large: 4})
	if err != nil {
		t.Fatal(err)
	}
	m := arenatest.New(t, l.Range)
	a, err := arena.New(l, m, 1)
	if err != nil {
		t.Fatal(err)
	}
	s := (*abi.Schema)(m.Domain())
	seen := map[int]bool{int(s.Rings[abi.RingTx].Slots): true}
	for i, n := range []int{512, 16384, 2, 1024} {
		moved := 0
		if err := a.Resize(abi.RingTx, n, func(slots []abi.Slot) { moved = len(slots) }); err != nil {
			t.Fatal(err)
		}
		at := int(s.Rings[abi.RingTx].Slots)
		if moved != n || int(s.Rings[abi.RingTx].Count) != n || seen[at] != (i >= 2) || at < l.Size || at+n*abi.SlotSize > l.Range {
			t.Errorf("%d of %d slots lie at %#x", moved, n, at)
		}
		seen[at] = true
		for at := range seen {
			if a.Right(at) != arena.ReadWrite {
				t.Errorf("the domain may not write at %#x", at)
			}
		}
		_, slots := a.Ring(abi.RingTx)
		if slots[n-1].Index = 7; *(*uint32)(unsafe.Add(m.Domain(), at+(n-1)*abi.SlotSize)) != 7 {
			t.Error("the domain sees another")
		}
	}
	if len(seen) != 3 || l.Right(l.Size) != arena.None {
		t.Errorf("places %v", seen)
	}
	a.Free()
	if m.Live() != 0 || m.Used() != 0 {
		t.Errorf("%d segments are left", m.Live())
	}
}

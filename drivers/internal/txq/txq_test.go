package txq

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/fakehw"
	"github.com/sluice-os/sluice/drivers/nic"
)

const (
	testPlaces = 16
	testSize   = 1 << 20
	testFront  = 12
	testSplit  = 2
	plenty     = 1000 // free descriptors
)

func mustOpen(t testing.TB) *Frames {
	t.Helper()
	memory := &fakehw.Allocator{}
	f := &Frames{}
	if err := f.Open(hw.NewDMA(memory, memory), testPlaces, testSize, testFront, testSplit); err != nil {
		t.Fatal(err)
	}
	return f
}

// reserve takes a place that must be there.
func reserve(t testing.TB, f *Frames, n int) *nic.Packet {
	t.Helper()
	p := &nic.NewBatch(1)[0]
	if !f.Reserve(p, n, plenty, 1) {
		t.Fatal("no place")
	}
	return p
}

// lend takes a place and makes it the device's.
func lend(t testing.TB, f *Frames, n int) (index uint32) {
	t.Helper()
	p := reserve(t, f, n)
	index, place, refusal := f.Claim(p)
	if refusal != OK {
		t.Fatalf("refusal %d", refusal)
	}
	f.Lend(place, p.Len)
	return index
}

// TestRoom: a place is refused when there are too few descriptors for a frame in two pieces,
// those that are promised taken off, and when all places are taken.
func TestRoom(t *testing.T) {
	f := mustOpen(t)
	p := nic.NewBatch(testPlaces + 1)
	for i, c := range []struct {
		room int
		want bool
	}{{2, false}, {3, true}, {3, false}, {4, true}, {4, false}} {
		p[0].Reset()
		if got := f.Reserve(&p[0], 100, c.room, 1); got != c.want {
			t.Errorf("step %d: %d free descriptors, %d promised: %t", i, c.room, f.Promised(), got)
		}
	}
	f = mustOpen(t)
	for i := range p {
		if got := f.Reserve(&p[i], 100, plenty, 1); got != (i < testPlaces) {
			t.Errorf("place %d: %t", i, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		want  Refusal
		spoil func(f *Frames, p *nic.Packet)
	}{
		"whole":                {OK, func(*Frames, *nic.Packet) {}},
		"shortest":             {OK, func(_ *Frames, p *nic.Packet) { p.Len = nic.HeaderLen }},
		"no buffers":           {NotReserved, func(_ *Frames, p *nic.Packet) { p.Buffers = p.Buffers[:0] }},
		"no such place":        {NotReserved, func(_ *Frames, p *nic.Packet) { p.Buffers[0].ID = testPlaces }},
		"no such place at all": {NotReserved, func(_ *Frames, p *nic.Packet) { p.Buffers[0].ID = 1<<32 - 1 }},
		"free":                 {NotReserved, func(_ *Frames, p *nic.Packet) { p.Buffers[0].ID++ }},
		"claimed before":       {NotReserved, func(f *Frames, p *nic.Packet) { f.Claim(p) }},
		"lent":                 {NotReserved, func(f *Frames, p *nic.Packet) { _, place, _ := f.Claim(p); f.Lend(place, p.Len) }},
		"no header":            {BadLength, func(_ *Frames, p *nic.Packet) { p.Len = nic.HeaderLen - 1 }},
		"negative":             {BadLength, func(_ *Frames, p *nic.Packet) { p.Len = -1 }},
		"longer than reserved": {BadLength, func(_ *Frames, p *nic.Packet) { p.Len++ }},
	} {
		t.Run(name, func(t *testing.T) {
			f := mustOpen(t)
			p := reserve(t, f, 100)
			c.spoil(f, p)
			if _, _, got := f.Claim(p); got != c.want {
				t.Errorf("refusal %d, want %d", got, c.want)
			}
		})
	}
}

// TestDrop: what is not lent is finished with the length that its caller gave it, if that is
// one.
func TestDrop(t *testing.T) {
	f := mustOpen(t)
	for _, n := range []int{60, -1, 0, 40} {
		f.Drop(&nic.Packet{Len: n})
	}
	if !f.Untold() || f.TakeFinished() != 100 || f.Untold() || f.TakeFinished() != 0 {
		t.Error("not 100 bytes, or told twice")
	}
}

// TestOrder: a place is given back once all older ones are.
func TestOrder(t *testing.T) {
	f := mustOpen(t)
	first, waiting, last := lend(t, f, 100), reserve(t, f, 100), lend(t, f, 100)
	f.Done(last)
	f.Reclaimed()
	if f.Places() != 3 {
		t.Errorf("%d places are taken, the oldest of 3 is in flight", f.Places())
	}
	f.Done(first)
	f.Reclaimed()
	if f.Places() != 2 {
		t.Errorf("%d places are taken, the second of 3 is reserved", f.Places())
	}
	f.Claim(waiting)
	f.Retire()
	if f.Places() != 0 || f.Used() != 0 {
		t.Errorf("%d places, %d bytes are taken of nothing", f.Places(), f.Used())
	}
}

// TestWatch: time runs while frames are in flight and none is finished, and only then.
func TestWatch(t *testing.T) {
	const timeout = time.Second
	f := mustOpen(t)
	now, reads := time.Unix(0, 0), 0
	clock := func() time.Time { reads++; return now }
	watch := func(able bool) error { return f.Watch(clock, timeout, able) }
	late := func() { now = now.Add(2 * timeout) }

	if watch(true) != nil || reads != 0 {
		t.Error("an idle device is watched")
	}
	oldest, next := lend(t, f, 100), lend(t, f, 100)
	late()
	if err := watch(true); err != nil {
		t.Errorf("time ran before anybody watched: %v", err)
	}
	now = now.Add(timeout)
	if err := watch(true); err != nil {
		t.Errorf("after exactly the timeout: %v", err)
	}
	now = now.Add(1)
	if err := watch(true); err == nil || !strings.Contains(err.Error(), "none of 2 frames in 1.000000001s") {
		t.Errorf("got %v", err)
	}
	f.Done(oldest)
	f.Reclaimed()
	if err := watch(true); err != nil {
		t.Errorf("one was finished: %v", err)
	}
	late()
	if watch(false) != nil || watch(true) != nil {
		t.Error("time ran while the device could finish none")
	}
	late()
	f.Retire() // of what was dropped: the device has done nothing
	if watch(true) == nil {
		t.Error("a frame that was dropped is progress")
	}
	f.Reset()
	lend(t, f, 100)
	if err := watch(true); err != nil {
		t.Errorf("after a reset: %v", err)
	}
	_ = next
}

// TestMemory: the device reads the arena, all of it comes back, and what cannot be had is an
// error.
func TestMemory(t *testing.T) {
	memory := &fakehw.Allocator{}
	dma := hw.NewDMA(memory, memory)
	f := &Frames{}
	f.Free(dma) // nothing yet
	if err := f.Open(dma, testPlaces, testSize, testFront, testSplit); err != nil {
		t.Fatal(err)
	}
	if _, err := memory.At(f.Memory.Bus, testSize, hw.ToDevice, true); err != nil || len(f.Memory.Bytes) != testSize {
		t.Errorf("%d bytes: %v", len(f.Memory.Bytes), err)
	}
	f.Free(dma)
	if memory.Used() != 0 {
		t.Errorf("%d bytes are lost", memory.Used())
	}
	memory.Limit = testSize / 2
	if err := new(Frames).Open(dma, testPlaces, testSize, testFront, testSplit); err == nil || !strings.Contains(err.Error(), "transmit arena") {
		t.Errorf("got %v", err)
	}
}

// way is a frame's whole way through the books.
func way(f *Frames, p *nic.Packet) {
	p.Reset()
	f.Reserve(p, 1514, plenty, 1)
	index, place, _ := f.Claim(p)
	f.Lend(place, p.Len)
	f.Done(index)
	f.Reclaimed()
}

func TestAllocations(t *testing.T) {
	f, p := mustOpen(t), &nic.NewBatch(1)[0]
	if n := testing.AllocsPerRun(100, func() { way(f, p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFrame(b *testing.B) {
	f, p := mustOpen(b), &nic.NewBatch(1)[0]
	b.ReportAllocs()
	for b.Loop() {
		way(f, p)
	}
}

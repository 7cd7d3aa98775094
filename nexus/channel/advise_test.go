package channel_test

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/advisory"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/channel"
)

func (x *pair) advise(t testing.TB, id, generation uint32) uint32 {
	t.Helper()
	n, err := x.Advise(id, generation, abi.AdvisoryKey{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// state is what the domain finds for a flow.
func (x *pair) state(t testing.TB, number, id, generation uint32) uint64 {
	t.Helper()
	a, ok := x.user.Advisory(number, id, generation)
	if !ok {
		t.Fatalf("entry %d is not that of flow %d of generation %d", number, id, generation)
	}
	return a.State
}

// TestFlowIsPausedAndReleased: each edge is an event and stands in the table; what is no
// edge is no event; an edge while the domain sleeps is not lost.
func TestFlowIsPausedAndReleased(t *testing.T) {
	x := newPair(t, arena.Params{})
	x.advise(t, 6, 1)
	n := x.advise(t, 7, 3)
	event := abi.Slot{Index: 7, Kind: abi.SlotAdvisory, Length: uint16(n)}
	for round := range uint64(50) {
		for i, f := range []func(number, id, generation uint32){x.PauseFlow, x.ReleaseFlow} {
			f(n, 7, 3)
			f(n, 7, 3)
			if got, _ := x.take(); !slices.Equal(got, []abi.Slot{event}) {
				t.Fatalf("events %v, want %v", got, event)
			}
			if got, want := x.state(t, n, 7, 3), 2*round+1+uint64(i); got != want {
				t.Fatalf("state %d, want %d", got, want)
			}
		}
		x.user.Sync()
	}
	if c := x.Advisories(); c.Pauses != 50 || c.Releases != 50 || c.Entries != 2 || c.Paused != 0 {
		t.Errorf("%+v", c)
	}
	// Two edges before it looks: one event, and the table has what holds.
	x.PauseFlow(n, 7, 3)
	x.ReleaseFlow(n, 7, 3)
	x.PauseFlow(n, 7, 3)
	if got, lost := x.take(); !slices.Equal(got, []abi.Slot{event}) || lost || x.state(t, n, 7, 3)&1 != 1 {
		t.Errorf("events %v, lost %v, state %d", got, lost, x.state(t, n, 7, 3))
	}
	if s := x.state(t, 0, 6, 1); s != 0 {
		t.Errorf("the other flow's state is %d", s)
	}
	x.Passed(n, 7, 3, 10, 2)
	if a, _ := x.user.Advisory(n, 7, 3); a.Packets != 10 || a.Marks != 2 {
		t.Errorf("%+v", a)
	}
	if x.err != nil {
		t.Error(x.err)
	}
}

// TestCapability63AdvisoriesOfLaterFlows: a mark that comes late does not hit the flow that
// has the entry by then, and the domain does not take one flow's for another's. That
// it cannot write the table is shown in a machine (TestHostile/write-advisory) and by the
// region's rights.
func TestCapability63AdvisoriesOfLaterFlows(t *testing.T) {
	x := newPair(t, arena.Params{})
	n := x.advise(t, 7, 3)
	x.PauseFlow(n, 7, 3)
	x.Unadvise(n, 7, 3)
	x.take()
	if later := x.advise(t, 7, 4); later != n {
		t.Fatalf("entry %d, want %d again", later, n)
	}
	x.PauseFlow(n, 7, 3)
	x.Passed(n, 7, 3, 5, 5)
	x.Unadvise(n, 7, 3)
	if a, ok := x.user.Advisory(n, 7, 4); !ok || a != (abi.Advisory{Flow: abi.AdvisoryFlow(7, 4)}) {
		t.Errorf("%+v, %v", a, ok)
	}
	if got, _ := x.take(); len(got) != 0 {
		t.Errorf("events %v", got)
	}
	if _, ok := x.user.Advisory(n, 7, 3); ok {
		t.Error("the domain finds the flow that has ended")
	}
	// The control: its own mark hits it.
	x.PauseFlow(n, 7, 4)
	if got, _ := x.take(); len(got) != 1 || x.state(t, n, 7, 4) != 1 {
		t.Errorf("events %v, state %d", got, x.state(t, n, 7, 4))
	}
	if right := arena.Advisory.Info().User; right != arena.ReadOnly {
		t.Errorf("the domain's right is %v", right)
	}
}

// TestAdvisoryTableGrows: the table has memory for the flows that there are, and flows
// that find no room are told so.
func TestAdvisoryTableGrows(t *testing.T) {
	x := newPair(t, arena.Params{Advisory: 192})
	if n := x.Arena().Backed(arena.Advisory); n != arena.PageSize {
		t.Errorf("%d bytes at first", n)
	}
	if _, ok := x.user.Advisory(0, 1, 1); ok {
		t.Error("a flow is found in an empty table")
	}
	for i := range uint32(192) {
		n := x.advise(t, i, 1)
		x.PauseFlow(n, i, 1)
		if s := x.user.Stats(); x.state(t, n, i, 1) != 1 || s.Advisories != uint64(n/64+1)*64 {
			t.Fatalf("entry %d: %d entries", n, s.Advisories)
		}
	}
	if _, err := x.Advise(1000, 1, abi.AdvisoryKey{}); !errors.Is(err, advisory.ErrFull) {
		t.Error(err)
	}
	if n := x.Arena().Backed(arena.Advisory); n != 3*arena.PageSize {
		t.Errorf("%d bytes", n)
	}
	for _, number := range []uint32{192, 1 << 20, abi.None} {
		if _, ok := x.user.Advisory(number, 0, 0); ok {
			t.Errorf("entry %d is found", number)
		}
	}
	// A machine without memory has a flow work without an entry, until there is some.
	x, m := newPairMemory(t, arena.Params{})
	for i := range uint32(64) {
		x.advise(t, i, 1)
	}
	m.Most = m.Used()
	if _, err := x.Advise(64, 1, abi.AdvisoryKey{}); !errors.Is(err, arena.ErrShort) {
		t.Error(err)
	}
	m.Most += arena.PageSize
	if n := x.advise(t, 64, 1); n != 64 || x.state(t, n, 64, 1) != 0 {
		t.Errorf("entry %d", n)
	}
}

// newPairMemory makes a channel, and returns its memory too.
func newPairMemory(t *testing.T, p arena.Params) (*pair, *arenatest.Memory) {
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	m := arenatest.New(t, l.Size)
	return newPairIn(t, l, m), m
}

// TestAdvisoriesOfAClosedChannel: nothing is written to memory that is not the channel's
// any more.
func TestAdvisoriesOfAClosedChannel(t *testing.T) {
	x := newPair(t, arena.Params{})
	n := x.advise(t, 7, 3)
	x.Close()
	before := x.Arena().Advisories(0)[n]
	x.PauseFlow(n, 7, 3)
	x.Passed(n, 7, 3, 1, 1)
	x.ReleaseFlow(n, 7, 3)
	x.Unadvise(n, 7, 3)
	if got := x.Arena().Advisories(0)[n]; got != before || x.events != 0 {
		t.Errorf("%+v, %d events", got, x.events)
	}
	if _, err := x.Advise(8, 1, abi.AdvisoryKey{}); err != channel.ErrClosed {
		t.Error(err)
	}
}

// TestAdvisoriesAreHunted has flows come and go, pause and go on, while the domain reads
// the table without a break: it never finds what was said of another flow. Flows with odd
// numbers never pause; of each flow as many packets have passed as its number says,
// and all of them were marked.
func TestAdvisoriesAreHunted(t *testing.T) {
	x := newPair(t, arena.Params{Advisory: 128})
	const flows = 100
	type name struct{ number, id, generation uint32 }
	var live [flows]atomic.Pointer[name]
	var over atomic.Bool
	var found atomic.Uint64
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for i := 0; !over.Load(); i++ {
				f := live[i%flows].Load()
				if f == nil {
					continue
				}
				a, ok := x.user.Advisory(f.number, f.id, f.generation)
				if !ok {
					continue
				}
				found.Add(1)
				if f.id&1 == 1 && a.State != 0 || a.Packets != 0 && a.Packets != uint64(f.id) || a.Marks != 0 && a.Marks != uint64(f.id) {
					t.Errorf("flow %d of generation %d: %+v", f.id, f.generation, a)
					return
				}
			}
		})
	}
	generation := uint32(0)
	for step := 0; step < 30_000 || found.Load() < 1000 && step < 3_000_000; step++ {
		i := step * 7919 % flows
		if f := live[i].Load(); f != nil {
			// The domain may go on reading by a name that is nobody's.
			if f.id&1 == 0 {
				x.ReleaseFlow(f.number, f.id, f.generation)
			}
			x.Unadvise(f.number, f.id, f.generation)
		}
		generation++
		f := &name{id: uint32(1 + step%50), generation: generation}
		var err error
		if f.number, err = x.Advise(f.id, f.generation, abi.AdvisoryKey{}); err != nil {
			t.Fatal(err)
		}
		live[i].Store(f)
		if f.id&1 == 0 {
			x.PauseFlow(f.number, f.id, f.generation)
		}
		x.Passed(f.number, f.id, f.generation, uint64(f.id), uint64(f.id))
	}
	over.Store(true)
	readers.Wait()
	if c := x.Advisories(); found.Load() < 1000 || c.Stale != 0 || c.Entries != flows {
		t.Errorf("%d entries were found, %+v", found.Load(), c)
	}
}

// TestAdvisoriesAllocateNothing: neither table nor events do.
func TestAdvisoriesAllocateNothing(t *testing.T) {
	x := newPair(t, arena.Params{})
	n := x.advise(t, 7, 3)
	take := func(abi.Slot) {}
	if a := testing.AllocsPerRun(100, func() {
		x.PauseFlow(n, 7, 3)
		x.ReleaseFlow(n, 7, 3)
		x.user.Events(take)
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

package advisory

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
)

// world is a table in memory of its own.
type world struct {
	testing.TB
	*Table
	memory []*Chunk
	asked  []int // for which chunks
	deny   error
}

func newWorld(t testing.TB, most int) *world {
	w := &world{TB: t}
	w.Table = New(most, func(i int) (*Chunk, error) {
		w.asked = append(w.asked, i)
		if w.deny != nil {
			return nil, w.deny
		}
		w.memory = append(w.memory, new(Chunk))
		return w.memory[i], nil
	})
	return w
}

func (w *world) add(id, generation uint32) uint32 {
	w.Helper()
	n, err := w.Add(id, generation, abi.AdvisoryKey{})
	if err != nil {
		w.Fatal(err)
	}
	return n
}

// seen is what the domain sees of an entry.
func (w *world) seen(number uint32) abi.Advisory {
	return w.memory[number/abi.AdvisoryChunk][number%abi.AdvisoryChunk]
}

// TestGrows: the table has memory for the flows that there are, in chunks of 64, and an
// end; a chunk that could not be had is asked for again.
func TestGrows(t *testing.T) {
	w := newWorld(t, 3)
	denied := errors.New("no memory")
	for i := range uint32(3 * 64) {
		if i%64 == 0 {
			w.deny = denied
			if _, err := w.Add(1000, 1, abi.AdvisoryKey{}); err != denied || w.Len() != int(i) {
				t.Fatalf("%v with %d entries", err, w.Len())
			}
			w.deny = nil
		}
		if n := w.add(i+1, 7); n != i || w.Len() != int(i/64+1)*64 {
			t.Fatalf("entry %d of %d for flow %d", n, w.Len(), i)
		}
	}
	if _, err := w.Add(1000, 1, abi.AdvisoryKey{}); err != ErrFull || len(w.asked) != 6 {
		t.Errorf("%v, asked for %v", err, w.asked)
	}
	// The first that is free is taken, in whatever chunk.
	for _, n := range []uint32{100, 3, 70} {
		w.Remove(n, n+1, 7)
	}
	for i, want := range []uint32{3, 70, 100} {
		if n := w.add(uint32(2000+i), 1); n != want {
			t.Errorf("entry %d, want %d", n, want)
		}
	}
	if c := w.Counts(); c.Entries != 192 || c.Full != 4 || c.Stale != 0 || len(w.asked) != 6 {
		t.Errorf("%+v, asked for %v", c, w.asked)
	}
}

// TestEdges: what is said twice is new once, and what the domain sees counts the changes.
func TestEdges(t *testing.T) {
	w := newWorld(t, 1)
	n := w.add(5, 9)
	for round := range uint64(3) {
		for i, want := range []bool{true, false, false} {
			if got := w.Pause(n, 5, 9); got != want {
				t.Errorf("pause %d: %v", i, got)
			}
			if e := w.seen(n); e.State != 2*round+1 || e.Flow != abi.AdvisoryFlow(5, 9) {
				t.Errorf("%+v", e)
			}
		}
		if c := w.Counts(); c.Paused != 1 || c.Pauses != round+1 || c.Releases != round {
			t.Errorf("%+v", c)
		}
		for i, want := range []bool{true, false, false} {
			if got := w.Release(n, 5, 9); got != want || w.seen(n).State != 2*round+2 {
				t.Errorf("release %d: %v, %+v", i, got, w.seen(n))
			}
		}
	}
	w.Sent(n, 5, 9, 10, 3)
	w.Sent(n, 5, 9, 1, 1)
	if e := w.seen(n); e.Packets != 11 || e.Marks != 4 || e.State != 6 {
		t.Errorf("%+v", e)
	}
	// A flow that ends while it pauses leaves nothing behind.
	w.Pause(n, 5, 9)
	w.Remove(n, 5, 9)
	if c := w.Counts(); c.Paused != 0 || c.Entries != 0 || w.seen(n).Flow != 0 {
		t.Errorf("%+v, %+v", c, w.seen(n))
	}
	if again := w.add(6, 9); again != n || w.seen(n) != (abi.Advisory{Flow: abi.AdvisoryFlow(6, 9)}) {
		t.Errorf("entry %d: %+v", again, w.seen(n))
	}
}

// TestCapability63StaleMarks: what is said of a flow that is not the entry's changes
// nothing, whichever part of its name is another one's. The control is its twin.
func TestCapability63StaleMarks(t *testing.T) {
	for name, c := range map[string]struct {
		number, id, generation uint32
		stale                  bool
	}{
		"the flow itself":          {1, 5, 9, false},
		"another generation":       {1, 5, 8, true},
		"another flow":             {1, 6, 9, true},
		"the entry of another one": {0, 5, 9, true},
		"a free entry":             {2, 5, 9, true},
		"no flow, a free entry":    {2, 0, 0, true},
		"behind the table":         {64, 5, 9, true},
		"far behind it":            {1<<32 - 1, 5, 9, true},
	} {
		for op, f := range map[string]func(w *world){
			"pause":   func(w *world) { w.Pause(c.number, c.id, c.generation) },
			"release": func(w *world) { w.Pause(1, 5, 9); w.Release(c.number, c.id, c.generation) },
			"sent":    func(w *world) { w.Sent(c.number, c.id, c.generation, 7, 1) },
			"remove":  func(w *world) { w.Remove(c.number, c.id, c.generation) },
		} {
			w := newWorld(t, 4)
			w.add(4, 9)
			w.add(5, 9)
			before := *w.memory[0]
			if op == "release" {
				before[1].State = 1
			}
			f(w)
			if changed := *w.memory[0] != before; changed == c.stale {
				t.Errorf("%s, %s: changed is %v", name, op, changed)
			}
			if n := w.Counts().Stale; (n == 1) != c.stale {
				t.Errorf("%s, %s: %d stale", name, op, n)
			}
		}
	}
}

// read is how a domain reads an entry, with what it finds at three moments.
func read(first, second, third *abi.Advisory, flow uint64) (state uint64, ok bool) {
	return second.State, first.Flow == flow && third.Flow == flow
}

// careless is how it must not: without looking again whose the entry is.
func careless(first, second, _ *abi.Advisory, flow uint64) (state uint64, ok bool) {
	return second.State, first.Flow == flow
}

// TestEveryMoment: three flows have the same entry one after the other; the first and the
// third are paused, the second never is. However a domain that reads the entry is
// interrupted, it never finds the second one paused. The controls, a reader and a kernel
// that do one thing wrong, are caught.
func TestEveryMoment(t *testing.T) {
	never := abi.AdvisoryFlow(5, 2)
	right := func(w *world) {
		for _, generation := range []uint32{1, 2, 3} {
			n := w.add(5, generation)
			w.Sent(n, 5, generation, 1, 0)
			if generation != 2 {
				w.Pause(n, 5, generation)
			}
			w.Remove(n, 5, generation)
		}
	}
	for name, c := range map[string]struct {
		kernel func(w *world)
		read   func(a, b, c *abi.Advisory, flow uint64) (uint64, bool)
		caught bool
	}{
		"as it is":                          {right, read, false},
		"a reader that does not look twice": {right, careless, true},
		"a kernel that names the flow first": {func(w *world) {
			n := w.add(5, 1)
			w.Pause(n, 5, 1)
			w.Remove(n, 5, 1)
			e := &w.memory[0][n]
			w.store(&e.Flow, never)
			w.store(&e.State, 0)
		}, read, true},
	} {
		w := newWorld(t, 1)
		var moments []abi.Advisory
		w.step = func() { moments = append(moments, w.memory[0][0]) }
		c.kernel(w)
		wrong, found := 0, 0
		for i := range moments {
			for j := i; j < len(moments); j++ {
				for k := j; k < len(moments); k++ {
					if state, ok := c.read(&moments[i], &moments[j], &moments[k], never); ok {
						found++
						if state != 0 {
							wrong++
						}
					}
				}
			}
		}
		if (wrong > 0) != c.caught || found == 0 {
			t.Errorf("%s: %d wrong of %d", name, wrong, found)
		}
	}
}

// TestRandom plays with a table beside a map.
func TestRandom(t *testing.T) {
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(t, 8)
		type flow struct {
			id, generation uint32
			state          uint64
		}
		flows := map[uint32]*flow{} // by number
		paused := 0
		for step := range uint32(30_000) {
			number := uint32(r.IntN(8*64 + 10))
			f := flows[number]
			switch op := r.IntN(6); {
			case op == 0:
				n, err := w.Add(step/3, step+1, abi.AdvisoryKey{})
				if full := len(flows) == 8*64; full != errors.Is(err, ErrFull) || !full && flows[n] != nil {
					t.Fatalf("entry %d, %v with %d flows", n, err, len(flows))
				} else if !full {
					flows[n] = &flow{step / 3, step + 1, 0}
				}
			case f == nil:
				if w.Pause(number, step, step) || w.Release(number, step, step) {
					t.Fatalf("entry %d is nobody's", number)
				}
				w.Remove(number, step, step)
			case op == 1 && r.IntN(2) == 0:
				w.Remove(number, f.id, f.generation)
				delete(flows, number)
				paused -= int(f.state & 1)
			case op <= 3:
				if w.Pause(number, f.id, f.generation) != (f.state%2 == 0) {
					t.Fatal("pause")
				}
				paused += int(1 - f.state&1)
				f.state |= 1
			default:
				if w.Release(number, f.id, f.generation) != (f.state%2 == 1) {
					t.Fatal("release")
				}
				paused -= int(f.state & 1)
				f.state += f.state & 1
			}
			if c := w.Counts(); c.Entries != len(flows) || c.Paused != paused {
				t.Fatalf("%+v with %d flows, %d paused", c, len(flows), paused)
			}
		}
		for n := range uint32(w.Len()) {
			want := abi.Advisory{}
			if f := flows[n]; f != nil {
				want = abi.Advisory{Flow: abi.AdvisoryFlow(f.id, f.generation), State: f.state}
			} else {
				want.State = w.seen(n).State // nobody reads it
			}
			if got := w.seen(n); got != want {
				t.Fatalf("entry %d: %+v, want %+v", n, got, want)
			}
		}
	}
}

func TestNoAllocations(t *testing.T) {
	w := newWorld(t, 1)
	w.add(1, 1)
	if n := testing.AllocsPerRun(100, func() {
		n := w.add(5, 9)
		w.Pause(n, 5, 9)
		w.Sent(n, 5, 9, 1, 1)
		w.Release(n, 5, 9)
		w.Remove(n, 5, 9)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

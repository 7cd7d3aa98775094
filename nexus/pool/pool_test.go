package pool_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sluice-os/sluice/nexus/pool"
)

// TestObjects plays with a set beside a model of it that is a list: what is taken has
// memory and nobody has it, the last ones given back first, then the lowest, and the counts
// are right.
func TestObjects(t *testing.T) {
	for _, c := range []struct{ first, n, per int }{{0, 200, 16}, {1000, 30, 4}, {5, 4097, 64}, {0, 1, 1}, {7, 0, 4}} {
		const (
			absent = iota
			free
			taken
			lent
		)
		o := pool.NewObjects(c.first, c.n, c.per)
		state := make([]int, c.n)
		r := rand.New(rand.NewPCG(uint64(c.n), 1))
		count := func(want int) (n int) {
			for _, s := range state {
				if s == want {
					n++
				}
			}
			return n
		}
		pick := func(want int) int {
			for range 40 {
				if i := r.IntN(max(c.n, 1)); i < c.n && state[i] == want {
					return i
				}
			}
			return -1
		}
		low := 0
		var recent []int
		for range 20000 {
			switch r.IntN(8) {
			case 0:
				segment, ok := o.Missing()
				if want := o.Segments() - o.Backed(); ok != (want > 0) {
					t.Fatalf("%d segments have no memory, and one is missing: %v", want, ok)
				}
				if ok {
					o.Add(segment)
					for i := segment * c.per; i < min((segment+1)*c.per, c.n); i++ {
						if state[i] != absent {
							t.Fatal("a segment was added that has memory")
						}
						state[i] = free
					}
				}
			case 1:
				if r.IntN(4) > 0 {
					break
				}
				recent = nil
				segment, ok := o.Drain()
				want := -1
				for s := range o.Segments() {
					whole := true
					for i := s * c.per; i < min((s+1)*c.per, c.n); i++ {
						whole = whole && state[i] == free
					}
					if whole {
						want = s
					}
				}
				if ok != (want >= 0) || ok && segment != want {
					t.Fatalf("segment %d has drained, %v, want %d", segment, ok, want)
				}
				if ok {
					for i := segment * c.per; i < min((segment+1)*c.per, c.n); i++ {
						state[i] = absent
					}
				}
			case 2, 3:
				want := slices.Index(state, free)
				if want < 0 {
					break
				}
				if n := len(recent); n > 0 {
					want, recent = recent[n-1], recent[:n-1]
				}
				if i := o.Take(); int(i) != c.first+want {
					t.Fatalf("took %d, want %d", i, c.first+want)
				}
				state[want] = taken
			case 4:
				if i := pick(taken); i >= 0 {
					o.Put(uint32(c.first + i))
					state[i] = free
					if len(recent) < 255 {
						recent = append(recent, i)
					}
				}
			case 5:
				if i := pick(taken); i >= 0 {
					o.Lend(uint32(c.first+i), pool.Loan(1+i%2))
					state[i] = lent
				}
			case 6:
				if i := pick(lent); i >= 0 {
					if err := o.Return(uint32(c.first + i)); err != nil {
						t.Fatal(err)
					}
					state[i] = taken
				}
			case 7:
				i := r.IntN(c.n+10) - 5
				if i >= 0 && i < c.n && state[i] == lent {
					break
				}
				if err := o.Return(uint32(c.first + i)); !errors.Is(err, pool.ErrNotLent) {
					t.Fatalf("returned %d, which is not lent: %v", i, err)
				}
			}
			if low = min(low, count(free)); o.Free() != count(free) || o.AllLent() != count(lent) || o.Count() != c.n-count(absent) || o.All() != c.n {
				t.Fatalf("%d free, %d lent, %d in all; want %d, %d, %d", o.Free(), o.AllLent(), o.Count(), count(free), count(lent), c.n-count(absent))
			}
			if r.IntN(50) == 0 {
				if got := o.Low(); got > low {
					t.Fatalf("%d were free at least, %d were once", got, low)
				}
				low = o.Free()
			}
		}
	}
}

// TestHighSegmentsDrain: objects that are given back and taken in batches leave the highest
// segments empty when somebody asks for them in between, as a channel does that has more than
// it needs. One object that stays keeps its segment.
func TestHighSegmentsDrain(t *testing.T) {
	o := pool.NewObjects(0, 1024, 16)
	for s, ok := o.Missing(); ok; s, ok = o.Missing() {
		o.Add(s)
	}
	r := rand.New(rand.NewPCG(1, 1))
	var out []uint32
	take := func(n int) {
		for range n {
			out = append(out, o.Take())
		}
	}
	take(1024)
	stays := out[500]
	out = slices.Delete(out, 500, 501)
	drained := 0
	for most := 900; most >= 30; most -= 2 {
		r.Shuffle(len(out), func(i, k int) { out[i], out[k] = out[k], out[i] })
		for len(out) > most/2 {
			o.Put(out[len(out)-1])
			out = out[:len(out)-1]
		}
		if o.Free() >= 16+most-len(out) {
			if _, ok := o.Drain(); ok {
				drained++
			}
		}
		take(most - len(out))
	}
	for _, ok := o.Drain(); ok; _, ok = o.Drain() {
		drained++
	}
	if n := 64 - drained; n > 6 || n < 3 { // 31 objects are out
		t.Errorf("%d segments are left, for %d objects", n, len(out)+1)
	}
	if o.Count() != 1024-16*drained || o.Free() != o.Count()-len(out)-1 {
		t.Errorf("%d objects, %d free", o.Count(), o.Free())
	}
	if o.Lend(stays, pool.Empty); o.Return(stays) != nil {
		t.Error("the one that stays is gone")
	}
}

func BenchmarkTakePut(b *testing.B) {
	o := pool.NewObjects(0, 2048, 64)
	for s, ok := o.Missing(); ok; s, ok = o.Missing() {
		o.Add(s)
	}
	b.ReportAllocs()
	var out [32]uint32
	for b.Loop() {
		for i := range out {
			out[i] = o.Take()
		}
		for _, i := range out {
			o.Put(i)
		}
	}
}

package pool_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/sluice-os/sluice/nexus/pool"
)

// TestObjects plays with a set beside a model of it that is a list: what is taken has
// memory and nobody has it, the lowest first, and the counts are right.
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
				i, ok := o.Take()
				want := -1
				for k, s := range state {
					if s == free {
						want = k
						break
					}
				}
				if ok != (want >= 0) || ok && int(i) != c.first+want {
					t.Fatalf("took %d, %v, want %d", i, ok, c.first+want)
				}
				if ok {
					state[want] = taken
				}
			case 4:
				if i := pick(taken); i >= 0 {
					o.Put(uint32(c.first + i))
					state[i] = free
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

// TestHighSegmentsDrain: objects that come and go at random leave the highest segments
// empty, and one object left in a segment keeps it.
func TestHighSegmentsDrain(t *testing.T) {
	o := pool.NewObjects(0, 1024, 16)
	for s, ok := o.Missing(); ok; s, ok = o.Missing() {
		o.Add(s)
	}
	r := rand.New(rand.NewPCG(1, 1))
	var out []uint32
	for range 1024 {
		i, _ := o.Take()
		out = append(out, i)
	}
	for step := range 20000 {
		most := 1024 - step/20
		if len(out) > max(most, 30) {
			k := r.IntN(len(out))
			o.Put(out[k])
			out[k] = out[len(out)-1]
			out = out[:len(out)-1]
		} else if i, ok := o.Take(); ok {
			out = append(out, i)
		}
	}
	drained := 0
	for _, ok := o.Drain(); ok; _, ok = o.Drain() {
		drained++
	}
	if drained < 56 { // 30 objects are out, which fit in two segments
		t.Errorf("%d of 64 segments drained, %d objects are out", drained, len(out))
	}
	if o.Count() != 1024-16*drained || o.Free() != o.Count()-len(out) {
		t.Errorf("%d objects, %d free", o.Count(), o.Free())
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
			out[i], _ = o.Take()
		}
		for _, i := range out {
			o.Put(i)
		}
	}
}

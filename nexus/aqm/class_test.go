package aqm_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sluice-os/sluice/nexus/aqm"
)

// TestClassOf (fastlane, rfc4594): the class is that of the metadata, else that of the DSCP.
func TestClassOf(t *testing.T) {
	// The service classes of RFC 4594 and where RFC 8325 puts those that it has no
	// queue for.
	want := map[uint8]aqm.Class{}
	for d := range uint8(64) {
		want[d] = aqm.BestEffort
	}
	for class, list := range map[aqm.Class][]uint8{
		aqm.Control: {48, 56}, aqm.Voice: {46, 44}, aqm.Video: {40, 34, 36, 38}, aqm.Interactive: {32},
		aqm.Streaming: {24, 26, 28, 30}, aqm.Management: {16}, aqm.LowLatency: {18, 20, 22},
		aqm.Background: {8, 1},
	} {
		for _, d := range list {
			want[d] = class
		}
	}
	for d, class := range want {
		for ecn := range uint8(4) {
			if got := aqm.ClassOf(0, d<<2|ecn); got != class {
				t.Errorf("DSCP %d, ECN %d: %v, want %v", d, ecn, got, class)
			}
		}
	}
	for i := range aqm.Classes {
		if got := aqm.ClassOf(uint32(i)+1, 46<<2); got != i {
			t.Errorf("field %d: %v, want %v", i+1, got, i)
		}
	}
	for _, field := range []uint32{uint32(aqm.Classes) + 1, 1 << 31, 1<<32 - 1} {
		if got := aqm.ClassOf(field, 46<<2); got != aqm.Voice {
			t.Errorf("field %d: %v, want that of the DSCP", field, got)
		}
	}
}

// TestClassOrder shows that within a round the first classes come first.
func TestClassOrder(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	for i := range int(aqm.Classes) {
		p := host(1, 500)
		p.Class = aqm.Classes - 1 - aqm.Class(i)
		w.must(1, p)
	}
	for i := range aqm.Classes {
		if p := w.get(); p.Class != i {
			t.Fatalf("%v, want %v", p.Class, i)
		}
		w.ok()
	}
	w.none()
	w.ok()
}

// TestClassShares shows that no class starves another: with all of them full, each has
// its part of the bytes, whatever its packets are like.
func TestClassShares(t *testing.T) {
	// Bytes of a round by one flow, and at most.
	one := [aqm.Classes]int{600, 600, 3000, 3000, 3000, 1500, 1500, 1500, 1500, 1500}
	flows := [aqm.Classes]int{8, 8, 6, 6, 6, 4, 4, 4, 2, 2}
	for _, n := range []int{1, 3, 20} {
		for _, length := range []int{100, 1000, 1514, 9000} {
			t.Run(fmt.Sprintf("%d flows of %d bytes", n, length), func(t *testing.T) {
				w := newWorld(t, aqm.Config{Packets: 4096, Bytes: 4096 * 9000})
				sum := 0
				for i := range aqm.Classes {
					sum += one[i] * min(n, flows[i])
					for k := range n {
						p := host(uint32(k), length)
						p.Class = i
						w.must(2, p)
					}
				}
				var got [aqm.Classes]int
				total := 0
				for total < 60*sum {
					p := w.get()
					w.must(1, p) // it is always full
					got[p.Class] += p.Length
					total += p.Length
				}
				w.ok()
				for i := range aqm.Classes {
					want := total * one[i] * min(n, flows[i]) / sum
					if d := got[i] - want; max(d, -d) > one[i]*min(n, flows[i])+length {
						t.Errorf("%v: %d bytes of %d, want %d", i, got[i], total, want)
					}
				}
			})
		}
	}
}

// TestClassLatency shows that a packet of a class that has its share comes next,
// whatever stands in those behind.
func TestClassLatency(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	for i := range uint32(50) {
		w.must(10, host(i, 1514))
	}
	for range 100 {
		w.run(3, ms)
		p := host(1, 200)
		p.Class = aqm.Voice
		w.must(1, p)
		if p := w.get(); p.Class != aqm.Voice {
			t.Fatalf("%v came before voice", p.Class)
		}
		w.must(3, host(w.last%50, 1514))
	}
	w.ok()
}

// TestClassOutOfRange shows that a class that there is not is as none.
func TestClassOutOfRange(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	p := host(1, 100)
	p.Class = 200
	w.must(1, p)
	if got := w.get(); got.Class != aqm.BestEffort {
		t.Errorf("%v", got.Class)
	}
	w.ok()
}

// TestNames shows that counters and classes have names of their own.
func TestNames(t *testing.T) {
	var names []string
	w := newWorld(t, aqm.Config{})
	w.must(1, host(1, 100))
	c := w.Counts()
	c.Each(func(name string, n uint64) { names = append(names, name) })
	for r := range aqm.ReasonCount + 1 {
		names = append(names, "reason "+r.String())
	}
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	if len(slices.Compact(sorted)) != len(names) || slices.Contains(names, "") {
		t.Errorf("%q", names)
	}
}

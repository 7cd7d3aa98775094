package arena

import (
	"math/rand/v2"
	"testing"
)

// TestArena takes and gives back spans of any length: they lie inside, and none
// overlaps another.
func TestArena(t *testing.T) {
	const size, front = 4096, 12
	a := New(size+Align-1, front)
	random := rand.New(rand.NewPCG(3, 4))
	var out []Span
	for range 100_000 {
		n := front + 1 + random.IntN(size/2-front)
		s, ok := a.Take(n)
		if ok {
			if s.First+s.Rest != n || s.Rest < 0 || s.Start%Align != 0 || s.Start+s.First > size || s.Rest > 0 && s.First < front+Headers {
				t.Fatalf("span %+v for %d bytes", s, n)
			}
			for _, o := range out {
				for _, x := range [][2]int{{s.Start, s.First}, {0, s.Rest}} {
					for _, y := range [][2]int{{o.Start, o.First}, {0, o.Rest}} {
						if x[0] < y[0]+y[1] && y[0] < x[0]+x[1] {
							t.Fatalf("%+v overlaps %+v", s, o)
						}
					}
				}
			}
			out = append(out, s)
		} else if len(out) == 0 {
			t.Fatalf("%d bytes do not fit into an empty arena", n)
		}
		if !ok || random.IntN(2) == 0 {
			a.GiveBack(out[0])
			out = out[1:]
		}
	}
}

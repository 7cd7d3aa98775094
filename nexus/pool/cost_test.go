package pool_test

import (
	"testing"

	"github.com/sluice-os/sluice/nexus/pool"
)

// loan has a packet taken, lent, returned and put back: what the account costs for one that
// arrives or is sent.
func loan(o *pool.Objects) {
	i := o.Take()
	o.Lend(i, pool.Arrived)
	if o.Return(i) == nil {
		o.Put(i)
	}
}

// all is a set of objects that all have memory.
func all() *pool.Objects {
	o := pool.NewObjects(0, 256, 16)
	for segment := range o.Segments() {
		o.Add(segment)
	}
	return o
}

func TestLoanAllocatesNothing(t *testing.T) {
	o := all()
	if n := testing.AllocsPerRun(1000, func() { loan(o) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLoan(b *testing.B) {
	o := all()
	b.ReportAllocs()
	for b.Loop() {
		loan(o)
	}
}

package timebase

import (
	"math"
	"math/big"
	"testing"
	"time"
)

const tenYears = uint64(10 * 365.25 * 24 * float64(time.Hour))

// frequencies span what counters run at, with awkward ones.
var frequencies = []uint64{
	1, 3, 32_768, 1_193_182, 3_579_545, 24_000_000, 62_500_000, 999_999_999, 1_000_000_000, 1_000_000_001,
	2_000_000_000, 2_394_454_321, 2_999_999_999, 4_999_999_999, 5_000_000_000, 100_000_000_000, 1 << 62,
}

// exact is ticks * 1e9 / hz, rounded down.
func exact(ticks, hz uint64) *big.Int {
	v := new(big.Int).SetUint64(ticks)
	v.Mul(v, big.NewInt(nanosecond))
	return v.Div(v, new(big.Int).SetUint64(hz))
}

func TestScaleDoesNotDrift(t *testing.T) {
	for _, hz := range frequencies {
		s := New(hz)
		if s.Hz() != hz || s.mult>>63 != 1 {
			t.Errorf("%d Hz: %+v", hz, s)
		}
		end := MulDiv(tenYears, hz, nanosecond)
		for _, ticks := range []uint64{0, 1, 2, 1000, hz, hz + 1, end / 3, end - 1, end} {
			want := exact(ticks, hz)
			if !want.IsUint64() {
				continue
			}
			got := s.Nanoseconds(ticks)
			if low := want.Uint64() - got; low > 1 {
				t.Errorf("%d Hz: %d ticks are %d ns, want %d", hz, ticks, got, want)
			}
		}
	}
}

func TestScaleSaturates(t *testing.T) {
	if got := New(1).Nanoseconds(math.MaxUint64); got != math.MaxUint64 {
		t.Errorf("got %d", got)
	}
	if got := New(0).Nanoseconds(1); got-nanosecond+1 > 1 {
		t.Errorf("0 Hz: a tick is %d ns, want a second", got)
	}
	var zero Scale
	if zero.Nanoseconds(5) != 0 || zero.Ticks(5) != 2 {
		t.Errorf("zero scale: %d ns, %d ticks", zero.Nanoseconds(5), zero.Ticks(5))
	}
}

func FuzzScale(f *testing.F) {
	for _, hz := range frequencies {
		f.Add(hz, tenYears/3, uint64(1))
	}
	f.Fuzz(func(t *testing.T, hz, ticks, step uint64) {
		hz = max(hz, 1)
		s := New(hz)
		later := ticks + step
		if later < ticks {
			return
		}
		a, b := s.Nanoseconds(ticks), s.Nanoseconds(later)
		if a > b {
			t.Fatalf("%d Hz: time goes back from %d to %d", hz, a, b)
		}
		if want := exact(ticks, hz); want.IsUint64() && want.Uint64()-a > 1 {
			t.Fatalf("%d Hz: %d ticks are %d ns, want %d", hz, ticks, a, want)
		}
		// A deadline: not early, and not a tick too late.
		if ns := step >> 1; hz <= hzMax && MulDiv(ns, hz, nanosecond) < 1<<62 {
			due := s.Ticks(ns)
			if s.Nanoseconds(due) < ns {
				t.Fatalf("%d Hz: %d ticks come before %d ns", hz, due, ns)
			}
			if due > 0 && s.Nanoseconds(due-1) >= ns {
				t.Fatalf("%d Hz: %d ticks for %d ns are one too many", hz, due, ns)
			}
		}
	})
}

func TestMulDiv(t *testing.T) {
	for _, c := range []struct{ a, b, c, want uint64 }{
		{6, 7, 2, 21},
		{1 << 63, 10, 20, 1 << 62},
		{7, 1, 2, 3},
		{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64},
		{math.MaxUint64, 2, 1, math.MaxUint64},
		{1, 1, 0, math.MaxUint64},
		{0, 5, 1, 0},
	} {
		if got := MulDiv(c.a, c.b, c.c); got != c.want {
			t.Errorf("%d*%d/%d = %d, want %d", c.a, c.b, c.c, got, c.want)
		}
	}
}

func TestScaleAllocatesNothing(t *testing.T) {
	var sink uint64
	if n := testing.AllocsPerRun(100, func() {
		s := New(2_394_454_321)
		sink += s.Nanoseconds(12345) + s.Ticks(sink&0xffff)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNanoseconds(b *testing.B) {
	b.ReportAllocs()
	s := New(2_394_454_321)
	var sink uint64
	for i := range b.N {
		sink += s.Nanoseconds(uint64(i) << 20)
	}
	_ = sink
}

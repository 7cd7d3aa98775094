package aqm_test

import (
	"math/big"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

// TestBucketRate: whoever always has packets gets the rate, to the byte, and never more
// than that, the depth and one packet, over any time.
func TestBucketRate(t *testing.T) {
	for _, rate := range []aqm.Rate{8, 1001, 64 * aqm.Kilobit, 10*aqm.Megabit + 7, aqm.Gigabit, 100 * aqm.Gigabit} {
		r := newRand(uint64(rate))
		var b aqm.Bucket
		now := time.Duration(r.IntN(1e9))
		b.Set(now, rate, 3000)
		start, passed := now, 0
		const longest = 1514
		for range 20_000 {
			n := 1 + r.IntN(longest)
			if !b.Take(now, n) {
				next := b.Next(now)
				if next <= now {
					t.Fatalf("rate %d: refused at %v, may pass at %v", rate, now, next)
				}
				if b.Take(next-1, n) {
					t.Fatalf("rate %d: passed before %v", rate, next)
				}
				if now = next; !b.Take(now, n) {
					t.Fatalf("rate %d: refused at %v, when it may pass", rate, now)
				}
			}
			passed += n
			// depth + rate * t and one packet, less the byte that was there.
			most := int(int64(rate/8)*int64((now-start)/time.Second)) + int(int64(rate/8)*int64((now-start)%time.Second)/1e9) + 3000 + longest
			if passed > most {
				t.Fatalf("rate %d: %d bytes in %v, want %d at most", rate, passed, now-start, most)
			}
		}
		least := new(big.Int).Mul(big.NewInt(int64(rate/8)), big.NewInt(int64(now-start)))
		if n := int(least.Div(least, big.NewInt(1e9)).Int64()); passed < n {
			t.Errorf("rate %d: %d bytes in %v, want %d at least", rate, passed, now-start, n)
		}
	}
}

// TestBucketNext: the time that Next names is the first one, however much is owed.
func TestBucketNext(t *testing.T) {
	r := newRand(1)
	for range 5000 {
		var b aqm.Bucket
		rate := 8 + r.Uint64N(1<<uint(4+r.IntN(36)))
		b.Set(0, aqm.Rate(rate), 1)
		now := time.Duration(r.IntN(1e9))
		b.Take(0, 0) // nothing of the one byte
		b.Take(now, 1+r.IntN(1<<uint(1+r.IntN(33))))
		at := now + time.Duration(r.IntN(1e9)) // so that there is something beside whole bytes
		b.Take(at, 1)
		next := b.Next(at)
		if next == at {
			continue
		}
		early, late := b, b
		if early.Take(next-1, 1) || !late.Take(next, 1) {
			t.Fatalf("rate %d: may pass at %v, but does not, or before", rate, next)
		}
	}
}

func TestBucketEdges(t *testing.T) {
	var b aqm.Bucket
	for range 100 {
		if !b.Take(0, 1<<30) || b.Next(5) != 5 {
			t.Fatal("the zero value has a limit")
		}
	}
	// 1000 bytes a second, 500 deep.
	b.Set(0, 8000, 500)
	if !b.Take(0, 400) || !b.Take(0, 1600) { // 1500 are owed
		t.Fatal("the bucket was not full")
	}
	if got := b.Next(0); got != 1501*ms {
		t.Errorf("may pass at %v", got)
	}
	if b.Take(1500*ms, 1) || !b.Take(1501*ms, 1) {
		t.Error("what is owed is not waited for")
	}
	// A long time fills it, and not more.
	if !b.Take(1<<62, 500) || b.Take(1<<62, 1) {
		t.Error("not full, or more than full, after a long time")
	}
	// A clock that goes back fills nothing.
	if b.Take(0, 1) {
		t.Error("filled by a clock that went back")
	}

	// Changed while it is used: what is owed stays owed, and no burst comes of it.
	b = aqm.Bucket{}
	b.Set(0, 8000, 500)
	b.Take(0, 1500) // 1000 owed
	b.Set(0, 80_000, 5000)
	if b.Take(100*ms, 1) || !b.Take(101*ms, 1) {
		t.Error("a tenfold rate pays 1000 bytes in 100 ms")
	}
	b.Set(101*ms, 80_000, 1)
	if !b.Take(time.Second, 10) || b.Take(time.Second, 1) {
		t.Error("the new depth does not bound")
	}
	b.Set(time.Second, 0, 0)
	if !b.Take(time.Second, 1<<30) {
		t.Error("no limit is one")
	}
	// Less than a byte a second is one: nobody is stopped for ever.
	b.Set(time.Second, 1, -1)
	b.Take(time.Second, 1)
	if got := b.Next(time.Second); got != 2*time.Second {
		t.Errorf("may pass at %v", got)
	}
	// What is owed has a bound, so that it can be paid some time.
	b.Take(2*time.Second, 1<<62)
	if got := b.Next(2 * time.Second); got != 2*time.Second+(1<<33+1)*time.Second {
		t.Errorf("may pass at %v", got)
	}
	// 2^64 billionths of a byte are as many as they are.
	b = aqm.Bucket{}
	b.Set(0, 8*(1<<32+1), aqm.DepthMax)
	b.Take(0, aqm.DepthMax) // empty, and one nanosecond gives 4.29 bytes
	if !b.Take(1, 4) || b.Take(1, 1) || !b.Take(1<<32, 18_446_744_074) || b.Take(1<<32, 1) {
		t.Error("2^64 + 294967296 billionths of a byte are not 18446744074 bytes")
	}
}

package host

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/options"
	"github.com/sluice-os/sluice/nexus/aqm"
)

// told keeps what a stack has said of itself.
type told struct {
	mu   sync.Mutex
	list []Facts
}

func (f *told) follow(facts *Facts) {
	f.mu.Lock()
	f.list = append(f.list, *facts)
	f.mu.Unlock()
}

// has says whether any, or with last the last one, is such.
func (f *told) has(last bool, is func(*Facts) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.list {
		if (!last || i == len(f.list)-1) && is(&f.list[i]) {
			return true
		}
	}
	return false
}

// TestFactsOfAddresses has two cards with one MAC on a cable: the first one's link-local address
// is looked for and then in use, the second one's is looked for and found to be the first one's.
// Both who follow are told the same.
func TestFactsOfAddresses(t *testing.T) {
	pa, pb := newCable(noOffloads, noOffloads)
	pb.info.MAC = pa.info.MAC
	pb.setLink(false)
	begin := func(p *port) (*told, *told) {
		s, err := New(p, Config{IPv6: options.IPv6{Auto: true}, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		var a, b told
		s.Follow(a.follow)
		s.Follow(b.follow)
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return &a, &b
	}
	own := netip.MustParseAddr("fe80::5054:ff:fe00:1")
	holds := func(f *Facts) bool {
		return f.Up && !f.Tentative.IsValid() && !f.Duplicate.IsValid() && len(f.Addresses) == 1 && f.Addresses[0].Addr() == own
	}
	a, also := begin(pa)
	until(t, "an address that is in use", func() bool { return a.has(true, holds) && also.has(true, holds) })
	looked := func(f *Facts) bool { return f.Up && f.Tentative == own && len(f.Addresses) == 0 }
	if !a.has(false, looked) || !also.has(false, looked) {
		t.Error("the address was not tentative before")
	}

	b, _ := begin(pb)
	if b.has(false, func(f *Facts) bool { return f.Up || f.Tentative.IsValid() }) {
		t.Error("an address is looked for without a link")
	}
	pb.setLink(true)
	until(t, "an address that is another's", func() bool {
		return b.has(true, func(f *Facts) bool {
			return f.Up && f.Duplicate == own && !f.Tentative.IsValid() && len(f.Addresses) == 0
		})
	})
	// That it was tentative is told only if it was for long enough: who has it answers at once.
	if b.has(false, holds) {
		t.Error("it was in use")
	}
	pb.setLink(false)
	until(t, "no link", func() bool {
		return b.has(true, func(f *Facts) bool { return !f.Up && !f.Duplicate.IsValid() && !f.Tentative.IsValid() })
	})
}

// TestFactsOfTheRate (ifadv, netifdirectifadv): who follows is told what the link carries: what its ends have agreed on, or
// less if the card was seen to do less, once that has been so for a while.
func TestFactsOfTheRate(t *testing.T) {
	near, _ := newCable(noOffloads, noOffloads)
	near.rate = uint64(aqm.Gigabit)
	s, err := New(near, Config{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if s.link.rate(0) != aqm.Gigabit || s.link.rate(10*aqm.Megabit) != 10*aqm.Megabit || s.link.rate(10*aqm.Gigabit) != aqm.Gigabit {
		t.Error("it is not the less of the two")
	}
	var a told
	s.Follow(a.follow)
	var now atomic.Int64
	s.link.tx.now = func() time.Duration { return time.Duration(now.Load()) }
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	until(t, "the rate", func() bool {
		now.Add(int64(100 * time.Millisecond))
		near.Kick()
		return a.has(true, func(f *Facts) bool { return f.Rate == uint64(aqm.Gigabit) })
	})
	if time.Duration(now.Load()) < time.Second {
		t.Errorf("it was told at %v", time.Duration(now.Load()))
	}
}

// TestRateOfAnotherLink: what the card was seen to do on one link says nothing of the next.
func TestRateOfAnotherLink(t *testing.T) {
	p := newPair(t, noOffloads, noOffloads)
	tx := p.a.link.tx
	rate := func() aqm.Rate {
		tx.mu.Lock()
		defer tx.mu.Unlock()
		return tx.limit.Rate()
	}
	tx.mu.Lock()
	now := tx.now()
	tx.limit.Sent(100_000)
	for range 100 {
		tx.limit.Told(now)
		now += time.Millisecond
		tx.limit.Completed(now, 1000)
	}
	tx.mu.Unlock()
	if rate() == 0 {
		t.Fatal("the rate is not known")
	}
	p.pa.setLink(false)
	until(t, "link down", func() bool { return !p.a.LinkUp() })
	p.pa.setLink(true)
	until(t, "another link", func() bool { return p.a.LinkUp() && rate() == 0 })
}

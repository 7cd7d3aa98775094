package host

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/sluice-os/sluice/kernel/options"
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
	if !b.has(false, looked) {
		t.Error("it was not looked for before")
	}
	pb.setLink(false)
	until(t, "no link", func() bool {
		return b.has(true, func(f *Facts) bool { return !f.Up && !f.Duplicate.IsValid() && !f.Tentative.IsValid() })
	})
}

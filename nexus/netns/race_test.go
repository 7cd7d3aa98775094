package netns

import (
	"net/netip"
	"sync"
	"testing"
	"time"
)

// TestConcurrentUse does everything at once for the race detector; at the end
// nothing is left.
func TestConcurrentUse(t *testing.T) {
	s := New(Config{Max: 200, MaxPerOwner: 20})
	from, peer := netip.MustParseAddr("192.0.2.1"), ap("198.51.100.1:5")
	var wg sync.WaitGroup
	for o := Owner(1); o <= 8; o++ {
		wg.Go(func() {
			for i := range 200 {
				now := time.Duration(i)
				r, err := s.Reserve(now, Request{Owner: o, Kind: Bound, Proto: TCP, Reuse: true})
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 {
					err = r.Listen(now)
				} else {
					err = r.Connect(now, from, peer)
				}
				if err != nil || r.Local().Port() != r.Port() {
					t.Error(r.Local(), err)
				}
				s.Rows(now)
				r.Release(now, time.Duration(i%3))
			}
			s.ReleaseOwner(o)
		})
	}
	wg.Wait()
	if rows := s.Rows(0); len(rows) != 0 || s.count != 0 || len(s.lingering) != 0 || len(s.tuples) != 0 || s.used != (portSet{}) {
		t.Errorf("%v is left", rows)
	}
}

func TestPolicyConcurrentUse(t *testing.T) {
	p := policy(t, "", "tcp/example.com:443")
	a := netip.MustParseAddr("192.0.2.1")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				p.SetName("example.com", []netip.Addr{a})
				if !p.MayConnect(TCP, netip.AddrPortFrom(a, 443)) {
					t.Error("the name is lost")
				}
			}
		})
	}
	wg.Wait()
}

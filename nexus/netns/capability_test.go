package netns

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
)

// This file owns the tests of the capabilities list, section 2.

func ap(s string) netip.AddrPort {
	if s == "" {
		return netip.AddrPort{}
	}
	return netip.MustParseAddrPort(s)
}

// TestCapability21ShapesCoexist: the host's 3-tuple keeps a domain away, a 5-tuple
// goes below the domain's own 3-tuple, and all three stand side by side.
func TestCapability21ShapesCoexist(t *testing.T) {
	s := New(Config{})
	mdns := Request{Kind: Host, Proto: UDP, Local: ap("[::]:5353"), Dual: true}
	if _, err := s.Reserve(0, mdns); err != nil {
		t.Fatal(err)
	}
	for _, local := range []string{"[::]:5353", "0.0.0.0:5353", "192.0.2.1:5353", "[2001:db8::1]:5353"} {
		r := Request{Owner: 1, Kind: Listener, Proto: UDP, Local: ap(local), Reuse: true}
		if _, err := s.Reserve(0, r); !errors.Is(err, ErrInUse) {
			t.Errorf("the host holds the port and %s gives %v", local, err)
		}
	}
	flow := Request{Owner: 1, Kind: Connected, Proto: UDP, Local: ap("192.0.2.1:6000"), Remote: ap("198.51.100.1:53")}
	if _, err := s.Reserve(0, Request{Owner: 1, Kind: Listener, Proto: UDP, Local: ap("0.0.0.0:6000")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reserve(0, flow); err != nil {
		t.Errorf("below the own 3-tuple: %v", err)
	}
	flow.Owner, flow.Remote = 2, ap("198.51.100.2:53")
	if _, err := s.Reserve(0, flow); !errors.Is(err, ErrInUse) {
		t.Errorf("below another's 3-tuple: %v", err)
	}
	flow.Local = ap("192.0.2.1:6001")
	if _, err := s.Reserve(0, flow); err != nil {
		t.Errorf("a 5-tuple of another domain: %v", err)
	}
	if rows := s.Rows(0); len(rows) != 4 {
		t.Errorf("the table is %v", rows)
	}
}

// TestCapability22OneTable: a thousand ask for one port at once; one gets it. There are no
// copies of the table that could be old: it is asked each time.
func TestCapability22OneTable(t *testing.T) {
	s := New(Config{})
	var won []Owner
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := make(chan struct{})
	for o := Owner(1); o <= 1000; o++ {
		wg.Go(func() {
			locals := []string{"0.0.0.0:80", "192.0.2.1:80"}
			<-start
			_, err := s.Reserve(0, Request{Owner: o, Kind: Listener, Proto: TCP, Local: ap(locals[o%2])})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, o)
			} else if !errors.Is(err, ErrInUse) {
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("the port was given to %v", won)
	}
	if rows := s.Rows(0); len(rows) != 1 || rows[0].Owner != won[0] {
		t.Errorf("the table is %v", rows)
	}
}

// TestCapability22EphemeralRace: a thousand ask for any port; none is given twice.
func TestCapability22EphemeralRace(t *testing.T) {
	s := New(Config{Random: func() uint32 { return 7 }})
	ports := make([]uint16, 1000)
	var wg sync.WaitGroup
	for i := range ports {
		wg.Go(func() {
			r, err := s.Reserve(0, Request{Owner: Owner(i%10 + 1), Kind: Listener, Proto: UDP})
			if err != nil {
				t.Error(err)
				return
			}
			ports[i] = r.Port()
		})
	}
	wg.Wait()
	seen := map[uint16]bool{}
	for _, p := range ports {
		if seen[p] || p < EphemeralFirst+7 || p >= EphemeralFirst+7+1000 {
			t.Fatalf("port %d was given twice, or out of order", p)
		}
		seen[p] = true
	}
}

// TestCapability23Full: table full, owner's limit and no port left are three
// errors, and none leaves anything behind.
func TestCapability23Full(t *testing.T) {
	any := func(o Owner, proto uint8) Request {
		kind := Listener
		if o == HostOwner {
			kind = Host
		}
		return Request{Owner: o, Kind: kind, Proto: proto}
	}
	fill := func(s *Space, r Request, n int, want error) {
		t.Helper()
		for i := range n {
			if _, err := s.Reserve(0, r); err != nil {
				t.Fatalf("number %d: %v", i+1, err)
			}
		}
		before := fmt.Sprint(s.Rows(0))
		if _, err := s.Reserve(0, r); err != want {
			t.Errorf("after %d: got %v, want %v", n, err, want)
		}
		if fmt.Sprint(s.Rows(0)) != before {
			t.Errorf("%v left something behind", want)
		}
	}
	s := New(Config{Max: 150, MaxPerOwner: 100})
	fill(s, any(1, TCP), 100, ErrOwnerLimit)
	fill(s, any(2, TCP), 50, ErrTableFull)
	fill(s, any(1, UDP), 0, ErrOwnerLimit)
	s.ReleaseOwner(1)
	fill(s, any(3, UDP), 100, ErrOwnerLimit)

	s = New(Config{Max: 1 << 20, MaxPerOwner: 1 << 20, Random: rand.New(rand.NewPCG(1, 2)).Uint32})
	fill(s, any(1, UDP), ephemeralPorts-UDPReserve, ErrNoPort)
	// One of them by number, as if it had been picked, is refused too; who may have
	// that very port gets it.
	free := uint16(EphemeralFirst)
	for s.used.has(index(UDP), free) {
		free++
	}
	named := any(1, UDP)
	named.Local, named.Ephemeral = netip.AddrPortFrom(named.Local.Addr(), free), true
	fill(s, named, 0, ErrNoPort)
	named.Ephemeral = false
	if r, err := s.Reserve(0, named); err != nil {
		t.Error(err)
	} else {
		r.Release(0, 0)
	}
	fill(s, any(HostOwner, UDP), UDPReserve, ErrNoPort)
	fill(s, any(1, TCP), ephemeralPorts, ErrNoPort)
	seen := map[Port]bool{}
	for _, r := range s.Rows(0) {
		p := Port{r.Proto, r.Local.Port()}
		if seen[p] || !IsEphemeral(p.Number) {
			t.Fatalf("%v is out of range or there twice", p)
		}
		seen[p] = true
	}
}

package netns

import (
	"math"
	"net/netip"
	"testing"
	"time"
)

func TestLinger(t *testing.T) {
	const local = "192.0.2.1:80"
	flow := Request{Owner: 1, Kind: Connected, Proto: TCP, Local: ap(local), Remote: ap("198.51.100.1:5")}
	other := flow
	other.Remote = ap("198.51.100.1:6")
	port := Request{Owner: 1, Kind: Listener, Proto: TCP, Local: ap("0.0.0.0:80")}
	reuse := port
	reuse.Reuse = true
	foreign := reuse
	foreign.Owner = 2
	for _, c := range []struct {
		name string
		now  time.Duration
		r    Request
		want error
	}{
		{"the same flow", 69 * sec, flow, ErrInUse},
		{"another flow", 69 * sec, other, nil},
		{"the port", 69 * sec, port, ErrInUse},
		{"the port with reuse", 69 * sec, reuse, nil},
		{"the port with reuse, by another", 69 * sec, foreign, nil},
		{"the same flow later", 70 * sec, flow, nil},
		{"the port later", 70 * sec, port, nil},
	} {
		s := New(Config{})
		r := mustReserve(t, s, 0, flow)
		r.Release(10*sec, 60*sec)
		r.Release(10*sec, 600*sec)
		if rows := s.Rows(15 * sec); len(rows) != 1 || rows[0].Lingers != 55*sec {
			t.Fatalf("the table is %v", rows)
		}
		if _, err := s.Reserve(c.now, c.r); err != c.want {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	s := New(Config{})
	mustReserve(t, s, 0, flow).Release(5, math.MaxInt64)
	if rows := s.Rows(math.MaxInt64 - 1); len(rows) != 1 || rows[0].Lingers != 1 {
		t.Errorf("an endless linger leaves %v", rows)
	}
	s = New(Config{})
	mustReserve(t, s, 0, flow).Release(0, -5)
	if len(s.Rows(0)) != 0 {
		t.Error("a negative linger lingers")
	}
}

// TestLingerMakesRoom: at its limit an owner loses the lingering reservation that
// ends first, of its own; who has none takes the place of another's when the table is full.
func TestLingerMakesRoom(t *testing.T) {
	s := New(Config{Max: 5, MaxPerOwner: 3})
	at := func(o Owner, port uint16) Request {
		return Request{Owner: o, Kind: Listener, Proto: TCP, Local: netip.AddrPortFrom(netip.IPv4Unspecified(), port)}
	}
	mustReserve(t, s, 0, at(1, 1))
	mustReserve(t, s, 0, at(1, 2)).Release(0, 60*sec)
	mustReserve(t, s, 0, at(1, 3)).Release(0, 30*sec)
	if _, err := s.Reserve(0, at(1, 2)); err != ErrInUse || len(s.Rows(0)) != 3 {
		t.Errorf("a refusal (%v) made room", err)
	}
	mustReserve(t, s, 0, at(1, 4))
	if rows := s.Rows(0); len(rows) != 3 || rows[1].Local.Port() != 2 || rows[2].Local.Port() != 4 {
		t.Errorf("the table is %v", rows)
	}
	mustReserve(t, s, 0, at(2, 5))
	mustReserve(t, s, 0, at(2, 6))
	mustReserve(t, s, 0, at(2, 7))
	if rows := s.Rows(0); len(rows) != 5 || rows[1].Local.Port() != 4 {
		t.Errorf("the table is %v", rows)
	}
	if _, err := s.Reserve(0, at(3, 9)); err != ErrTableFull {
		t.Errorf("got %v: nothing lingers", err)
	}
	if _, err := s.Reserve(0, at(2, 9)); err != ErrOwnerLimit {
		t.Errorf("got %v", err)
	}
}

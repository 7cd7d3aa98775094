package netns

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

const sec = time.Second

// TestRules (flowswitch_ns_reserve, restricted_port) takes one reservation after the other;
// the last one is judged.
func TestRules(t *testing.T) {
	host := func(proto uint8, local string) Request { return Request{Kind: Host, Proto: proto, Local: ap(local)} }
	listen := func(o Owner, proto uint8, local string) Request {
		return Request{Owner: o, Kind: Listener, Proto: proto, Local: ap(local)}
	}
	bound := func(o Owner, local string) Request {
		return Request{Owner: o, Kind: Bound, Proto: TCP, Local: ap(local)}
	}
	flow := func(o Owner, local, remote string) Request {
		return Request{Owner: o, Kind: Connected, Proto: TCP, Local: ap(local), Remote: ap(remote)}
	}
	hostFlow := func(local, remote string) Request {
		return Request{Kind: Host, Proto: TCP, Local: ap(local), Remote: ap(remote)}
	}
	dual := func(r Request) Request { r.Dual = true; return r }
	reuse := func(r Request) Request { r.Reuse = true; return r }
	const a, b, a6 = "192.0.2.1:80", "192.0.2.2:80", "[2001:db8::1]:80"
	const peer, peer2 = "198.51.100.1:1000", "198.51.100.1:1001"
	for _, c := range []struct {
		name string
		rs   []Request
		want error
	}{
		{"other protocol", []Request{listen(1, TCP, a), listen(2, UDP, a)}, nil},
		{"other address", []Request{listen(1, TCP, a), listen(2, TCP, b)}, nil},
		{"same specific", []Request{listen(1, TCP, a), listen(2, TCP, a)}, ErrInUse},
		{"same twice by one", []Request{listen(1, TCP, a), listen(1, TCP, a)}, ErrInUse},
		{"wild beside specific", []Request{listen(1, TCP, a), listen(2, TCP, "0.0.0.0:80")}, ErrInUse},
		{"specific beside wild", []Request{listen(1, TCP, "0.0.0.0:80"), listen(2, TCP, a)}, ErrInUse},
		{"wild6 only beside wild4", []Request{listen(1, TCP, "0.0.0.0:80"), listen(2, TCP, "[::]:80")}, nil},
		{"specific 4 beside wild6 only", []Request{listen(1, TCP, "[::]:80"), listen(2, TCP, a)}, nil},
		{"specific 6 beside wild6", []Request{listen(1, TCP, "[::]:80"), listen(2, TCP, a6)}, ErrInUse},
		{"dual beside wild4", []Request{listen(1, TCP, "0.0.0.0:80"), dual(listen(2, TCP, "[::]:80"))}, ErrInUse},
		{"specific 4 beside dual", []Request{dual(listen(1, TCP, "[::]:80")), listen(2, TCP, a)}, ErrInUse},
		{"dual of an IPv4 wildcard means nothing", []Request{dual(listen(1, TCP, "0.0.0.0:80")), listen(2, TCP, "[::]:80")}, nil},
		{"mapped wildcard is IPv4's", []Request{dual(listen(1, TCP, "[::ffff:0.0.0.0]:80")), listen(2, TCP, "[::]:80")}, nil},
		{"mapped address is IPv4", []Request{listen(1, TCP, "[::ffff:192.0.2.1]:80"), listen(2, TCP, a)}, ErrInUse},
		{"no address is any of both", []Request{{Owner: 1, Kind: Listener, Proto: TCP, Local: netip.AddrPortFrom(netip.Addr{}, 80)}, listen(2, TCP, a)}, ErrInUse},

		{"domain beside host", []Request{host(TCP, "0.0.0.0:80"), reuse(listen(1, TCP, a))}, ErrInUse},
		{"host beside domain", []Request{listen(1, TCP, a), host(TCP, "0.0.0.0:80")}, ErrInUse},
		{"host beside a domain's flow", []Request{flow(1, a, peer), host(TCP, a)}, ErrInUse},
		{"host flow beside a domain's flow", []Request{flow(1, a, peer), hostFlow(a, peer2)}, ErrInUse},
		{"domain's flow beside a host flow", []Request{hostFlow(a, peer), flow(1, a, peer2)}, ErrInUse},
		{"host beside host", []Request{host(TCP, a), host(TCP, "0.0.0.0:80")}, nil},
		{"host flow beneath host", []Request{host(TCP, a), hostFlow(a, peer)}, nil},
		{"host's own flow twice", []Request{host(TCP, a), hostFlow(a, peer), hostFlow(a, peer)}, ErrExists},

		{"flow beneath own listener", []Request{listen(1, TCP, "0.0.0.0:80"), flow(1, a, peer), flow(1, a, peer2)}, nil},
		{"flow beneath another's", []Request{listen(1, TCP, "0.0.0.0:80"), flow(2, a, peer)}, ErrInUse},
		{"flow beneath dual", []Request{dual(listen(1, TCP, "[::]:80")), flow(1, a, peer), flow(1, a6, "[2001:db8::2]:1")}, nil},
		{"v4 flow beneath v6 only", []Request{listen(1, TCP, "[::]:80"), flow(1, a, peer), flow(1, a, peer2)}, ErrInUse},
		{"flow beneath bound", []Request{bound(1, "0.0.0.0:80"), flow(1, a, peer)}, ErrInUse},
		{"second flow without a listener", []Request{flow(1, a, peer), flow(1, a, peer2)}, ErrInUse},
		{"same flow again", []Request{flow(1, a, peer), flow(1, a, peer)}, ErrExists},
		{"same flow beneath the listener", []Request{listen(1, TCP, a), flow(1, a, peer), flow(1, a, peer)}, ErrExists},
		{"same flow of another", []Request{flow(1, a, peer), flow(2, a, peer)}, ErrInUse},
		{"listener above an old flow", []Request{flow(1, a, peer), listen(1, TCP, a)}, ErrInUse},
		{"with reuse on one side", []Request{flow(1, a, peer), reuse(listen(1, TCP, a))}, ErrInUse},
		{"with reuse on both", []Request{reuse(flow(1, a, peer)), reuse(listen(1, TCP, a))}, nil},
		{"with reuse, of another", []Request{reuse(flow(2, a, peer)), reuse(listen(1, TCP, a))}, ErrInUse},
		{"TCP listeners with reuse", []Request{reuse(listen(1, TCP, a)), reuse(listen(1, TCP, "0.0.0.0:80"))}, ErrInUse},
		{"UDP with reuse", []Request{reuse(listen(1, UDP, a)), reuse(listen(1, UDP, "0.0.0.0:80"))}, nil},
		{"UDP with reuse on one side", []Request{listen(1, UDP, a), reuse(listen(1, UDP, "0.0.0.0:80"))}, ErrInUse},
		{"UDP with reuse, the same", []Request{reuse(listen(1, UDP, a)), reuse(listen(1, UDP, a))}, ErrInUse},
		{"UDP with reuse of two", []Request{reuse(listen(1, UDP, a)), reuse(listen(2, UDP, "0.0.0.0:80"))}, ErrInUse},
		{"zones do not tell apart", []Request{listen(1, TCP, "[fe80::1%a]:80"), listen(2, TCP, "[fe80::1%b]:80")}, ErrInUse},

		{"restricted", []Request{listen(1, TCP, "0.0.0.0:22")}, ErrRestricted},
		{"restricted, the host", []Request{host(TCP, "0.0.0.0:22")}, nil},
		{"group", []Request{listen(1, UDP, "224.0.0.251:5353")}, ErrAddress},
		{"peer is a group", []Request{flow(1, a, "224.0.0.251:5353")}, ErrAddress},
		{"peer of datagrams is a group", []Request{{Owner: 1, Kind: Connected, Proto: UDP, Local: ap(a), Remote: ap("224.0.0.251:5353")}}, nil},
		{"loopback", []Request{listen(1, TCP, "127.0.0.1:80")}, ErrAddress},
		{"loopback 6", []Request{listen(1, TCP, "[::1]:80")}, ErrAddress},
		{"no such protocol", []Request{listen(1, 1, a)}, ErrInvalid},
		{"no such kind", []Request{{Owner: 1, Kind: 9, Proto: TCP, Local: ap(a)}}, ErrInvalid},
		{"no kind", []Request{{Owner: 1, Proto: TCP, Local: ap(a)}}, ErrInvalid},
		{"domain as host", []Request{{Owner: 1, Kind: Host, Proto: TCP, Local: ap(a)}}, ErrInvalid},
		{"host as domain", []Request{listen(0, TCP, a)}, ErrInvalid},
		{"flow without a peer", []Request{flow(1, a, "")}, ErrInvalid},
		{"listener with a peer", []Request{{Owner: 1, Kind: Listener, Proto: TCP, Local: ap(a), Remote: ap(peer)}}, ErrInvalid},
		{"peer port 0", []Request{flow(1, a, "198.51.100.1:0")}, ErrInvalid},
		{"peer without an address", []Request{flow(1, a, "0.0.0.0:5")}, ErrInvalid},
		{"peer with a port alone", []Request{{Owner: 1, Kind: Connected, Proto: TCP, Local: ap(a), Remote: netip.AddrPortFrom(netip.Addr{}, 5)}}, ErrInvalid},
		{"peer of the other family", []Request{flow(1, a, "[2001:db8::2]:5")}, ErrInvalid},
		{"flow from a wildcard", []Request{flow(1, "0.0.0.0:80", peer)}, ErrInvalid},
	} {
		s := New(Config{Restricted: []Port{{TCP, 22}}})
		for i, r := range c.rs {
			before := fmt.Sprint(s.Rows(0))
			_, err := s.Reserve(0, r)
			want := error(nil)
			if i == len(c.rs)-1 {
				want = c.want
			}
			if err != want {
				t.Errorf("%s: number %d: got %v, want %v", c.name, i+1, err, want)
			}
			if err != nil && fmt.Sprint(s.Rows(0)) != before {
				t.Errorf("%s: a refusal changed the table", c.name)
			}
		}
	}
}

// TestHostPorts: no manifest gives a domain what the host stack needs.
func TestHostPorts(t *testing.T) {
	s := New(Config{Restricted: HostPorts()})
	for _, p := range HostPorts() {
		for _, local := range []netip.Addr{netip.IPv4Unspecified(), netip.MustParseAddr("192.0.2.1")} {
			if _, err := s.Reserve(0, Request{Owner: 1, Kind: Listener, Proto: p.Proto, Local: netip.AddrPortFrom(local, p.Number)}); err != ErrRestricted {
				t.Errorf("port %d of %v: %v", p.Number, local, err)
			}
		}
		mustReserve(t, s, 0, Request{Kind: Host, Proto: p.Proto, Local: netip.AddrPortFrom(netip.IPv4Unspecified(), p.Number)})
	}
}

// rowsOf are those of one owner.
func rowsOf(s *Space, now time.Duration, o Owner) []Row {
	return slices.DeleteFunc(s.Rows(now), func(r Row) bool { return r.Owner != o })
}

func mustReserve(t *testing.T, s *Space, now time.Duration, r Request) Reservation {
	t.Helper()
	got, err := s.Reserve(now, r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestListenAndConnect (flowswitch_ns_reserve2): a reservation becomes a listener, or a flow,
// as often as it can and no more often.
func TestListenAndConnect(t *testing.T) {
	s := New(Config{})
	from, peer := netip.MustParseAddr("192.0.2.1"), ap("198.51.100.1:5")
	r := mustReserve(t, s, 0, Request{Owner: 1, Kind: Bound, Proto: TCP, Local: ap("0.0.0.0:0")})
	if r.Port() != EphemeralFirst || r.Local() != netip.AddrPortFrom(netip.IPv4Unspecified(), EphemeralFirst) {
		t.Fatalf("the first port is %v", r.Local())
	}
	flow := Request{Owner: 1, Kind: Connected, Proto: TCP, Local: netip.AddrPortFrom(from, r.Port()), Remote: peer}
	if _, err := s.Reserve(0, flow); err != ErrInUse {
		t.Errorf("beneath a bound port: %v", err)
	}
	if err := r.Listen(0); err != nil || s.Rows(0)[0].Kind != Listener || r.Listen(0) != nil {
		t.Error("listen", err)
	}
	if err := r.Connect(0, from, peer); err != ErrInvalid {
		t.Errorf("a listener connects: %v", err)
	}
	mustReserve(t, s, 0, flow)

	r = mustReserve(t, s, 0, Request{Owner: 1, Kind: Bound, Proto: TCP, Local: ap("0.0.0.0:0")})
	for _, c := range []struct {
		from   string
		remote string
		want   error
	}{
		{"192.0.2.1", "198.51.100.1:0", ErrInvalid},
		{"192.0.2.1", "[2001:db8::1]:5", ErrInvalid},
		{"2001:db8::2", "[2001:db8::1]:5", ErrInvalid},
		{"192.0.2.1", "224.0.0.1:5", ErrAddress},
		{"192.0.2.1", "198.51.100.1:5", nil},
		{"192.0.2.1", "198.51.100.1:5", ErrConnected},
	} {
		if err := r.Connect(0, netip.MustParseAddr(c.from), ap(c.remote)); err != c.want {
			t.Errorf("connect %s to %s: got %v, want %v", c.from, c.remote, err, c.want)
		}
	}
	if got := rowsOf(s, 0, 1)[2]; got.Kind != Connected || got.Remote != peer || got.Local.Addr() != from || r.Local() != got.Local {
		t.Errorf("connected is %v", got)
	}
	if err := r.Listen(0); err != ErrInvalid {
		t.Errorf("a flow listens: %v", err)
	}
	r.Release(0, sec)
	if r.Listen(0) != ErrReleased || r.Connect(0, from, peer) != ErrReleased {
		t.Error("a released reservation is of use")
	}

	u := mustReserve(t, s, 0, Request{Owner: 2, Kind: Listener, Proto: UDP, Local: ap("[::]:53"), Dual: true})
	below := mustReserve(t, s, 0, Request{Owner: 2, Kind: Connected, Proto: UDP, Local: ap("192.0.2.1:53"), Remote: peer})
	if err := u.Connect(0, from, peer); err != ErrExists {
		t.Errorf("the flow is there already: %v", err)
	}
	below.Release(0, sec)
	if err := u.Connect(0, from, peer); err != ErrInUse {
		t.Errorf("the flow lingers: %v", err)
	}
	if err := u.Connect(sec, from, peer); err != nil {
		t.Error(err)
	}
	if err := u.Listen(sec); err != ErrInvalid {
		t.Errorf("UDP listens: %v", err)
	}

	var none Reservation
	none.Release(0, 0)
	if none.Port() != 0 || none.Local().IsValid() || none.Listen(0) != ErrReleased || none.Connect(0, from, peer) != ErrReleased {
		t.Error("the zero value is of use")
	}
}

// TestReuseOfAcceptedFlows (listener_reuse): a server that starts again while its connections
// live gets its port, because they have the listener's Reuse.
func TestReuseOfAcceptedFlows(t *testing.T) {
	s := New(Config{})
	listen := Request{Owner: 1, Kind: Listener, Proto: TCP, Local: ap("0.0.0.0:80"), Reuse: true}
	l := mustReserve(t, s, 0, listen)
	mustReserve(t, s, 0, Request{Owner: 1, Kind: Connected, Proto: TCP, Local: ap("192.0.2.1:80"), Remote: ap("198.51.100.1:5")})
	l.Release(0, 0)
	mustReserve(t, s, 0, listen)
}

func TestReleaseOwner(t *testing.T) {
	s := New(Config{})
	r := mustReserve(t, s, 0, Request{Owner: 1, Kind: Listener, Proto: TCP, Local: ap("0.0.0.0:80")})
	mustReserve(t, s, 0, Request{Owner: 1, Kind: Connected, Proto: TCP, Local: ap("192.0.2.1:80"), Remote: ap("198.51.100.1:5")}).Release(0, sec)
	mustReserve(t, s, 0, Request{Owner: 2, Kind: Listener, Proto: UDP, Local: ap("0.0.0.0:80")})
	if n := s.ReleaseOwner(1); n != 2 || len(rowsOf(s, 0, 1)) != 0 || len(s.Rows(0)) != 1 {
		t.Errorf("%d were released, %v is left", n, s.Rows(0))
	}
	r.Release(0, sec)
	if s.ReleaseOwner(1) != 0 || r.Listen(0) != ErrReleased {
		t.Error("something was left")
	}
	mustReserve(t, s, 0, Request{Owner: 3, Kind: Listener, Proto: TCP, Local: ap("0.0.0.0:80")})
}

// TestEphemeral: the scan goes on from its start, around the end, over what is
// taken on the same addresses or restricted, and not over what is taken elsewhere.
func TestEphemeral(t *testing.T) {
	s := New(Config{Random: func() uint32 { return 3*ephemeralPorts + ephemeralPorts - 2 }, Restricted: []Port{{TCP, EphemeralFirst}}})
	mustReserve(t, s, 0, Request{Owner: 9, Kind: Listener, Proto: TCP, Local: ap("[2001:db8::1]:60998")})
	mustReserve(t, s, 0, Request{Owner: 9, Kind: Listener, Proto: TCP, Local: ap("192.0.2.1:60999")})
	mustReserve(t, s, 0, Request{Owner: 9, Kind: Connected, Proto: TCP, Local: ap("192.0.2.1:32769"), Remote: ap("198.51.100.1:5")})
	for _, want := range []uint16{60998, 32770, 32771} {
		if r := mustReserve(t, s, 0, Request{Owner: 1, Kind: Bound, Proto: TCP, Local: ap("0.0.0.0:0")}); r.Port() != want {
			t.Errorf("got %d, want %d", r.Port(), want)
		}
	}
	if r := mustReserve(t, s, 0, Request{Kind: Host, Proto: TCP, Local: ap("0.0.0.0:0")}); r.Port() != 32768 {
		t.Errorf("the host got %d", r.Port())
	}
	r := mustReserve(t, s, 0, Request{Owner: 1, Kind: Connected, Proto: TCP, Local: ap("192.0.2.2:0"), Remote: ap("198.51.100.1:5")})
	if r.Port() != 60999 {
		t.Errorf("a flow got %d", r.Port())
	}
}

func TestRows(t *testing.T) {
	s := New(Config{})
	mustReserve(t, s, 0, Request{Owner: 4, Kind: Listener, Proto: UDP, Local: ap("192.0.2.1:53"), Reuse: true})
	mustReserve(t, s, 0, Request{Kind: Host, Proto: TCP, Local: ap("[::]:443"), Dual: true})
	mustReserve(t, s, 0, Request{Owner: 3, Kind: Listener, Proto: TCP, Local: ap("192.0.2.1:80"), Dual: true})
	mustReserve(t, s, 0, Request{Owner: 3, Kind: Connected, Proto: TCP, Local: ap("192.0.2.1:80"), Remote: ap("198.51.100.1:5"), Dual: true}).Release(0, 2*sec)
	want := []string{
		"tcp listener  192.0.2.1:80 * owner 3",
		"tcp connected 192.0.2.1:80 198.51.100.1:5 owner 3 lingers 1s",
		"tcp host      *:443 * owner 0",
		"udp listener  192.0.2.1:53 * owner 4 reuse",
	}
	rows := s.Rows(sec)
	if len(rows) != len(want) {
		t.Fatalf("got %v", rows)
	}
	for i, r := range rows {
		if r.String() != want[i] {
			t.Errorf("got  %q\nwant %q", r, want[i])
		}
	}
	if rows := rowsOf(s, sec, 3); len(rows) != 2 || rows[0].Kind != Listener || rows[1].Kind != Connected {
		t.Errorf("owner 3 has %v", rows)
	}
	if Kind(77).String() != "kind 77" {
		t.Error(Kind(77))
	}
}

func BenchmarkReserveRelease(b *testing.B) {
	s := New(Config{})
	r := Request{Owner: 1, Kind: Connected, Proto: TCP, Local: ap("192.0.2.1:0"), Remote: ap("198.51.100.1:5")}
	b.ReportAllocs()
	for b.Loop() {
		got, err := s.Reserve(0, r)
		if err != nil {
			b.Fatal(err)
		}
		got.Release(0, 0)
	}
}

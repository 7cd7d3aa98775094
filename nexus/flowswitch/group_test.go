package flowswitch_test

import (
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/channel"
)

var (
	group  = netip.MustParseAddr("224.0.0.251")
	group6 = netip.MustParseAddr("ff02::fb")
)

// member joins or leaves.
func (d *domain) member(op uint32, f abi.FlowRequest, group netip.Addr) syscall.Errno {
	_, errno := d.request(abi.FlowRequest{Op: op, Flow: f.Flow, Generation: f.Generation, Remote: group.As16()})
	return errno
}

// must returns a flow that a request is to have given.
func must(t *testing.T) func(abi.FlowRequest, syscall.Errno) abi.FlowRequest {
	return func(r abi.FlowRequest, errno syscall.Errno) abi.FlowRequest {
		t.Helper()
		if errno != 0 {
			t.Fatal(errno)
		}
		return r
	}
}

// toGroup is a datagram from outside.
func toGroup(to netip.Addr, port uint16) []byte {
	from := outside
	if to.Is6() {
		from = outside6
	}
	return packet{src: from, dst: to, proto: 17, sport: 5353, dport: port, payload: 10}.bytes()
}

// TestGroups: what is sent to a group reaches the flows that have joined it, as long as
// they are in it, and nobody else.
func TestGroups(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/5353", "udp/5354"}, nil)
	v4 := must(t)(d.bind(17, 5353))
	both := must(t)(d.request(abi.FlowRequest{
		Op: abi.FlowBind, Protocol: 17, Local: netip.IPv6Unspecified().As16(), LocalPort: 5354, Flags: abi.FlowDual,
	}))
	// expect has a datagram arrive.
	expect := func(what string, to netip.Addr, port uint16, want bool) {
		t.Helper()
		got := w.arrive(toGroup(to, port))
		if n := len(d.received()); got != want || (n == 1) != want {
			t.Errorf("%s: to %v port %d: matched %v, %d received, want %v", what, to, port, got, n, want)
		}
	}
	expect("before", group, 5353, false)
	if errno := d.member(abi.FlowJoin, v4, group); errno != 0 {
		t.Fatal(errno)
	}
	for _, g := range []netip.Addr{group, group6} {
		if errno := d.member(abi.FlowJoin, both, g); errno != 0 {
			t.Fatal(errno)
		}
	}
	if w.joined[group] != 2 || w.joined[group6] != 1 {
		t.Errorf("the card was told %v", w.joined)
	}
	expect("in it", group, 5353, true)
	expect("in it", group, 5354, true)
	expect("in it", group6, 5354, true)
	expect("another group", group.Next(), 5353, false)
	expect("another port", group, 5355, false)
	expect("to the machine", machine, 5353, true)
	tcp := toGroup(group, 5353)
	tcp[9] = 6
	if w.arrive(tcp) {
		t.Error("another protocol is taken")
	}
	own := packet{src: machine, dst: group, proto: 17, sport: 1, dport: 5353}.bytes()
	if w.arrive(own) {
		t.Error("what the machine itself seems to have sent is taken")
	}

	if errno := d.member(abi.FlowLeave, v4, group); errno != 0 {
		t.Error(errno)
	}
	expect("left", group, 5353, false)
	expect("the other has not", group, 5354, true)
	if errno := d.member(abi.FlowLeave, v4, group); errno != syscall.EADDRNOTAVAIL {
		t.Errorf("leaving again: %v", errno)
	}
	d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: both.Flow, Generation: both.Generation})
	expect("closed", group, 5354, false)
	if len(w.joined) != 0 {
		t.Errorf("the card is left with %v", w.joined)
	}
	d.member(abi.FlowJoin, v4, group)
	expect("in it again", group, 5353, true)
	w.sw.Detach(d.channel)
	if w.arrive(toGroup(group, 5353)) || len(w.joined) != 0 {
		t.Errorf("the channel is gone, and the card has %v", w.joined)
	}
}

func TestGroupsAreRefused(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/5353", "tcp/80"}, []string{"udp/*:*"})
	udp, tcp, ephemeral := must(t)(d.bind(17, 5353)), must(t)(d.bind(6, 80)), must(t)(d.bind(17, 0))
	connected := must(t)(d.connect(17, outside, 53))
	old := udp
	old.Generation--
	for _, tt := range []struct {
		name string
		flow abi.FlowRequest
		to   netip.Addr
		want syscall.Errno
	}{
		{"control", udp, group, 0},
		{"twice", udp, group, syscall.EADDRINUSE},
		{"no group", udp, outside, syscall.EINVAL},
		{"of the other IP", udp, group6, syscall.EINVAL},
		{"TCP", tcp, group, syscall.EINVAL},
		{"connected", connected, group, syscall.EINVAL},
		{"a port that the manifest does not name", ephemeral, group, syscall.EACCES},
		{"an older flow", old, group, syscall.ENOENT},
		{"no flow", abi.FlowRequest{}, group, syscall.EINVAL},
		{"the card does not take it", udp, unjoinable, syscall.EADDRNOTAVAIL},
	} {
		if errno := d.member(abi.FlowJoin, tt.flow, tt.to); errno != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, errno, tt.want)
		}
	}
	e := w.domain([]string{"udp/5354"}, nil)
	if errno := e.member(abi.FlowLeave, udp, group); errno != syscall.ENOENT {
		t.Errorf("another domain's flow: %v", errno)
	}
	// Each channel may be in so many, however many flows it has; another may be in as many.
	g := netip.MustParseAddr("239.0.0.1")
	count := func(d *domain, f abi.FlowRequest) (n int) {
		for ; n < 100; n++ {
			switch errno := d.member(abi.FlowJoin, f, g); errno {
			case 0:
			case syscall.ENOBUFS:
				return n
			default:
				t.Fatal(errno)
			}
			g = g.Next()
		}
		return n
	}
	if n := count(d, udp); n != 63 {
		t.Errorf("%d groups beside one", n)
	}
	if n := count(e, must(t)(e.bind(17, 5354))); n != 64 {
		t.Errorf("%d groups of another", n)
	}
}

// TestSendingToMany: a flow sends to the groups that it is in, and where the manifest lets
// it connect to.
func TestSendingToMany(t *testing.T) {
	for _, tt := range []struct {
		name            string
		listen, connect []string
		join            bool
		to              netip.Addr
		port            uint16
		want            string // "": it leaves
	}{
		{"its own group", []string{"udp/5353"}, nil, true, group, 5353, ""},
		{"its own group, to another port", []string{"udp/5353"}, nil, true, group, 9, ""},
		{"another group", []string{"udp/5353"}, nil, true, group.Next(), 5353, "tx_destination"},
		{"without a group", []string{"udp/5353"}, nil, false, group, 5353, "tx_destination"},
		{"allowed", []string{"udp/5353"}, []string{"udp/224.0.0.251:5353"}, false, group, 5353, ""},
		{"allowed to another port", []string{"udp/5353"}, []string{"udp/224.0.0.251:5353"}, false, group, 5354, "tx_destination"},
		{"all", []string{"udp/5353"}, []string{"udp/*:9"}, false, everybody, 9, ""},
		{"all in a network", []string{"udp/5353"}, []string{"udp/*:9"}, false, network, 9, ""},
		{"all, not allowed", []string{"udp/5353"}, nil, false, everybody, 9, "tx_destination"},
		{"all in a network, not allowed", []string{"udp/5353"}, nil, false, network, 9, "tx_destination"},
		{"one, as a listener", []string{"udp/5353"}, nil, false, outside, 9, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			d := w.domain(tt.listen, tt.connect)
			f := must(t)(d.bind(17, 5353))
			if tt.join {
				if errno := d.member(abi.FlowJoin, f, group); errno != 0 {
					t.Fatal(errno)
				}
			}
			d.send(packet{src: machine, dst: tt.to, proto: 17, sport: 5353, dport: tt.port, payload: 4}.bytes(), channel.Outgoing{})
			drops := w.drops()
			if tt.want == "" && (len(w.sent) != 1 || len(drops) != 0) ||
				tt.want != "" && (len(w.sent) != 0 || len(drops) != 1 || drops["flowswitch_drop_"+tt.want] != 1) {
				t.Errorf("%d left, %v, want %q", len(w.sent), drops, tt.want)
			}
		})
	}
	// A flow that is connected with a group sends there.
	w := newWorld(t)
	d := w.domain(nil, []string{"udp/*:5353"})
	f := must(t)(d.connect(17, group, 5353))
	d.send(packet{src: machine, dst: group, proto: 17, sport: uint16(f.LocalPort), dport: 5353}.bytes(), channel.Outgoing{})
	if len(w.sent) != 1 {
		t.Errorf("%d left, %v", len(w.sent), w.drops())
	}
	if _, errno := d.connect(17, group, 5354); errno != syscall.EACCES {
		t.Errorf("connected with a group that is not allowed: %v", errno)
	}
}

// TestBroadcastArrives reaches those whose manifest lets them listen at the port.
func TestBroadcastArrives(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/5353"}, []string{"udp/*:*"})
	must(t)(d.bind(17, 5353))
	ephemeral := must(t)(d.bind(17, 0))
	for _, to := range []netip.Addr{everybody, network, machine} {
		for port, want := range map[uint16]bool{5353: true, uint16(ephemeral.LocalPort): to == machine, 5354: false} {
			got := w.arrive(toGroup(to, port))
			if n := len(d.received()); got != want || (n == 1) != want {
				t.Errorf("to %v port %d: matched %v, %d received, want %v", to, port, got, n, want)
			}
		}
	}
	if w.arrive(toGroup(netip.MustParseAddr("192.0.2.9"), 5353)) {
		t.Error("another machine's is taken")
	}
}

// TestNeighbourInTheGroup: domains of one machine hear each other in a group, once, also
// when the card has no room at first.
func TestNeighbourInTheGroup(t *testing.T) {
	for _, to := range []netip.Addr{group, network} {
		w := newWorld(t)
		a, b, c := w.domain([]string{"udp/1000"}, []string{"udp/*:*"}), w.domain([]string{"udp/2000"}, nil), w.domain([]string{"udp/3000"}, nil)
		must(t)(a.bind(17, 1000))
		in := must(t)(b.bind(17, 2000))
		must(t)(c.bind(17, 3000))
		if to.IsMulticast() {
			b.member(abi.FlowJoin, in, to)
		}
		send := func(port uint16) {
			a.send(packet{src: machine, dst: to, proto: 17, sport: 1000, dport: port, payload: 5}.bytes(), channel.Outgoing{})
		}
		send(2000)
		if n := len(b.received()); n != 1 || len(w.sent) != 1 {
			t.Errorf("%v: %d received, %d left", to, n, len(w.sent))
		}
		w.full = true
		send(2000)
		w.full = false
		w.sw.Room()
		if n := len(b.received()); n != 1 || len(w.sent) != 2 {
			t.Errorf("%v: %d received, %d left after the card was full", to, n, len(w.sent))
		}
		send(3000)
		if n := len(c.received()); (n == 1) == to.IsMulticast() || len(w.sent) != 3 {
			t.Errorf("%v: %d received by one that has not joined, %d left", to, n, len(w.sent))
		}
		if n := len(a.received()); n != 0 {
			t.Errorf("%v: the sender received %d", to, n)
		}
	}
}

// TestGroupsThatChange has flows join, leave and end while datagrams arrive: the card is
// left with nothing.
func TestGroupsThatChange(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/*"}, nil)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				w.arrive(toGroup(group, 2000))
				d.received()
			}
		}
	})
	var work sync.WaitGroup
	for i := range 4 {
		work.Go(func() {
			for n := range 200 {
				f, errno := d.bind(17, 2000+uint16(i))
				if errno != 0 {
					t.Error(errno)
					return
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					if n%2 == 0 {
						d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: f.Flow, Generation: f.Generation})
					}
				}()
				d.member(abi.FlowJoin, f, group)
				<-ended
				if n%2 != 0 {
					d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: f.Flow, Generation: f.Generation})
				}
			}
		})
	}
	work.Wait()
	close(stop)
	wg.Wait()
	if len(w.joined) != 0 {
		t.Errorf("the card is left with %v", w.joined)
	}
}

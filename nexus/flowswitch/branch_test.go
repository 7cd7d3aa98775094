package flowswitch_test

import (
	"bytes"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	user "github.com/sluice-os/sluice/userland/channel"
)

// branch asks for a branch of f: of datagrams that have text at offset.
func (d *domain) branch(f abi.FlowRequest, offset uint32, text string) (abi.BranchRequest, syscall.Errno) {
	r := abi.BranchRequest{Flow: f.Flow, Generation: f.Generation, Count: 1}
	r.Patterns[0].Offset, r.Patterns[0].Length = offset, uint32(copy(r.Patterns[0].Bytes[:], text))
	return r, d.w.sw.Branch(d.channel, &r)
}

// arrivals are the packets that the domain has received: their flows and what is in them.
func (d *domain) arrivals() (flows []uint32, packets [][]byte) {
	d.user.Receive(100, func(in *user.Received) {
		flows, packets = append(flows, in.Flow), append(packets, bytes.Join(in.Pieces, nil))
	})
	return flows, packets
}

// TestParentChildFlow (parentchildflow, parentchildflown, parentchildflow_offset_400,
// parentchildflown_offset_400: the switch does not know cards apart): datagrams with certain
// bytes are a flow of their own, however long they are, whether they come from outside, in
// fragments or from a neighbour; they are the whole flow's again when that is closed.
func TestParentChildFlow(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/5000", "udp/5001"}, nil)
	neighbour := w.domain(nil, []string{"udp/*:5000"})
	trunk := must(t)(d.bind(17, 5000))
	sender := must(t)(neighbour.connect(17, machine, 5000))
	near, errno := d.branch(trunk, 0, "hello")
	if errno != 0 {
		t.Fatal(errno)
	}
	far, errno := d.branch(trunk, 400, "offset_400")
	if errno != 0 {
		t.Fatal(errno)
	}
	data := func(n, offset int, text string) []byte {
		b := bytes.Repeat([]byte{7}, n)
		copy(b[offset:], text)
		return b
	}
	expect := func(name string, data []byte, want uint32) {
		t.Helper()
		whole := datagramTo(5000, data)
		ways := map[string]func(){
			"outside": func() { w.arrive(whole) },
			"a neighbour": func() {
				b := packet{src: machine, dst: machine, proto: 17, sport: uint16(sender.LocalPort), dport: 5000, payload: len(data)}.bytes()
				copy(b[28:], data)
				neighbour.send(b, user.Outgoing{})
			},
		}
		if len(data) > 1472 {
			ways["fragments"] = func() {
				for _, part := range inParts(whole, 9) {
					w.arrive(part)
				}
			}
		}
		for from, way := range ways {
			way()
			flows, packets := d.arrivals()
			if len(flows) != 1 || flows[0] != want || !bytes.Equal(packets[0][28:], data) {
				t.Errorf("%s from %s: flows %v, want %d", name, from, flows, want)
			}
		}
	}
	expect("none", data(100, 0, ""), trunk.Flow)
	expect("no data", nil, trunk.Flow)
	expect("at the start", data(100, 0, "hello"), near.Flow)
	expect("at 400", data(500, 400, "offset_400"), far.Flow)
	expect("at 400 of a long one", data(20000, 400, "offset_400"), far.Flow)
	expect("at 401", data(500, 401, "offset_400"), trunk.Flow)
	expect("too short", data(409, 400, "offset_40"), trunk.Flow)
	w.arrive(datagramTo(5001, data(100, 0, "hello")))
	if flows, _ := d.arrivals(); len(flows) != 0 {
		t.Error("another port's are taken")
	}

	// What is sent may name it, and its own alone.
	w.lossy = func([]byte, int) bool { return false } // else the peer answers
	for _, tt := range []struct {
		name             string
		from             *domain
		flow, generation uint32
		goes             bool
	}{
		{"the branch", d, far.Flow, far.Generation, true},
		{"the whole", d, trunk.Flow, trunk.Generation, true},
		{"an older one", d, far.Flow, far.Generation + 1, false},
		{"another domain", neighbour, far.Flow, far.Generation, false},
	} {
		before := len(w.sent)
		tt.from.send(datagramFrom(5000, outside, []byte("x")), user.Outgoing{Flow: tt.flow, Generation: tt.generation})
		if goes := len(w.sent) > before; goes != tt.goes {
			t.Errorf("%s: it leaves: %v, %v", tt.name, goes, w.drops())
		}
	}
	for _, tt := range []struct {
		name string
		r    abi.FlowRequest
		want syscall.Errno
	}{
		{"a peer", abi.FlowRequest{Op: abi.FlowConnect, Remote: outside.As16(), RemotePort: 5}, syscall.EINVAL},
		{"a group", abi.FlowRequest{Op: abi.FlowJoin, Remote: netip.MustParseAddr("224.0.0.1").As16()}, syscall.EINVAL},
		{"closing", abi.FlowRequest{Op: abi.FlowClose}, 0},
		{"closing again", abi.FlowRequest{Op: abi.FlowClose}, syscall.ENOENT},
	} {
		tt.r.Flow, tt.r.Generation = near.Flow, near.Generation
		if _, errno := d.request(tt.r); errno != tt.want {
			t.Errorf("%s of a branch: %v, want %v", tt.name, errno, tt.want)
		}
	}
	expect("at the start, closed", data(100, 0, "hello"), trunk.Flow)
	expect("at 400, still", data(500, 400, "offset_400"), far.Flow)

	// It ends with the whole.
	d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: trunk.Flow, Generation: trunk.Generation})
	if w.arrive(datagramTo(5000, data(500, 400, "offset_400"))) {
		t.Error("something is left")
	}
	if _, errno := d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: far.Flow, Generation: far.Generation}); errno != syscall.ENOENT {
		t.Errorf("the branch is there: %v", errno)
	}
}

func TestBranchesAreRefused(t *testing.T) {
	w := newWorld(t)
	d, e := w.domain([]string{"udp/5000", "tcp/80"}, nil), w.domain([]string{"udp/5001"}, nil)
	udp, tcp := must(t)(d.bind(17, 5000)), must(t)(d.bind(6, 80))
	for _, tt := range []struct {
		name   string
		by     *domain
		flow   abi.FlowRequest
		change func(*abi.BranchRequest)
		want   syscall.Errno
	}{
		{"control", d, udp, func(*abi.BranchRequest) {}, 0},
		{"the same again", d, udp, func(*abi.BranchRequest) {}, syscall.EADDRINUSE},
		{"another domain's flow", e, udp, func(*abi.BranchRequest) {}, syscall.ENOENT},
		{"an older flow", d, udp, func(r *abi.BranchRequest) { r.Generation++ }, syscall.ENOENT},
		{"no flow", d, abi.FlowRequest{}, func(*abi.BranchRequest) {}, syscall.ENOENT},
		{"of TCP", d, tcp, func(*abi.BranchRequest) {}, syscall.EINVAL},
		{"no pattern", d, udp, func(r *abi.BranchRequest) { r.Count = 0 }, syscall.EINVAL},
		{"five patterns", d, udp, func(r *abi.BranchRequest) { r.Count = 5 }, syscall.EINVAL},
		{"far too many", d, udp, func(r *abi.BranchRequest) { r.Count = 1 << 31 }, syscall.EINVAL},
		{"no bytes", d, udp, func(r *abi.BranchRequest) { r.Patterns[0].Length = 0 }, syscall.EINVAL},
		{"33 bytes", d, udp, func(r *abi.BranchRequest) { r.Patterns[0].Length = 33 }, syscall.EINVAL},
		{"beyond 1000", d, udp, func(r *abi.BranchRequest) { r.Patterns[0].Offset = 996 }, syscall.EINVAL},
		{"far beyond", d, udp, func(r *abi.BranchRequest) { r.Patterns[0].Offset = 1 << 31 }, syscall.EINVAL},
	} {
		r := abi.BranchRequest{Flow: tt.flow.Flow, Generation: tt.flow.Generation, Count: 1}
		r.Patterns[0].Length = uint32(copy(r.Patterns[0].Bytes[:], "hello"))
		tt.change(&r)
		if errno := w.sw.Branch(tt.by.channel, &r); errno != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, errno, tt.want)
		}
	}
	w.sw.Detach(d.channel)
	if _, errno := d.branch(udp, 0, "x"); errno != syscall.ENXIO {
		t.Errorf("the channel is gone: %v", errno)
	}
}

// TestBranchesThatChange has branches come and go while datagrams arrive: each reaches the
// domain, whatever it is called.
func TestBranchesThatChange(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/5000"}, nil)
	trunk := must(t)(d.bind(17, 5000))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for sent := 0; ; sent++ {
			select {
			case <-stop:
				return
			default:
			}
			if !w.arrive(datagramTo(5000, []byte("hello"))) {
				t.Error("a datagram is nobody's")
			}
			if flows, _ := d.arrivals(); len(flows) != 1 {
				t.Errorf("%d arrived", len(flows))
			}
		}
	})
	for range 300 {
		r, errno := d.branch(trunk, 0, "hello")
		if errno != 0 {
			t.Fatal(errno)
		}
		d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: r.Flow, Generation: r.Generation})
	}
	close(stop)
	wg.Wait()
}

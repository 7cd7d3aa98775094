package flowswitch_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/userland/channel"
)

// This file owns floods and stress of listeners, and what errors and the end of a channel
// leave of a transfer; names in comments are those of skywalk 7.2.

// nobody is a wire without a peer, who would answer by himself.
func nobody([]byte, int) bool { return false }

// accepts makes a connection to port from outside's: the domain has 901 next, its peer 101.
func (x *scene) accepts(port, from uint16) {
	x.t.Helper()
	x.arrive(segment(false, port, from, syn, 100, 0, 0).bytes())
	x.send(segment(true, port, from, syn|ack, 900, 101, 0))
	x.arrive(segment(false, port, from, ack, 101, 901, 0).bytes())
}

// state is that of the flow to outside's port; "": there is none.
func (x *scene) state(remote uint16) string {
	for _, row := range x.sw.Flows().Rows {
		if row[4] == netip.AddrPortFrom(outside, remote).String() {
			return row[2]
		}
	}
	return ""
}

// TestResetFlood (xfertcprstflood): resets from everywhere, to a listener, to ports that nobody has
// and into a connection, make no flow, take no memory, are answered by nothing, and end
// nothing. The one that is right ends the connection.
func TestResetFlood(t *testing.T) {
	w := newWorld(t)
	w.lossy = nobody
	x := &scene{w, w.domain([]string{"tcp/80"}, nil)}
	x.d.listen(80)
	x.accepts(80, 5000)
	if s := x.state(5000); s != "established" {
		t.Fatalf("the connection is %q", s)
	}
	x.d.received()
	sent := len(w.sent)
	r := rand.New(rand.NewPCG(1, 1))
	before, stray, hosts := live(), 0, 0
	flood := arenatest.Few(100_000)
	for i := range flood {
		// From a peer that has no connection.
		b := segment(false, 80, uint16(r.IntN(65536)), rst|byte(i%2*ack), r.Uint32(), r.Uint32(), 0)
		b.src = netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
		if stray++; !w.arrive(b.bytes()) {
			t.Fatal("a reset for the listener was the host stack's")
		}
		if b.dport = 81; !w.arrive(b.bytes()) {
			hosts++
		}
		// Of the connection's, with another number than the next.
		seq := r.Uint32()
		if seq-100 <= 2 {
			seq += 10
		}
		w.arrive(segment(false, 80, 5000, rst, seq, 0, 0).bytes())
		if i%64 == 0 {
			x.d.received()
			x.d.user.Flush()
		}
	}
	for len(x.d.received()) > 0 {
		x.d.user.Flush()
	}
	if n := w.drops()["flowswitch_drop_rx_stray"]; n != uint64(stray) || hosts != flood {
		t.Errorf("%d of %d are counted, %d of %d were the host stack's", n, stray, hosts, flood)
	}
	if w.flows() != 2 || len(w.sent) != sent || x.state(5000) != "established" {
		t.Errorf("%d flows, %d answers, the connection is %q", w.flows(), len(w.sent)-sent, x.state(5000))
	}
	if held := live() - before; held > 256<<10 {
		t.Errorf("%d bytes are held", held)
	}
	x.send(segment(true, 80, 5000, ack, 901, 101, 10))
	w.arrive(segment(false, 80, 5000, ack, 101, 911, 10).bytes())
	if len(w.sent) != sent+1 || len(x.d.received()) != 1 {
		t.Errorf("%d left, %v", len(w.sent)-sent, w.drops())
	}
	w.arrive(segment(false, 80, 5000, rst, 111, 0, 0).bytes())
	w.sw.Reap()
	if s := x.state(5000); s != "" {
		t.Errorf("the connection is %q after its reset", s)
	}
}

// TestListenerStress (listener, listener_stress, listener_reuse): a listener has as many
// connections as an owner may have flows beside it, each of which works; one more is refused.
// It closes: they live on, nothing new comes, and the port is given again, under which they
// live on too.
func TestListenerStress(t *testing.T) {
	w := newWorld(t)
	w.lossy = nobody
	x := &scene{w, w.domain([]string{"tcp/80"}, nil)}
	listen := func() abi.FlowRequest {
		r := must(t)(x.d.bind(6, 80))
		must(t)(x.d.request(abi.FlowRequest{Op: abi.FlowListen, Flow: r.Flow, Generation: r.Generation}))
		return r
	}
	l := listen()
	const most, first = 511, 5000
	for i := range uint16(most) {
		x.accepts(80, first+i)
		x.d.received()
	}
	x.accepts(80, first+most)
	if n := w.drops()["flowswitch_drop_rx_owner_limit"] + w.drops()["flowswitch_drop_tx_owner_limit"]; n == 0 {
		t.Errorf("one more was not refused: %v", w.drops())
	}
	x.d.received()
	work := func(seq uint32) {
		t.Helper()
		for i := range uint16(most) {
			if i%100 == 0 && x.state(first+i) != "established" {
				t.Fatalf("connection %d is %q", i, x.state(first+i))
			}
			sent := len(w.sent)
			x.send(segment(true, 80, first+i, ack, 901+seq, 101+seq, 1))
			w.arrive(segment(false, 80, first+i, ack, 101+seq, 902+seq, 1).bytes())
			if got := x.d.received(); len(w.sent) != sent+1 || len(got) != 1 {
				t.Fatalf("connection %d: %d left, %d came: %v", i, len(w.sent)-sent, len(got), w.drops())
			}
		}
	}
	work(0)
	must(t)(x.d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: l.Flow, Generation: l.Generation}))
	work(1)
	if w.arrive(segment(false, 80, 4000, syn, 1, 0, 0).bytes()) {
		t.Error("a SYN came to a port that nobody listens on")
	}
	listen()
	work(2)
	if !w.arrive(segment(false, 80, 4000, syn, 1, 0, 0).bytes()) || len(x.d.received()) != 1 {
		t.Error("the listener that came again hears nothing")
	}
}

// TestListenStress (listen_stress): two domains take and give back ports to listen on, as they
// please, while everybody asks for connections. A port is one domain's at a time, and in the
// end nothing is left.
func TestListenStress(t *testing.T) {
	w := newWorld(t)
	w.onOutput = func([]byte) {}
	stop := make(chan struct{})
	var flood, wg sync.WaitGroup
	flood.Go(func() {
		r := rand.New(rand.NewPCG(9, 9))
		for {
			select {
			case <-stop:
				return
			default:
				w.arrive(segment(false, 80+uint16(r.IntN(8)), uint16(r.IntN(65536)), syn, r.Uint32(), 0, 0).bytes())
			}
		}
	})
	var holders [8]atomic.Int32
	for seed := range uint64(2) {
		d := w.domain([]string{"tcp/*"}, nil)
		wg.Go(func() {
			r, had := rand.New(rand.NewPCG(seed, 1)), 0
			for range arenatest.Few(20_000) {
				i := r.IntN(len(holders))
				f, errno := d.bind(6, 80+uint16(i))
				if errno == syscall.EADDRINUSE {
					continue
				}
				if errno != 0 || holders[i].Add(1) != 1 {
					t.Errorf("port %d, which %d have: %v", 80+i, holders[i].Load(), errno)
				}
				if _, errno = d.request(abi.FlowRequest{Op: abi.FlowListen, Flow: f.Flow, Generation: f.Generation}); errno != 0 {
					t.Errorf("listen on %d: %v", 80+i, errno)
				}
				d.received()
				holders[i].Add(-1)
				if _, errno = d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: f.Flow, Generation: f.Generation}); errno != 0 {
					t.Errorf("close of %d: %v", 80+i, errno)
				}
				had++
			}
			if had == 0 {
				t.Error("a domain had no port")
			}
		})
	}
	wg.Wait()
	close(stop)
	flood.Wait()
	w.sw.Reap()
	if n := len(w.names.Rows(0)); n != 0 || w.flows() != 0 {
		t.Errorf("%d ports and %d flows are left", n, w.flows())
	}
}

// TestXferWithEveryError (xferudpwitherrors): a transfer goes on while another domain, or a
// peer, meets each reason for a drop. Its counter rises, and the transfer loses nothing and
// is charged with nothing.
func TestXferWithEveryError(t *testing.T) {
	for name := range reasons(newWorld(t)) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.lossy = nobody
			x := &scene{w, w.domain([]string{"tcp/*", "udp/*"}, []string{"tcp/*:*", "udp/*:*"})}
			good := &scene{w, w.domain(nil, []string{"udp/*:*"})}
			p := good.connected()
			out := p.bytes()
			p.src, p.dst, p.sport, p.dport = p.dst, p.src, p.dport, p.sport
			in := p.bytes()
			transfer := func() {
				t.Helper()
				for i := range byte(200) {
					out[30], in[30] = i, i
					w.sent = nil
					good.d.send(out, channel.Outgoing{})
					if len(w.sent) != 1 || !bytes.Equal(w.sent[0], out) {
						t.Fatalf("%d left: %v", len(w.sent), w.drops())
					}
					w.arrive(in)
					if got := good.d.received(); len(got) != 1 || !bytes.Equal(got[0], in) {
						t.Fatalf("%d came: %v", len(got), w.drops())
					}
				}
			}
			transfer()
			if m := w.drops(); len(m) != 0 {
				t.Fatalf("before: %v", m)
			}
			causes[name](x)
			if w.drops()["flowswitch_drop_"+name] == 0 {
				t.Errorf("it counts %v", w.drops())
			}
			w.lost, w.unknown, w.paused = false, false, false // of the card, for all
			transfer()
			if c := good.d.channel.Counts(); c.TxRefused != 0 || c.TxPackets != 400 || c.RxPackets != 400 {
				t.Errorf("the transfer is charged: %+v", c)
			}
		})
	}
}

// TestXferFlowCleanup (xferflowcleanup): a channel that closes in the middle of a transfer,
// with flows of all kinds, leaves none of them, no port, no membership of a group and no
// memory; the peer of its connection is told; what still comes is the host stack's. Another
// domain gets the same.
func TestXferFlowCleanup(t *testing.T) {
	w := newWorld(t)
	w.lossy = nobody
	before := int64(0)
	for round := range 3 {
		x := &scene{w, w.domain([]string{"tcp/80", "tcp/81", "udp/5000", "ip/89"}, []string{"udp/*:*", "tcp/*:*"})}
		trunk := must(t)(x.d.bind(17, 5000))
		if errno := x.d.member(abi.FlowJoin, trunk, group); errno != 0 {
			t.Fatal(errno)
		}
		if _, errno := x.d.branch(trunk, 0, "hello"); errno != 0 {
			t.Fatal(errno)
		}
		must(t)(x.d.bind(1, 77))
		must(t)(x.d.bind(89, 0))
		must(t)(x.d.bind(6, 81))
		must(t)(x.d.connect(6, outside, 9))
		x.d.listen(80)
		x.accepts(80, 5000)
		x.arrive(segment(false, 80, 5001, syn, 100, 0, 0).bytes()) // half open
		p := x.connected()
		parts := inParts(datagramTo(5000, make([]byte, 3000)), uint32(round+1))
		w.arrive(parts[0])
		w.full = true
		for range 5 { // which wait for the card
			x.send(p)
		}
		w.arrive(datagramTo(5000, []byte("hello"))) // and which wait to be read
		sent := len(w.sent)
		w.full = false
		x.d.end()
		w.sw.Room()
		if n := w.flows(); n != 0 || len(w.names.Rows(0)) != 0 || len(w.joined) != 0 || x.d.memory.Used() != 0 {
			t.Errorf("%d flows, ports %v, groups %v, %d bytes are left", n, w.names.Rows(0), w.joined, x.d.memory.Used())
		}
		if got := w.sent[sent:]; len(got) != 1 || got[0][9] != 6 || got[0][33] != rst|ack {
			t.Errorf("%d packets left at the end", len(got))
		}
		p.src, p.dst, p.sport, p.dport = p.dst, p.src, p.dport, p.sport
		if w.arrive(p.bytes()) || w.arrive(datagramTo(5000, nil)) || w.arrive(segment(false, 80, 5000, ack, 101, 901, 1).bytes()) {
			t.Error("something came to nobody")
		}
		w.arrive(parts[1])
		w.sent, w.hosts = nil, nil
		now := live()
		if round == 0 {
			before = now
		}
		if held := now - before; held > 256<<10 {
			t.Errorf("round %d: %d bytes more are held", round, held)
		}
	}
	if m := w.drops(); len(m) > 1 {
		t.Errorf("%v", m)
	}
}

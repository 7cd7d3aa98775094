package flowswitch_test

import (
	"io"
	"net"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/userland/channel"
)

// TestPauseReachesAConnection: the card's side has a connection pause that a domain has
// accepted, which has no name for it but its addresses. The domain keeps what it sends over
// it, sends over another one, and goes on when it is told.
func TestPauseReachesAConnection(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"tcp/7"}, nil).start()
	d.listen(7)
	l, err := gonet.ListenTCP(d.stack, tcpip.FullAddress{Port: 7}, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	dial := func() (far, near net.Conn, port uint16) {
		far, err := gonet.DialTCP(w.peer, full(machine, 7), ipv4.ProtocolNumber)
		if err != nil {
			t.Fatal(err)
		}
		if near, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		for _, c := range []net.Conn{far, near} {
			c.SetDeadline(time.Now().Add(patience))
			t.Cleanup(func() { c.Close() })
		}
		return far, near, uint16(far.LocalAddr().(*net.TCPAddr).Port)
	}
	far, near, port := dial()
	otherFar, other, _ := dial()

	// The fifth packet with data is one too many, and what comes in the same sync passes.
	var flow [2]uint32
	var teller netif.Teller
	data := 0
	w.mu.Lock()
	w.card = func(o *netif.Outgoing) {
		if o.Transport == 0 || o.PayloadLen == 0 || uint16(o.Head[o.IP+2])<<8|uint16(o.Head[o.IP+3]) != port {
			return
		}
		if !o.Advised {
			t.Error("it cannot be told")
		}
		if data++; data == 5 {
			teller, flow = o.Backlog.Teller, [2]uint32{o.Flow, o.Generation}
			if !teller.Pause(o) {
				t.Error("it was not told")
			}
		}
	}
	w.mu.Unlock()
	const size = 4 << 20
	go near.Write(make([]byte, size))
	for paused := false; !paused; {
		a := d.channel.Advisories()
		paused = a.Paused == 1 && d.link.Counts().Held > 0
	}
	other.Write([]byte("ping"))
	if _, err := io.CopyN(io.Discard, otherFar, 4); err != nil {
		t.Error(err)
	}
	w.mu.Lock()
	before := data
	teller.Resume(flow[0], flow[1], 5, 2)
	w.mu.Unlock()
	if n, err := io.CopyN(io.Discard, far, size); err != nil {
		t.Errorf("%d bytes: %v", n, err)
	}
	if before > size/2/1460 {
		t.Errorf("%d packets left before it went on", before)
	}
	a := d.channel.Advisories()
	if a.Entries != 1 || a.Pauses != 1 || a.Releases != 1 {
		t.Errorf("%+v", a)
	}
	if e, ok := d.user.AdvisoryAt(0); !ok || e.Packets != 5 || e.Marks != 2 {
		t.Errorf("%+v", e)
	}
	// With its end the entry is free.
	near.Close()
	far.Close()
	for d.channel.Advisories().Entries != 0 {
		w.wait(10 * time.Second)
		w.sw.Reap()
	}
}

// TestPauseWithoutAnEntry: when the table is full the card's side learns that a flow cannot
// be told; when an entry is free again, that it can.
func TestPauseWithoutAnEntry(t *testing.T) {
	w := newWorld(t)
	const entries = 64
	d := w.domainWith(arena.Params{Large: 64, Advisory: entries}, []string{"udp/*"}, []string{"udp/*:*"})
	var flows []abi.FlowRequest
	for i := range entries + 1 {
		r, errno := d.bind(17, uint16(5000+i))
		if errno != 0 {
			t.Fatal(i, errno)
		}
		flows = append(flows, r)
	}
	told, advised := true, true
	w.card = func(o *netif.Outgoing) { advised, told = o.Advised, o.Backlog.Teller.Pause(o) }
	send := func(i int) { d.send(datagramFrom(uint16(5000+i), outside, []byte("data")), channel.Outgoing{}) }
	for i := range entries {
		if send(i); !told || !advised {
			t.Fatalf("flow %d: told %v, advised %v", i, told, advised)
		}
	}
	if send(entries); told || !advised {
		t.Errorf("the first without room: told %v, advised %v", told, advised)
	}
	if send(entries); advised {
		t.Error("it is said that it can be told")
	}
	if send(0); !told || !advised {
		t.Errorf("one that has an entry: told %v, advised %v", told, advised)
	}
	d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: flows[0].Flow, Generation: flows[0].Generation})
	w.sw.Reap()
	if send(entries); !told || !advised {
		t.Errorf("with room again: told %v, advised %v", told, advised)
	}
	if c := d.channel.Advisories(); c.Entries != entries || c.Full != 2 {
		t.Errorf("%+v", c)
	}
}

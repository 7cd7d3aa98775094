package link

import (
	"crypto/sha256"
	"io"
	"math/rand"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
)

// address is that of an end.
func address(n byte) tcpip.Address { return tcpip.AddrFrom4([4]byte{10, 0, 0, n}) }

// connection is the advisory key of one with the other end.
func connection(protocol uint8, local, remote uint16, peer byte) abi.AdvisoryKey {
	return abi.AdvisoryKey{
		Remote: addressWords(netip.AddrFrom4(address(peer).As4()).As16()),
		Ports:  abi.AdvisoryPorts(4, protocol, local, remote),
	}
}

// patience is how long a test waits for what must come, by the clock, which goes on while the
// host stands still.
const patience = 5 * time.Minute

// until waits for something that other goroutines bring about.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

// pauses is how many flows an end keeps from sending.
func (e *end) pauses() int {
	e.link.mu.Lock()
	defer e.link.mu.Unlock()
	return len(e.link.paused)
}

func (e *end) tell(t *testing.T, id, generation uint32, key abi.AdvisoryKey) {
	t.Helper()
	before := e.pauses()
	if err := e.kernel.Tell(id, generation, key); err != nil {
		t.Fatal(err)
	}
	until(t, "the flow pauses", func() bool { return e.pauses() > before })
}

// dialer makes datagram sockets of a that send to b, which receives them.
func datagrams(t *testing.T, a, b *end, from, to uint16) (out, in *gonet.UDPConn) {
	t.Helper()
	in, err := gonet.DialUDP(b.stack, &tcpip.FullAddress{Addr: address(2), Port: to}, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	out, err = gonet.DialUDP(a.stack, &tcpip.FullAddress{Addr: address(1), Port: from}, &tcpip.FullAddress{Addr: address(2), Port: to}, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	in.SetReadDeadline(time.Now().Add(patience))
	return out, in
}

func expect(t *testing.T, in net.Conn, first, n int) {
	t.Helper()
	var b [4]byte
	for i := first; i < first+n; i++ {
		if got, err := in.Read(b[:]); err != nil || got != 1 || b[0] != byte(i) {
			t.Fatalf("datagram %d: % x, %v", i, b[:got], err)
		}
	}
}

// TestPausedFlowWaits: the datagrams of a flow that is to pause wait, another flow's pass them,
// and they leave in order when it may go on. More than waitingMax are not taken.
func TestPausedFlowWaits(t *testing.T) {
	a, b := newEnds(t, arena.Params{})
	out, in := datagrams(t, a, b, 1000, 9)
	other, far := datagrams(t, a, b, 1001, 10)
	elsewhere := connection(17, 1000, 9, 3)
	for _, key := range []abi.AdvisoryKey{
		connection(17, 1000, 9, 2),
		{Ports: abi.AdvisoryPorts(4, 17, 1000, 0)}, // bound
		{Ports: abi.AdvisoryPorts(0, 17, 1000, 0)}, // for both versions of IP
		{Ports: abi.AdvisoryPorts(0, 17, 0, 0)},    // all of the protocol: the other one too
		elsewhere,                                  // none of these
	} {
		a.tell(t, 7, 3, key)
		held := key != elsewhere
		before := a.link.Counts()
		for i := range 20 {
			out.Write([]byte{byte(i)})
		}
		if c := a.link.Counts(); held != (c.Held == before.Held+20) {
			t.Errorf("%+v: %d wait", key, c.Held-before.Held)
		}
		if !held {
			expect(t, in, 0, 20)
		}
		if key.Ports>>16&0xffff != 0 {
			other.Write([]byte{99})
			expect(t, far, 99, 1)
		}
		from, to := netip.AddrPortFrom(netip.AddrFrom4(address(1).As4()), 1000), netip.AddrPortFrom(netip.AddrFrom4(address(2).As4()), 9)
		if got := a.link.Paused(17, 1000, to); got != held {
			t.Errorf("%+v: paused: %v", key, got)
		}
		if sent := a.link.SendDatagram(from, to, 0, 0, []byte{20}); sent == held {
			t.Errorf("%+v: a datagram past gVisor is sent: %v", key, sent)
		}
		a.kernel.Untell(7, 3, 0, 0)
		until(t, "it goes on", func() bool { return a.pauses() == 0 })
		if held {
			expect(t, in, 0, 20)
		} else {
			expect(t, in, 20, 1)
		}
		a.kernel.Forget(7, 3)
	}
	// What waits is bounded, and who wants to know is told when it goes on.
	room := make(chan struct{}, 1)
	a.link.Room = func() {
		select {
		case room <- struct{}{}:
		default:
		}
	}
	a.tell(t, 8, 1, connection(17, 1000, 9, 2))
	before := a.link.Counts()
	for i := range waitingMax + 10 {
		out.Write([]byte{byte(i)})
	}
	if c := a.link.Counts(); c.Held != before.Held+waitingMax || c.Refused[RefusedPaused] != before.Refused[RefusedPaused]+10 {
		t.Errorf("%+v, before %+v", c, before)
	}
	select {
	case <-room:
		t.Error("told of room that is not there")
	default:
	}
	a.kernel.Untell(8, 1, 0, 0)
	<-room
	expect(t, in, 0, waitingMax)
}

// TestPauseEndsWithItsFlow: what waits of a flow that has ended goes on, when its entry is
// nobody's, when it is another one's by then, and when the events about that were lost. A flow
// that has not been told does not pause.
func TestPauseEndsWithItsFlow(t *testing.T) {
	a, b := newEnds(t, arena.Params{})
	out, in := datagrams(t, a, b, 1000, 9)
	key := connection(17, 1000, 9, 2)
	for name, end := range map[string]func(){
		"forgotten": func() { a.kernel.Forget(7, 3) },
		"another one's": func() {
			a.kernel.Forget(7, 3)
			if _, err := a.kernel.Advise(8, 1, key); err != nil { // of the same packets, and not told
				t.Fatal(err)
			}
		},
		"lost": func() {
			for i := range 2000 { // more than the event ring has
				a.kernel.Post(abi.Slot{Index: uint32(i), Kind: abi.SlotMTU})
			}
			a.kernel.Forget(7, 3)
		},
	} {
		a.tell(t, 7, 3, key)
		out.Write([]byte{1})
		end()
		until(t, name, func() bool { return a.pauses() == 0 })
		out.Write([]byte{2})
		expect(t, in, 1, 2)
		a.kernel.Forget(8, 1)
	}
	// Edges that the domain did not see are found in the table.
	a.kernel.Tell(9, 1, key)
	for i := range 2000 {
		a.kernel.Post(abi.Slot{Index: uint32(i), Kind: abi.SlotMTU})
	}
	until(t, "the flow pauses", func() bool { return a.pauses() == 1 })
	a.kernel.Untell(9, 1, 0, 0)
	until(t, "it goes on", func() bool { return a.pauses() == 0 })
}

// TestPausedConnection: a connection of TCP that is to pause again and again loses nothing,
// what it receives is acknowledged meanwhile, and another one goes on.
func TestPausedConnection(t *testing.T) {
	a, b := newEnds(t, arena.Params{Large: 128})
	listener, err := gonet.ListenTCP(b.stack, tcpip.FullAddress{Port: 7}, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dial := func() (near, far net.Conn, local uint16) {
		c, err := gonet.DialTCP(a.stack, tcpip.FullAddress{Addr: address(2), Port: 7}, ipv4.ProtocolNumber)
		if err != nil {
			t.Fatal(err)
		}
		if far, err = listener.Accept(); err != nil {
			t.Fatal(err)
		}
		for _, c := range []net.Conn{c, far} {
			c.SetDeadline(time.Now().Add(patience))
			t.Cleanup(func() { c.Close() })
		}
		return c, far, uint16(c.LocalAddr().(*net.TCPAddr).Port)
	}
	near, far, local := dial()
	other, otherFar, _ := dial()
	key := connection(uint8(header.TCPProtocolNumber), local, 7, 2)

	// What comes is read at once: two of gVisor's ends of which one is full refuse each other's
	// acknowledgements for ever.
	const size, rounds = 4 << 20, 8
	sent, got := sha256.New(), sha256.New()
	data := rand.New(rand.NewSource(1))
	read := make(chan error, rounds)
	go func() {
		for range rounds {
			_, err := io.CopyN(got, far, size/rounds)
			read <- err
		}
	}()
	for round := range uint32(rounds) {
		a.tell(t, 7, round+1, key)
		written := make(chan error, 1)
		go func() {
			_, err := io.CopyN(io.MultiWriter(near, sent), data, size/rounds)
			written <- err
		}()
		// The other one goes on, and what comes in on this one is read and acknowledged: it is
		// more than a window.
		incoming := make(chan error, 1)
		go func() {
			_, err := far.Write(make([]byte, 2<<20))
			incoming <- err
		}()
		if _, err := io.CopyN(io.Discard, near, 2<<20); err != nil {
			t.Fatal(err)
		}
		if err := <-incoming; err != nil {
			t.Fatal(err)
		}
		other.Write([]byte("ping"))
		if _, err := io.CopyN(io.Discard, otherFar, 4); err != nil {
			t.Fatal(err)
		}
		a.kernel.Untell(7, round+1, 0, 0)
		for _, ended := range []chan error{written, read} {
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
		until(t, "it goes on", func() bool { return a.pauses() == 0 })
		a.kernel.Forget(7, round+1)
	}
	if string(sent.Sum(nil)) != string(got.Sum(nil)) {
		t.Error("other bytes have arrived")
	}
	if c := a.link.Counts(); c.Held == 0 || c.Pauses != 8 {
		t.Errorf("%+v", c)
	}
}

// TestPauseIsSeenAtOnce: who sends on and on, and lets no other goroutine run, sees the pause
// with the next packet, and its end.
func TestPauseIsSeenAtOnce(t *testing.T) {
	a, _ := newEnds(t, arena.Params{})
	from, to := netip.AddrPortFrom(netip.AddrFrom4(address(1).As4()), 1000), netip.AddrPortFrom(netip.AddrFrom4(address(2).As4()), 9)
	for round := range uint32(100) {
		if !a.link.SendDatagram(from, to, 0, 0, []byte{1}) {
			t.Fatalf("round %d: refused", round)
		}
		if err := a.kernel.Tell(7, round+1, connection(17, 1000, 9, 2)); err != nil {
			t.Fatal(err)
		}
		if a.link.SendDatagram(from, to, 0, 0, []byte{1}) {
			t.Fatalf("round %d: sent while it is to pause", round)
		}
		if round%2 == 0 {
			a.kernel.Untell(7, round+1, 0, 0)
		}
		a.kernel.Forget(7, round+1)
	}
}

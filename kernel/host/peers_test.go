package host

// What peers can make the stack hold, measured against what limits.go counts.

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// noise is by how much memory changes by itself: pools, stacks, the race detector.
const noise = 128 << 10

// live is what is held: the heap, and a stack for each goroutine that there is. Stacks of those that
// have ended are not counted: the runtime keeps some, more the more ran at a time.
func live() int {
	runtime.GC()
	runtime.GC() // the first one only empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc) + runtime.NumGoroutine()*stackBytes
}

// stackMemory is what stacks take, those that the runtime keeps included.
func stackMemory() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.StackInuse)
}

// crowd has many goroutines at a time. Their descriptions, which are on the heap for ever, are used
// again for those that come later, as when the timers of a full cache of neighbours end at once.
func crowd() {
	var all sync.WaitGroup
	free := make(chan struct{})
	for range 2 * neighbourEntries {
		all.Go(func() { <-free })
	}
	close(free)
	all.Wait()
}

// readyToReceive gives connections from the start the receive buffer that
// others get by sending to a reader for a while.
func readyToReceive(s *Stack) {
	s.net.SetTransportProtocolOption(tcp.ProtocolNumber, &tcpip.TCPReceiveBufferSizeRangeOption{
		Min: bufferMin, Default: s.lim.receiveMax, Max: s.lim.receiveMax,
	})
}

// fill sends until the receive buffer is full, in packets that waste as much
// memory as they can.
func (c *strange) fill() {
	data := make([]byte, 1025-ipv4Header-tcpHeader)
	for range c.x.s.lim.receiveMax / len(data) {
		c.send(data)
	}
}

// stall asks for data, takes it in the smallest steps until the send buffer is
// full of small segments, and no longer.
func (c *strange) stall() {
	c.send([]byte("GET /bytes?n=1000000000 HTTP/1.1\r\nHost: a\r\n\r\n"))
	x := c.x
	for range 2 * x.s.lim.sendMax / mssMin {
		if !x.wait(patience, func() bool { return c.next-c.acked > 0 }) {
			x.t.Fatal("the stack stopped sending")
		}
		c.acknowledge(mssMin)
	}
}

// shortHeaders is an HTTP request that takes much memory and does not end.
func shortHeaders() []byte {
	var b bytes.Buffer
	b.WriteString("GET / HTTP/1.1\nHost:a\n")
	for b.Len() < httpHeaderMax+4096-100 {
		b.WriteString("a:\n")
	}
	return b.Bytes()
}

// fragment is the first one of datagram number id, 8 bytes long.
func fragment(id uint16) []byte {
	f := udpFrame(echoPort, nil)
	ip := header.IPv4(f[ethHeader:])
	ip.SetID(id)
	ip.SetFlagsFragmentOffset(header.IPv4FlagMoreFragments, 0)
	fixIPSum(f)
	return f
}

// pingFrom is an echo request of a neighbour that does not exist.
func pingFrom(host byte) []byte {
	f := udpFrame(0, make([]byte, 1400))
	ip := header.IPv4(f[ethHeader:])
	ip[9], ip[15] = uint8(header.ICMPv4ProtocolNumber), host
	fixIPSum(f)
	h := header.ICMPv4(ip[ipv4Header:])
	clear(h)
	h.SetType(header.ICMPv4Echo)
	h.SetChecksum(header.ICMPv4Checksum(h, 0))
	return f
}

// arpFrom is a request for our address by anybody.
func arpFrom(n uint16) []byte {
	f := make([]byte, ethHeader+header.ARPSize)
	copy(f, ourMAC[:])
	copy(f[6:], theirMAC[:])
	binary.BigEndian.PutUint16(f[12:], uint16(header.ARPProtocolNumber))
	a := header.ARP(f[ethHeader:])
	a.SetIPv4OverEthernet()
	a.SetOp(header.ARPRequest)
	copy(a.HardwareAddressSender(), theirMAC[:])
	copy(a.ProtocolAddressSender(), []byte{10, 0, byte(n >> 8), byte(n)})
	copy(a.ProtocolAddressTarget(), []byte{192, 0, 2, 1})
	return f
}

// alone runs a test that measures memory in a process of its own: what other tests leave to
// timers and goroutines would come and go during the measurement. It is true there.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv("SLUICE_ALONE") != "" {
		return true
	}
	args := []string{"-test.v", "-test.run=^" + t.Name() + "$"}
	if end, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout="+time.Until(end).String())
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "SLUICE_ALONE=1")
	out, err := cmd.CombinedOutput()
	if t.Logf("%s", out); err != nil {
		t.Error(err)
	}
	return false
}

// TestPeersHoldWhatIsCounted has a peer take all that it can at the least
// budget, of everything that stays for longer than a turn of the poller.
func TestPeersHoldWhatIsCounted(t *testing.T) {
	if !alone(t) {
		return
	}
	x := newStranger(t, MemoryBudgetMin, readyToReceive)
	lim := x.s.lim
	first := live()
	last := first
	stacks, goroutines := stackMemory(), runtime.NumGoroutine()
	step := func(name string, n, counted int) {
		t.Helper()
		x.settle()
		now := live()
		// What has ended is given up by goroutines that may come later.
		await(func() bool { now = live(); return now-last <= counted+noise })
		t.Logf("%s: %d of %d bytes each", name, (now-last)/n, counted/n)
		if now-last > counted+noise {
			t.Errorf("%s: %d hold %d bytes, %d are counted", name, n, now-last, counted)
		}
		last = now
	}

	// Clients of HTTP that take nothing in and send on.
	slow := lim.httpConnections - 4
	for range slow {
		c := x.connect(httpPort, smallestMSS)
		c.stall()
		c.fill()
	}
	step("HTTP connections", slow,
		slow*lim.httpConnection()+wideConnections*(sendBytes(lim.sendMax)-sendBytes(lim.sendMin)))
	// The same for echo, byte by byte.
	for range lim.echoConnections {
		c := x.connect(echoPort, nil)
		for range 100 {
			c.send([]byte{1})
		}
		c.fill()
	}
	step("echo connections", lim.echoConnections, lim.echoConnections*lim.echoConnection())
	for range lim.discardConnections {
		x.connect(discardPort, nil)
	}
	step("discard connections", lim.discardConnections, lim.discardConnections*lim.discardConnection())

	// Nothing has ended yet: stacks that there are are those of goroutines that run.
	if n, have := runtime.NumGoroutine()-goroutines, stackMemory()-stacks; have > n*stackBytes+noise {
		t.Errorf("%d goroutines have stacks of %d bytes, %d are counted", n, have, n*stackBytes)
	} else {
		t.Logf("%d goroutines have stacks of %d bytes, %d are counted", n, have, n*stackBytes)
	}

	for n := range 2000 {
		x.give(fragment(uint16(n)))
	}
	step("fragments", 1, lim.fragments)
	for n := range 600 {
		x.give(arpFrom(uint16(n)))
	}
	step("neighbours", 600, neighbourEntries*neighbourBytes)
	for n := range 1000 {
		x.give(pingFrom(byte(3 + n%100)))
	}
	step("packets for unresolved neighbours", 1, unresolvedBytes+neighbourEntries*neighbourBytes)

	var http *listener
	for _, service := range x.s.services {
		if l, ok := service.(*listener); ok && l.max == lim.httpConnections {
			http = l
		}
	}
	for range lim.closedMax {
		c := x.connect(httpPort, nil)
		c.send([]byte("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
		if !x.wait(patience, func() bool { return c.over }) {
			t.Fatal("HTTP did not close the connection")
		}
		c.acknowledge(0)
		x.give(c.segment(header.TCPFlagAck|header.TCPFlagFin, nil, nil))
		// Its slot is free when HTTP has seen the end, which is later than that the
		// peer has.
		until(t, "a closed connection holds no slot", func() bool {
			http.reap()
			http.mu.Lock()
			defer http.mu.Unlock()
			return http.open == slow
		})
	}
	step("closed connections", lim.closedMax, lim.closedMax*endpointBytes)
	for range lim.httpConnections - slow {
		x.connect(httpPort, nil).send(shortHeaders())
	}
	step("endless headers", lim.httpConnections-slow, (lim.httpConnections-slow)*lim.httpConnection())

	if n := last - first; n > lim.worst() || n < lim.worst()/4 {
		t.Errorf("peers hold %d bytes, %d are counted", n, lim.worst())
	}
	for _, i := range []counter{rxDropFragmentsFull, rxDropUnresolved} {
		if x.s.counters.get(i) == 0 {
			t.Errorf("%s: 0: a limit was not reached", counterNames[i])
		}
	}
	if n := x.s.counters.get(connRefusedLimit); n != 0 {
		t.Errorf("%d connections were refused: some things were not held together", n)
	}
}

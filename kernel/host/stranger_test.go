package host

// A peer that is not a stack: it makes TCP segments by hand, and so can do what
// no stack does, and holds next to no memory.

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/sluice-os/sluice/drivers/nic"
)

// stranger stands at the far end of the cable of a stack.
type stranger struct {
	t    testing.TB
	s    *Stack
	near *port // the stack's

	mu     sync.Mutex
	cond   sync.Cond
	ports  uint16
	byPort map[uint16]*strange
}

// strange is a connection of a stranger.
type strange struct {
	x        *stranger
	port, to uint16
	seq      uint32 // of the next byte it sends
	acked    uint32 // what it acknowledges
	data     int    // segments with data that came in

	// Under x.mu:
	next       uint32 // of the next byte it expects
	open, over bool
}

// smallestMSS is the option for a SYN that asks for segments as small as may be.
var smallestMSS = []byte{header.TCPOptionMSS, 4, mssMin >> 8, mssMin & 0xff}

// newStranger starts a stack, and a stranger that it knows as a neighbour.
func newStranger(t testing.TB, budget int, before func(*Stack)) *stranger {
	t.Helper()
	near, _ := newCable(sumOffloads, sumOffloads)
	x := &stranger{t: t, near: near, ports: 1024, byPort: make(map[uint16]*strange)}
	x.cond.L = &x.mu
	near.onTransmit = x.onFrame
	cfg := static("192.0.2.1/24")
	cfg.MemoryBudget = budget
	s, err := New(near, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if before != nil {
		before(s)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	x.s = s
	until(t, "link up", s.LinkUp)
	if err := s.net.AddStaticNeighbor(cardID, ipv4.ProtocolNumber, tcpip.AddrFrom4([4]byte{192, 0, 2, 2}), tcpip.LinkAddress(theirMAC[:])); err != nil {
		t.Fatal(err)
	}
	return x
}

// onFrame sees what the stack sends. Nothing goes on.
func (x *stranger) onFrame(frame []byte, _ *nic.Packet) bool {
	ip := header.IPv4(frame[ethHeader:])
	if len(ip) < ipv4Header+tcpHeader || ip[0]>>4 != 4 || ip.TransportProtocol() != header.TCPProtocolNumber {
		return false
	}
	h := header.TCP(ip.Payload())
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.byPort[h.DestinationPort()]
	if c == nil {
		return false
	}
	if len(h.Payload()) > 0 {
		c.data++
	}
	switch flags := h.Flags(); {
	case flags&header.TCPFlagRst != 0:
		c.over = true
	case flags&header.TCPFlagSyn != 0:
		c.next, c.open = h.SequenceNumber()+1, true
	case h.SequenceNumber() == c.next:
		c.next += uint32(len(h.Payload()))
		if flags&header.TCPFlagFin != 0 {
			c.next++
			c.over = true
		}
	}
	x.cond.Broadcast()
	return false
}

// give hands the stack a frame, when the ring has room.
func (x *stranger) give(frame []byte) {
	for !x.near.arrive(frame, true) {
		runtime.Gosched()
	}
}

// settle waits until the stack has taken all frames.
func (x *stranger) settle() {
	x.t.Helper()
	far := x.near.peer
	until(x.t, "all frames taken", func() bool {
		far.mu.Lock()
		defer far.mu.Unlock()
		return len(far.free) == cableSlots
	})
}

// wait waits for a condition that frames from the stack bring about, and
// reports false when it takes too long.
func (x *stranger) wait(most time.Duration, done func() bool) bool {
	late := false
	timer := time.AfterFunc(most, func() {
		x.mu.Lock()
		late = true
		x.mu.Unlock()
		x.cond.Broadcast()
	})
	defer timer.Stop()
	x.mu.Lock()
	defer x.mu.Unlock()
	for !done() && !late {
		x.cond.Wait()
	}
	return done()
}

// connect opens a connection. The options are those of the SYN.
func (x *stranger) connect(to uint16, options []byte) *strange {
	x.t.Helper()
	x.mu.Lock()
	x.ports++
	c := &strange{x: x, port: x.ports, to: to, seq: 1000}
	x.byPort[c.port] = c
	x.mu.Unlock()
	syn := c.segment(header.TCPFlagSyn, nil, options)
	c.seq++
	for x.give(syn); !x.wait(20*time.Millisecond, func() bool { return c.open }); {
		x.give(syn) // a full backlog drops it
	}
	c.acknowledge(0)
	return c
}

// acknowledge sends an ACK for all that came in, but at most the next n bytes
// if n is not 0.
func (c *strange) acknowledge(n uint32) {
	c.x.mu.Lock()
	if n == 0 || c.next-c.acked < n {
		n = c.next - c.acked
	}
	c.x.mu.Unlock()
	c.acked += n
	c.x.give(c.segment(header.TCPFlagAck, nil, nil))
}

// send sends data as one segment.
func (c *strange) send(data []byte) {
	c.x.give(c.segment(header.TCPFlagAck|header.TCPFlagPsh, data, nil))
	c.seq += uint32(len(data))
}

// segment makes a frame.
func (c *strange) segment(flags header.TCPFlags, data, options []byte) []byte {
	n := tcpHeader + len(options)
	f := udpFrame(0, make([]byte, n-udpHeader+len(data)))
	ip := header.IPv4(f[ethHeader:])
	ip[9] = uint8(header.TCPProtocolNumber)
	fixIPSum(f)
	h := header.TCP(ip[ipv4Header:])
	h.Encode(&header.TCPFields{
		SrcPort: c.port, DstPort: c.to, SeqNum: c.seq, AckNum: c.acked,
		DataOffset: uint8(n), Flags: flags, WindowSize: 0xffff,
	})
	copy(h[tcpHeader:], options)
	copy(h[n:], data)
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(h)))
	h.SetChecksum(0)
	h.SetChecksum(^checksum.Checksum(h, sum))
	return f
}

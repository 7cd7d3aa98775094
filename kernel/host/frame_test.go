package host

import (
	"bytes"
	"encoding/binary"
	"math/rand"
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/sluice-os/sluice/drivers/nic"
)

// serveName runs a name server on b that answers every question about IPv4
// with addr.
func serveName(t *testing.T, b *Stack, addr netip.Addr) {
	t.Helper()
	c, err := gonet.DialUDP(b.net, &tcpip.FullAddress{Port: 53}, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
					Body:   &dnsmessage.AResource{A: addr.As4()},
				}}
			}
			if reply, err := m.Pack(); err == nil {
				c.WriteTo(reply, from)
			}
		}
	}()
}

var (
	ourMAC   = macAddr{0x52, 0x54, 0, 0, 0, 1}
	theirMAC = macAddr{0x52, 0x54, 0, 0, 0, 2}
)

// udpFrame builds a UDP datagram from 192.0.2.2 port 4000 to 192.0.2.1.
func udpFrame(port uint16, payload []byte) []byte {
	f := dhcpFrame(theirMAC, ourMAC, [4]byte{192, 0, 2, 2}, [4]byte{192, 0, 2, 1}, nil)
	f = append(f[:ethHeader+ipv4Header+udpHeader], payload...)
	ip := header.IPv4(f[ethHeader:])
	ip.SetTotalLength(uint16(len(ip)))
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
	udp := header.UDP(ip[ipv4Header:])
	udp.SetSourcePort(4000)
	udp.SetDestinationPort(port)
	udp.SetLength(uint16(len(udp)))
	udp.SetChecksum(0)
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(udp)))
	udp.SetChecksum(^checksum.Checksum(udp, sum))
	return f
}

// malformed is a frame and the counter of why it is dropped.
type malformed struct {
	name  string
	frame []byte
	want  counter
}

// malformedFrames are of each kind.
func malformedFrames() []malformed {
	good := udpFrame(echoPort, []byte("hello"))
	change := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	ethertype := func(v uint16) []byte {
		return change(func(b []byte) { binary.BigEndian.PutUint16(b[12:], v) })
	}
	v6 := ethertype(uint16(header.IPv6ProtocolNumber))
	return []malformed{
		{"one byte", good[:1], rxDropShort},
		{"13 bytes", good[:13], rxDropShort},
		{"header alone", good[:14], rxDropIPLength},
		{"half an IP header", good[:24], rxDropIPLength},
		{"cut payload", good[:len(good)-1], rxDropIPLength},
		{"group source", change(func(b []byte) { b[6] |= 1 }), rxDropSource},
		{"for somebody else", change(func(b []byte) { b[5] ^= 4 }), rxDropOtherHost},
		{"802.3 length", ethertype(0x0040), rxDropLLC},
		{"VLAN", ethertype(0x8100), rxDropEthertype},
		{"short ARP", ethertype(0x0806)[:14+20], rxDropARPLength},
		{"version 6 as 4", change(func(b []byte) { b[14] = 0x65 }), rxDropIPVersion},
		{"header length 4", change(func(b []byte) { b[14] = 0x41 }), rxDropIPLength},
		{"header length 60", change(func(b []byte) { b[14] = 0x4f }), rxDropIPLength},
		{"total length 8", change(func(b []byte) { b[16], b[17] = 0, 8 }), rxDropIPLength},
		{"IP checksum", change(func(b []byte) { b[24] ^= 4 }), rxDropIPSum},
		{"IP checksum of a fragment", change(func(b []byte) { b[20] = 0x20 }), rxDropIPSum},
		{"version 4 as 6", append(bytes.Clone(v6), make([]byte, 20)...), rxDropIPVersion},
		{"short IPv6", v6[:14+30], rxDropIPLength},
		{"IPv6 payload", append(append(bytes.Clone(v6[:14]), 0x60, 0, 0, 0, 0, 99), make([]byte, 50)...), rxDropIPLength},
	}
}

func TestMalformedFramesAreCountedByReason(t *testing.T) {
	for _, tt := range malformedFrames() {
		t.Run(tt.name, func(t *testing.T) {
			p, l, _ := newBench(t, noOffloads)
			l.dev.(*port).arrive(tt.frame, false)
			p.turn()
			for i := rxDropLength; i <= rxDropIPSum; i++ {
				want := uint64(0)
				if i == tt.want {
					want = 1
				}
				if n := l.counters.get(i); n != want {
					t.Errorf("%s: %d, want %d", counterNames[i], n, want)
				}
			}
		})
	}
	t.Run("control", func(t *testing.T) {
		p, l, _ := newBench(t, noOffloads)
		l.dev.(*port).arrive(udpFrame(echoPort, []byte("hello")), false)
		p.turn()
		if l.counters.get(udpEchoFast) != 1 {
			t.Error("the good frame was not answered")
		}
	})
}

// newBench returns a poller, its link and the far port, with gVisor behind the
// link, and no goroutine: the caller takes the turns.
func newBench(t testing.TB, o nic.Offloads) (*poller, *link, *port) {
	t.Helper()
	s, p, far := newBenchStack(t, o)
	return p, s.link, far
}

// newBenchStack is newBench with the whole stack.
func newBenchStack(t testing.TB, o nic.Offloads) (*Stack, *poller, *port) {
	t.Helper()
	pa, pb := newCable(o, o)
	s, p := newBenchStackOn(t, pa, "192.0.2.1/24")
	return s, p, pb
}

// newBenchStackOn is newBenchStack on one end of a cable.
func newBenchStackOn(t testing.TB, dev *port, address string) (*Stack, *poller) {
	t.Helper()
	s, err := New(dev, static(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.net.Close() })
	if err := s.net.EnableNIC(cardID); err != nil {
		t.Fatal(err)
	}
	s.config.inUse = true
	s.config.apply()
	return s, newPoller(s.link)
}

// drainPort takes what the far end received, and hands the memory back.
func drainPort(p *port, batch []nic.Packet) int {
	n := p.Receive(batch)
	p.Release(batch[:n])
	return n
}

func TestDeviceLengthsAreNotBelieved(t *testing.T) {
	p, l, _ := newBench(t, noOffloads)
	b := udpFrame(echoPort, []byte("x"))
	batch := nic.NewBatch(3)
	batch[0].Buffers = append(batch[0].Buffers, nic.Buffer{Bytes: b})
	batch[0].Len = len(b) + 1
	batch[1].Len = 60 // and no buffers
	batch[2].Buffers = append(batch[2].Buffers, nic.Buffer{Bytes: b[:0]}, nic.Buffer{Bytes: b[:0]})
	l.tx.beginTurn()
	p.deliver(batch, nil)
	l.tx.endTurn(nil)
	if n := l.counters.get(rxDropLength); n != 2 {
		t.Errorf("length drops: %d, want 2", n)
	}
	if n := l.counters.get(rxDropShort); n != 1 {
		t.Errorf("short drops: %d, want 1", n)
	}
}

func TestUDPEchoChangesOnlyWhatItMust(t *testing.T) {
	p, l, far := newBench(t, noOffloads)
	in := udpFrame(echoPort, []byte("payload"))
	in = append(in, 1, 2, 3) // padding of a short frame
	l.dev.(*port).arrive(in, false)
	p.turn()
	batch := nic.NewBatch(1)
	if far.Receive(batch) != 1 {
		t.Fatal("no answer")
	}
	out := bytes.Clone(batch[0].Buffers[0].Bytes)
	far.Release(batch)
	info, _, ok := classify(out, len(out), theirMAC)
	if !ok || info.transport != header.UDPProtocolNumber || len(out) != len(in)-3 {
		t.Fatalf("answer %x", out)
	}
	udp := header.UDP(out[ethHeader+ipv4Header:])
	if udp.SourcePort() != echoPort || udp.DestinationPort() != 4000 || string(udp.Payload()) != "payload" ||
		sumTransport(&nic.Packet{Len: len(out), Buffers: []nic.Buffer{{Bytes: out}}}, out, &info) != 0xffff {
		t.Errorf("answer %x", out)
	}
}

func TestUDPEchoIsSilentToForgeries(t *testing.T) {
	for name, f := range map[string]func(b []byte){
		"bad checksum":       func(b []byte) { b[len(b)-1]++ },
		"to a broadcast MAC": func(b []byte) { copy(b, []byte{255, 255, 255, 255, 255, 255}) },
		"from a multicast": func(b []byte) {
			b[26] = 224
			fixIPSum(b)
		},
		"not our address": func(b []byte) {
			b[33] = 9
			fixIPSum(b)
		},
		"bad IP checksum": func(b []byte) { b[24]++ },
		"no UDP header":   shorten(0),
		"half of one":     shorten(4),
		"most of one":     shorten(7),
	} {
		p, l, _ := newBench(t, noOffloads)
		b := udpFrame(echoPort, []byte("x"))
		f(b)
		b = append(b, make([]byte, 17)...) // as short frames are
		l.dev.(*port).arrive(b, false)
		p.turn()
		if l.counters.get(udpEchoFast) != 0 {
			t.Errorf("%s: answered", name)
		}
	}
}

// shorten has a datagram say that it has n bytes with its header, to IP as well.
func shorten(n int) func(b []byte) {
	return func(b []byte) {
		ip := header.IPv4(b[ethHeader:])
		ip.SetTotalLength(uint16(ipv4Header + n))
		fixIPSum(b)
		udp := header.UDP(ip[ipv4Header:])
		udp.SetLength(uint16(n))
		udp.SetChecksum(0)
	}
}

func fixIPSum(b []byte) {
	ip := header.IPv4(b[ethHeader:])
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
}

// FuzzFrame gives gVisor behind the link, and a domain beside it, any frame, in pieces.
func FuzzFrame(f *testing.F) {
	short := udpFrame(echoPort, make([]byte, 20))
	shorten(4)(short)
	f.Add(short, uint16(2048), false)
	for _, part := range inParts(udpFrame(5000, make([]byte, 100)), 64) {
		f.Add(part, uint16(2048), false)
	}
	f.Add(frame6(44, frag(17, 0, make([]byte, 24)...)...), uint16(33), false)
	f.Add(tcpFrame(1000, nil, header.TCPFlagSyn), uint16(2048), true)
	f.Add(udpFrame(echoPort, []byte("hello")), uint16(2048), true)
	f.Add(udpFrame(dhcpClientPort, []byte("hello")), uint16(7), false)
	f.Add(tcpFrame(1000, []byte("hello"), header.TCPFlagAck), uint16(20), false)
	f.Add(routerAdvertisement(theirMAC, 100), uint16(100), false)
	f.Add([]byte{}, uint16(1), false)
	s, p, far := newBenchStack(f, sumOffloads)
	domain, l := attachDomain(f, s), s.link
	l.onDHCP = func(dhcpDatagram) {}
	batch := nic.NewBatch(pollBudget)
	f.Fuzz(func(t *testing.T, frame []byte, piece uint16, verified bool) {
		if len(frame) > nic.FrameMax {
			return
		}
		dev := l.dev.(*port)
		dev.mu.Lock() // gVisor's timers send meanwhile
		dev.piece = max(int(piece), len(frame)/nic.BuffersMax+1)
		dev.mu.Unlock()
		dev.arrive(frame, verified)
		if len(frame) > ethHeader { // and the same for us, so that it gets further
			frame = bytes.Clone(frame)
			copy(frame, ourMAC[:])
			copy(frame[6:], theirMAC[:])
			dev.arrive(frame, verified)
			dev.arrive(frame, verified)
			// And with a right sum of the header, without which nothing is looked at.
			if ip := header.IPv4(frame[ethHeader:]); len(ip) >= ipv4Header && ip[0]>>4 == 4 && int(ip.HeaderLength()) <= len(ip) {
				fixIPSum(frame)
				dev.arrive(frame, verified)
			}
		}
		for p.turn() {
		}
		for drainPort(far, batch) > 0 {
		}
		domain.received()
	})
}

// tcpFrame builds a segment of the stream from 192.0.2.2 port 4000 to
// 192.0.2.1 port 80.
func tcpFrame(seq uint32, payload []byte, flags header.TCPFlags) []byte {
	f := udpFrame(80, make([]byte, tcpHeader-udpHeader+len(payload)))
	ip := header.IPv4(f[ethHeader:])
	ip[9] = uint8(header.TCPProtocolNumber)
	fixIPSum(f)
	tcp := header.TCP(ip[ipv4Header:])
	tcp.Encode(&header.TCPFields{
		SrcPort: 4000, DstPort: 80, SeqNum: seq, AckNum: 1,
		DataOffset: tcpHeader, Flags: flags, WindowSize: 1000,
	})
	copy(tcp[tcpHeader:], payload)
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(tcp)))
	tcp.SetChecksum(0)
	tcp.SetChecksum(^checksum.Checksum(tcp, sum))
	return f
}

func TestMergeRules(t *testing.T) {
	const ack = header.TCPFlagAck
	data := bytes.Repeat([]byte{7}, 100)
	first := tcpFrame(1000, data, ack)
	for _, tt := range []struct {
		name   string
		second []byte
		merged uint64
	}{
		{"next", tcpFrame(1100, data, ack), 2},
		{"next with push", tcpFrame(1100, data, ack|header.TCPFlagPsh), 2},
		{"shorter", tcpFrame(1100, data[:50], ack), 2},
		{"longer", tcpFrame(1100, append(data, 1), ack), 0},
		{"gap", tcpFrame(1101, data, ack), 0},
		{"repeated", tcpFrame(1000, data, ack), 0},
		{"fin", tcpFrame(1100, data, ack|header.TCPFlagFin), 0},
		{"urgent", tcpFrame(1100, data, ack|header.TCPFlagUrg), 0},
		{"empty", tcpFrame(1100, nil, ack), 0},
		{"bad sum", func() []byte { f := tcpFrame(1100, data, ack); f[len(f)-1]++; return f }(), 0},
		{"other TTL", func() []byte { f := tcpFrame(1100, data, ack); f[22]--; fixIPSum(f); return f }(), 0},
		{"fragment", func() []byte { f := tcpFrame(1100, data, ack); f[20] |= 0x20; fixIPSum(f); return f }(), 0},
		{"bad IP sum", func() []byte { f := tcpFrame(1100, data, ack); f[24]++; return f }(), 0},
	} {
		p, l, _ := newBench(t, noOffloads)
		l.dev.(*port).arrive(first, false)
		l.dev.(*port).arrive(tt.second, false)
		p.turn()
		if n := l.counters.get(rxMerged); n != tt.merged {
			t.Errorf("%s: %d frames merged, want %d", tt.name, n, tt.merged)
		}
	}
}

func TestReceivePathAllocations(t *testing.T) {
	p, l, far := newBench(t, noOffloads)
	dev := l.dev.(*port)
	echo := udpFrame(echoPort, make([]byte, 64))
	foreign := bytes.Clone(echo)
	foreign[5] ^= 4
	batch := nic.NewBatch(pollBudget)
	if n := testing.AllocsPerRun(200, func() {
		for range 16 {
			dev.arrive(echo, false)
			dev.arrive(foreign, false)
		}
		p.turn()
		drainPort(far, batch)
	}); n != 0 {
		t.Errorf("%v allocations in a turn of echoed and dropped frames", n)
	}
}

// TestHeaderSum: sums are those of RFC 1071, at the ends of what 16 bits hold too.
func TestHeaderSum(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for n := 20; n <= 60; n += 4 {
		for i := range 1000 {
			h := make([]byte, n)
			switch {
			case i > 2:
				random.Read(h)
			case i > 0:
				for j := range h {
					h[j] = 0xff
				}
				h[0] -= byte(i - 1)
			}
			if got, want := headerSum(h), checksum.Checksum(h, 0); got != want {
				t.Fatalf("% x: %#x, want %#x", h, got, want)
			}
		}
	}
}

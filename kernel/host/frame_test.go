package host

import (
	"bytes"
	"encoding/binary"
	"math/rand"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	user "github.com/sluice-os/sluice/userland/channel"
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

// sealTCP makes the sums of a frame of TCP, over IPv4 without options or over IPv6, right.
func sealTCP(f []byte) []byte {
	packet := f[ethHeader:]
	tcp, src, dst := header.TCP(nil), tcpip.Address{}, tcpip.Address{}
	if packet[0]>>4 == 4 {
		fixIPSum(f)
		ip := header.IPv4(packet)
		tcp, src, dst = packet[ipv4Header:], ip.SourceAddress(), ip.DestinationAddress()
	} else {
		ip := header.IPv6(packet)
		tcp, src, dst = packet[ipv6Header:], ip.SourceAddress(), ip.DestinationAddress()
	}
	tcp.SetChecksum(0)
	tcp.SetChecksum(^checksum.Checksum(tcp, header.PseudoHeaderChecksum(header.TCPProtocolNumber, src, dst, uint16(len(tcp)))))
	return f
}

// tcpFrame6 is tcpFrame over IPv6.
func tcpFrame6(seq uint32, payload []byte, flags header.TCPFlags) []byte {
	return sealTCP(frame6(uint8(header.TCPProtocolNumber), tcpFrame(seq, payload, flags)[ethHeader+ipv4Header:]...))
}

// stamped has the first 12 bytes of a segment's payload be options: the time, as it says.
func stamped(f []byte, at int, time byte) []byte {
	tcp := f[ethHeader+at:]
	tcp[12] += 3 << 4
	copy(tcp[tcpHeader:], []byte{1, 1, 8, 10, 0, 0, 0, time, 0, 0, 0, 6})
	return sealTCP(f)
}

// TestMergeRules: what has one segment's frame go on together with the frame before it, and what
// does not.
func TestMergeRules(t *testing.T) {
	const ack = header.TCPFlagAck
	const ip, tcp4, tcp6 = ethHeader, ethHeader + ipv4Header, ethHeader + ipv6Header
	data := bytes.Repeat([]byte{7}, 100)
	first, first6 := tcpFrame(1000, data, ack), tcpFrame6(1000, data, ack)
	next := func(change func(f []byte)) []byte { f := tcpFrame(1100, data, ack); change(f); return sealTCP(f) }
	next6 := func(change func(f []byte)) []byte { f := tcpFrame6(1100, data, ack); change(f); return sealTCP(f) }
	// The most that fits a packet, in two halves.
	const half = (0xffff - ipv4Header - tcpHeader + 1) / 2
	const half6 = (0xffff - ipv6Header - tcpHeader + 1) / 2
	long := bytes.Repeat([]byte{7}, half)
	for _, tt := range []struct {
		name          string
		first, second []byte
		merged        uint64
	}{
		{"next", first, tcpFrame(1100, data, ack), 2},
		{"next with push", first, tcpFrame(1100, data, ack|header.TCPFlagPsh), 2},
		{"behind a push", tcpFrame(1000, data, ack|header.TCPFlagPsh), tcpFrame(1100, data, ack), 0},
		{"shorter", first, tcpFrame(1100, data[:50], ack), 2},
		{"longer", first, tcpFrame(1100, append(data, 1), ack), 0},
		{"gap", first, tcpFrame(1101, data, ack), 0},
		{"repeated", first, tcpFrame(1000, data, ack), 0},
		{"fin", first, tcpFrame(1100, data, ack|header.TCPFlagFin), 0},
		{"urgent", first, tcpFrame(1100, data, ack|header.TCPFlagUrg), 0},
		{"congestion heard of", first, tcpFrame(1100, data, ack|header.TCPFlagEce), 0},
		{"congestion answered", first, tcpFrame(1100, data, ack|header.TCPFlagCwr), 0},
		{"empty", first, tcpFrame(1100, nil, ack), 0},
		{"bad sum", first, func() []byte { f := tcpFrame(1100, data, ack); f[len(f)-1]++; return f }(), 0},
		{"bad sum of the first", func() []byte { f := bytes.Clone(first); f[len(f)-1]++; return f }(), tcpFrame(1100, data, ack), 0},
		{"bad IP sum", first, func() []byte { f := tcpFrame(1100, data, ack); f[24]++; return f }(), 0},
		{"changed nothing", first, next(func([]byte) {}), 2},
		{"other identification", first, next(func(f []byte) { f[ip+5]++ }), 2},
		{"other TTL", first, next(func(f []byte) { f[ip+8]-- }), 0},
		{"fragment", first, next(func(f []byte) { f[ip+6] |= 0x20 }), 0},
		{"may not be cut", first, next(func(f []byte) { f[ip+6] ^= 0x40 }), 0},
		{"other DSCP", first, next(func(f []byte) { f[ip+1] ^= 0x20 }), 0},
		{"ECN says congestion", first, next(func(f []byte) { f[ip+1] |= 3 }), 0},
		{"other source", first, next(func(f []byte) { f[ip+15]++ }), 0},
		{"other source port", first, next(func(f []byte) { f[tcp4+1]++ }), 0},
		{"other destination port", first, next(func(f []byte) { f[tcp4+3]++ }), 0},
		{"other acknowledgement", first, next(func(f []byte) { f[tcp4+11]++ }), 0},
		{"other window", first, next(func(f []byte) { f[tcp4+15]++ }), 0},
		{"options", stamped(tcpFrame(1000, data, ack), ipv4Header, 1), stamped(tcpFrame(1088, data, ack), ipv4Header, 1), 2},
		{"other options", stamped(tcpFrame(1000, data, ack), ipv4Header, 1), stamped(tcpFrame(1088, data, ack), ipv4Header, 2), 0},
		{"options in one", first, stamped(tcpFrame(1100, data, ack), ipv4Header, 1), 0},
		{"as long as a packet can be", tcpFrame(1000, long, ack), tcpFrame(1000+half, long[1:], ack), 2},
		{"longer than a packet can be", tcpFrame(1000, long, ack), tcpFrame(1000+half, long, ack), 0},
		{"IPv6", first6, tcpFrame6(1100, data, ack), 2},
		{"IPv6, changed nothing", first6, next6(func([]byte) {}), 2},
		{"IPv6, gap", first6, tcpFrame6(1101, data, ack), 0},
		{"IPv6, other flow label", first6, next6(func(f []byte) { f[ip+3]++ }), 0},
		{"IPv6, other DSCP", first6, next6(func(f []byte) { f[ip] ^= 2 }), 0},
		{"IPv6, ECN says congestion", first6, next6(func(f []byte) { f[ip+1] |= 0x30 }), 0},
		{"IPv6, other hop limit", first6, next6(func(f []byte) { f[ip+7]-- }), 0},
		{"IPv6, other source", first6, next6(func(f []byte) { f[ip+23]++ }), 0},
		{"IPv6, other source port", first6, next6(func(f []byte) { f[tcp6+1]++ }), 0},
		{"IPv6, other acknowledgement", first6, next6(func(f []byte) { f[tcp6+11]++ }), 0},
		{"IPv6, other window", first6, next6(func(f []byte) { f[tcp6+15]++ }), 0},
		{"IPv6, other options", stamped(tcpFrame6(1000, data, ack), ipv6Header, 1), stamped(tcpFrame6(1088, data, ack), ipv6Header, 2), 0},
		{"IPv6, as long as a packet can be", tcpFrame6(1000, long[:half6], ack), tcpFrame6(1000+half6, long[:half6-1], ack), 2},
		{"IPv6, longer than a packet can be", tcpFrame6(1000, long[:half6], ack), tcpFrame6(1000+half6, long[:half6], ack), 0},
		{"IPv6 behind IPv4", first, tcpFrame6(1100, data, ack), 0},
	} {
		p, l, _ := newBench(t, noOffloads)
		l.dev.(*port).arrive(tt.first, false)
		l.dev.(*port).arrive(tt.second, false)
		p.turn()
		if n := l.counters.get(rxMerged); n != tt.merged {
			t.Errorf("%s: %d frames merged, want %d", tt.name, n, tt.merged)
		}
	}
}

// TestMergeLooksAtEachBit: whichever bit of its headers differs from the segment before it, a
// segment does not go on with that, but for those that differ in what a sender cuts: the length,
// the identification and the sum of IP's header, PSH, and TCP's sum. Nothing hangs on TCP's
// urgent pointer, as URG is not set.
func TestMergeLooksAtEachBit(t *testing.T) {
	data := bytes.Repeat([]byte{7}, 112)
	for _, c := range []struct {
		name          string
		first, second []byte
		ip            int   // the length of its header
		may           []int // bytes of the packet that may differ
	}{
		{"IPv4", tcpFrame(1000, data, header.TCPFlagAck), tcpFrame(1100, data, header.TCPFlagAck), ipv4Header, []int{2, 3, 4, 5, 10, 11}},
		{"IPv6", tcpFrame6(1000, data, header.TCPFlagAck), tcpFrame6(1100, data, header.TCPFlagAck), ipv6Header, []int{4, 5}},
	} {
		may := append(c.may, c.ip+16, c.ip+17, c.ip+18, c.ip+19)
		segmentOf := func(f []byte) (segment, frameInfo) {
			in, _, ok := classify(f, len(f), ourMAC)
			s, merges := mergeable(in, f)
			if !ok || !merges {
				t.Fatalf("%s: no segment", c.name)
			}
			return s, in
		}
		first, _ := segmentOf(stamped(c.first, c.ip, 1))
		good, in := segmentOf(stamped(c.second, c.ip, 1))
		if !good.follows(&first, first.payload) {
			t.Fatalf("%s: the second one does not follow", c.name)
		}
		for bit := range 8 * (c.ip + good.tcpHdr) {
			f := bytes.Clone(c.second)
			f[ethHeader+bit/8] ^= 1 << (bit % 8)
			s, ok := mergeable(in, f)
			got := ok && s.follows(&first, first.payload)
			want := slices.Contains(may, bit/8) || bit/8 == c.ip+13 && 1<<(bit%8) == header.TCPFlagPsh
			if got != want {
				t.Errorf("%s: byte %d, bit %d: it follows: %v", c.name, bit/8, bit%8, got)
			}
		}
	}
}

// TestMergeEndsAtTheLongestPacket: a batch of one stream that is longer than 64 KiB comes as two
// packets, the first one as long as whole segments make it.
func TestMergeEndsAtTheLongestPacket(t *testing.T) {
	a, b := newXfer(t, noOffloads, arena.Params{Large: 16})
	a.channel.SetOffloads(0)
	b.channel.SetOffloads(abi.OffloadsAll)
	x := newStream(t, a, b, 5000, func() { b.turn(); a.turn() })
	x.turn = func() {} // the frames stay in the ring, so that they are a batch
	data := xferPattern[:48*offloadMSS]
	var want [][]byte
	for at := 0; at < len(data); at += offloadMSS {
		flags := header.TCPFlags(header.TCPFlagAck)
		if at+offloadMSS == len(data) {
			flags |= header.TCPFlagPsh
		}
		want = append(want, x.segment(at, data[at:at+offloadMSS], flags, uint16(at/offloadMSS)))
		x.send(a, want[len(want)-1], user.Outgoing{})
	}
	b.turn()
	x.receive()
	x.check(abi.OffloadsAll, want, data)
	const most = (0xffff - offloadHead) / offloadMSS // segments of a packet
	if len(x.got) != 2 || len(x.got[0]) != offloadHead+most*offloadMSS || len(x.got[1]) != offloadHead+(len(want)-most)*offloadMSS {
		t.Errorf("%d packets have come, the first of %d bytes", len(x.got), len(x.got[0]))
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

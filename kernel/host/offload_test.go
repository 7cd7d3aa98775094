package host

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	user "github.com/sluice-os/sluice/userland/channel"
)

const (
	offloadMSS  = 1448
	offloadSeq  = 0x01020304
	offloadAck  = 0x0a0b0c0d
	offloadHead = ipv4Header + tcpHeader + 12 // with timestamps
	// The same of IPv6.
	offloadMSS6  = offloadMSS - (ipv6Header - ipv4Header)
	offloadHead6 = offloadHead + (ipv6Header - ipv4Header)
)

// stream has a machine's domain send a TCP stream to another domain, by packets that the test
// makes.
type stream struct {
	t          *testing.T
	a, b       *xferEnd
	ip         int // length of the header of the family that the two have addresses of
	head, mss  int
	from, to   uint16
	turn       func()
	got        [][]byte
	verified   []bool
	aggregated []int
}

// newStream has the two shake hands. turn moves frames between their machines.
func newStream(t *testing.T, a, b *xferEnd, to uint16, turn func()) *stream {
	t.Helper()
	x := &stream{t: t, a: a, b: b, to: to, turn: turn, ip: ipv4Header, head: offloadHead, mss: offloadMSS}
	listen := abi.FlowRequest{Op: abi.FlowBind, Protocol: 6, LocalPort: uint32(x.to), Local: netip.IPv4Unspecified().As16()}
	if a.own.Is6() {
		x.ip, x.head, x.mss = ipv6Header, offloadHead6, offloadMSS6
		listen = b.flow6
	} else if errno := b.sw.Flow(b.channel, &listen); errno != 0 {
		t.Fatal(errno)
	}
	if listen.Op = abi.FlowListen; b.sw.Flow(b.channel, &listen) != 0 {
		t.Fatal("it does not listen")
	}
	connect := abi.FlowRequest{Op: abi.FlowConnect, Protocol: 6, Remote: b.own.As16(), RemotePort: uint32(x.to)}
	if errno := a.sw.Flow(a.channel, &connect); errno != 0 {
		t.Fatal(errno)
	}
	x.from = uint16(connect.LocalPort)
	syn := x.segment(0, nil, header.TCPFlagSyn, 0)
	answer := x.segment(0, nil, header.TCPFlagSyn|header.TCPFlagAck, 0)
	ip, tcp := packetOf(answer)
	ip.SetSourceAddress(toAddress(b.own))
	ip.SetDestinationAddress(toAddress(a.own))
	if ip, ok := ip.(header.IPv4); ok {
		ip.SetChecksum(0)
		ip.SetChecksum(^ip.CalculateChecksum())
	}
	binary.BigEndian.PutUint16(tcp, x.to)
	binary.BigEndian.PutUint16(tcp[2:], x.from)
	tcp.SetSequenceNumber(offloadAck - 1)
	tcp.SetAckNumber(offloadSeq)
	sealSegment(answer)
	first := bytes.Clone(syn)
	header.TCP(first[x.ip:]).SetSequenceNumber(offloadSeq - 1)
	sealSegment(first)
	x.send(a, first, user.Outgoing{})
	x.send(b, answer, user.Outgoing{})
	x.send(a, x.segment(0, nil, header.TCPFlagAck, 0), user.Outgoing{})
	x.receive()
	x.got, x.verified, x.aggregated = nil, nil, nil
	a.received0()
	return x
}

// received0 forgets what has come.
func (e *xferEnd) received0() { e.user.Receive(1<<20, func(*user.Received) {}); e.user.Flush() }

// packetOf has the headers of a TCP packet of either family.
func packetOf(b []byte) (header.Network, header.TCP) {
	if b[0]>>4 == 6 {
		return header.IPv6(b), header.TCP(b[ipv6Header:])
	}
	return header.IPv4(b), header.TCP(b[ipv4Header:])
}

// sealSegment makes the checksum of a TCP packet.
func sealSegment(b []byte) {
	ip, tcp := packetOf(b)
	tcp.SetChecksum(0)
	pseudo := header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(tcp)))
	tcp.SetChecksum(^checksum.Checksum(tcp, pseudo))
}

// segment is what a sender without any help makes: from byte at of the stream on, with the ID id
// where it is of IPv4.
func (x *stream) segment(at int, payload []byte, flags header.TCPFlags, id uint16) []byte {
	b := make([]byte, x.head+len(payload))
	if x.ip == ipv6Header {
		header.IPv6(b).Encode(&header.IPv6Fields{
			PayloadLength: uint16(len(b) - ipv6Header), TransportProtocol: 6, HopLimit: 64, SrcAddr: toAddress(x.a.own), DstAddr: toAddress(x.b.own),
		})
	} else {
		ip := header.IPv4(b)
		ip.Encode(&header.IPv4Fields{
			TotalLength: uint16(len(b)), ID: id, Flags: header.IPv4FlagDontFragment, TTL: 64, Protocol: 6, SrcAddr: toAddress(x.a.own), DstAddr: toAddress(x.b.own),
		})
		ip.SetChecksum(^ip.CalculateChecksum())
	}
	tcp := header.TCP(b[x.ip:])
	tcp.Encode(&header.TCPFields{
		SrcPort: x.from, DstPort: x.to, SeqNum: offloadSeq + uint32(at), AckNum: offloadAck, DataOffset: tcpHeader + 12, Flags: flags, WindowSize: 1000,
	})
	copy(tcp[tcpHeader:], []byte{1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6})
	copy(b[x.head:], payload)
	sealSegment(b)
	return b
}

// send has a domain send a packet, and the frames of it arrive.
func (x *stream) send(from *xferEnd, b []byte, o user.Outgoing) {
	x.t.Helper()
	o.Length = len(b)
	if !from.user.Send(&o, func(piece []byte) { b = b[copy(piece, b):] }) {
		x.t.Fatal("no room")
	}
	from.user.Flush()
	x.turn()
}

// receive notes what has come for the domain that listens.
func (x *stream) receive() {
	x.b.user.Receive(1<<20, func(in *user.Received) {
		x.got = append(x.got, bytes.Join(in.Pieces, nil))
		x.verified = append(x.verified, in.Verified)
		x.aggregated = append(x.aggregated, in.SegmentSize)
	})
	x.b.user.Flush()
}

// TestOffloadsAreTheSame: a stream that one domain sends another comes as the same bytes, whatever
// the cards can and whatever the two have asked for when they opened their channels. Who does not
// take aggregation gets each packet exactly as a sender makes it that has no help; who does not
// take sums gets right ones. It is so by both families.
func TestOffloadsAreTheSame(t *testing.T) {
	for _, family := range []string{"IPv4", "IPv6"} {
		t.Run(family, func(t *testing.T) { offloadsAreTheSame(t, family == "IPv6") })
	}
}

func offloadsAreTheSame(t *testing.T, six bool) {
	const none, sums = 0, abi.OffloadChecksum
	for _, card := range []struct {
		name     string
		offloads nic.Offloads
		inside   bool
	}{{"no card", noOffloads, true}, {"plain card", noOffloads, false}, {"card that sums", sumOffloads, false}, {"card that cuts", tsoOnly, false}, {"card that does all", allOffloads, false}} {
		for _, sends := range []uint32{none, sums, abi.OffloadsAll &^ abi.OffloadAggregation, abi.OffloadsAll} {
			for _, takes := range []uint32{none, sums, sums | abi.OffloadAggregation, abi.OffloadsAll} {
				t.Run(fmt.Sprintf("%s, %03b to %03b", card.name, sends, takes), func(t *testing.T) {
					a, b := newXfer(t, card.offloads, arena.Params{Large: 16})
					if six {
						speakIPv6(t, a, b)
					}
					turn, to := func() { b.turn(); a.turn() }, uint16(5000)
					if card.inside {
						b = &xferEnd{t: t, s: a.s, p: a.p, card: a.card, own: a.own, peer: a.own}
						b.neighbourDomain, to = joinDomain(t, a.sw, arena.Params{Large: 16}, 2, 6000), 6000
					}
					a.channel.SetOffloads(sends)
					b.channel.SetOffloads(takes)
					x := newStream(t, a, b, to, turn)
					data := xferPattern[:20*x.mss+777]
					var want [][]byte
					for at := 0; at < len(data); at += x.mss {
						end, flags := min(at+x.mss, len(data)), header.TCPFlags(header.TCPFlagAck)
						if end == len(data) {
							flags |= header.TCPFlagPsh
						}
						want = append(want, x.segment(at, data[at:end], flags, 100+uint16(len(want))))
					}
					if sends&abi.OffloadSegmentation != 0 {
						large := x.segment(0, data, header.TCPFlagAck|header.TCPFlagPsh, 100)
						partialSum(large)
						x.send(a, large, user.Outgoing{
							Checksum: true, ChecksumStart: x.ip, ChecksumOffset: 16, SegmentSize: x.mss, HeaderLen: x.head,
						})
					} else {
						for _, s := range want {
							o := user.Outgoing{}
							if sends&sums != 0 {
								s = bytes.Clone(s)
								partialSum(s)
								o = user.Outgoing{Checksum: true, ChecksumStart: x.ip, ChecksumOffset: 16}
							}
							x.send(a, s, o)
						}
					}
					x.receive()
					x.check(takes, want, data)
					if sends&abi.OffloadSegmentation != 0 && takes&abi.OffloadAggregation != 0 {
						x.checkLarge(card.inside, len(want))
					}
					if m := a.drops(); len(m) != 0 {
						t.Errorf("dropped: %v", m)
					}
				})
			}
		}
	}
}

// speakIPv6 gives the two addresses of IPv6, which are theirs from now on.
func speakIPv6(t *testing.T, a, b *xferEnd) {
	t.Helper()
	a.own, b.own = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	a.peer, b.peer = b.own, a.own
	for e, mac := range map[*xferEnd][6]byte{a: theirMAC, b: ourMAC} {
		// No time passes in which somebody could answer that the address is taken.
		ep, err := e.s.net.GetNetworkEndpoint(cardID, ipv6.ProtocolNumber)
		if err != nil {
			t.Fatal(err)
		}
		ep.(stack.DuplicateAddressDetector).SetDADConfigurations(stack.DADConfigurations{})
		e.s.cfg.IPv6.Address = netip.PrefixFrom(e.own, 64)
		if err := e.s.config.addAddress(cardID, e.s.cfg.IPv6.Address); err != nil {
			t.Fatal(err)
		}
		e.s.config.apply()
		if err := e.s.net.AddStaticNeighbor(cardID, ipv6.ProtocolNumber, toAddress(e.peer), tcpip.LinkAddress(mac[:])); err != nil {
			t.Fatal(err)
		}
	}
	a.turn()
	b.turn()
}

// partialSum leaves the sum of the pseudo header in a packet's field.
func partialSum(b []byte) {
	ip, tcp := packetOf(b)
	tcp.SetChecksum(header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(tcp))))
}

// check compares what has come with the packets of a sender without help.
func (x *stream) check(takes uint32, want [][]byte, data []byte) {
	t := x.t
	t.Helper()
	if takes&abi.OffloadAggregation == 0 {
		if len(x.got) != len(want) {
			t.Fatalf("%d packets have come, want %d", len(x.got), len(want))
		}
	}
	var stream []byte
	for i, b := range x.got {
		if len(b) < x.head {
			t.Fatalf("packet %d has %d bytes", i, len(b))
		}
		ip, tcp := packetOf(b)
		length := ipv6Header + int(header.IPv6(b).PayloadLength())
		if ip, ok := ip.(header.IPv4); ok {
			length = int(ip.TotalLength())
			if !ip.IsChecksumValid() {
				t.Fatalf("packet %d: the header's sum is wrong: % x", i, b[:x.head])
			}
		}
		if length != len(b) || tcp.SequenceNumber() != offloadSeq+uint32(len(stream)) {
			t.Fatalf("packet %d: % x", i, b[:x.head])
		}
		right := tcp.IsChecksumValid(ip.SourceAddress(), ip.DestinationAddress(), checksum.Checksum(tcp.Payload(), 0), uint16(len(tcp.Payload())))
		switch {
		case !x.verified[i] && !right:
			t.Fatalf("packet %d: nobody has looked at its sum, and it is wrong", i)
		case x.verified[i] && takes&abi.OffloadChecksum == 0:
			t.Fatalf("packet %d is said to be verified", i)
		case takes&abi.OffloadAggregation == 0 && (x.aggregated[i] != 0 || len(b) > x.head+x.mss):
			t.Fatalf("packet %d is several in one: %d bytes", i, len(b))
		}
		if takes&abi.OffloadAggregation == 0 {
			got, one := bytes.Clone(b), want[i]
			if x.verified[i] { // whatever its sum is
				sealSegment(got)
			}
			if !bytes.Equal(got, one) {
				t.Fatalf("packet %d:\n% x, want\n% x", i, got[:x.head], one[:x.head])
			}
		} else if !bytes.Equal(b[x.ip+8:x.ip+13], want[0][x.ip+8:x.ip+13]) || !bytes.Equal(b[x.ip+20:x.head], want[0][x.ip+20:x.head]) {
			t.Fatalf("packet %d: % x", i, b[:x.head])
		}
		stream = append(stream, tcp.Payload()...)
	}
	if !bytes.Equal(stream, data) {
		t.Fatalf("%d bytes have come that are not the %d that were sent", len(stream), len(data))
	}
	if last := header.TCP(x.got[len(x.got)-1][x.ip:]); last.Flags() != header.TCPFlagAck|header.TCPFlagPsh {
		t.Errorf("the last one has the flags %v", last.Flags())
	}
}

// checkLarge wants what came of one packet of so many segments to be fewer packets, each of
// which says what the segments were that it is of; of one that did not leave the machine a
// single one, as nobody has cut it.
func (x *stream) checkLarge(inside bool, segments int) {
	x.t.Helper()
	if n := len(x.got); inside && n != 1 || n >= segments {
		x.t.Errorf("%d packets have come of one of %d segments", n, segments)
	}
	for i, b := range x.got {
		if len(b) > x.head+x.mss && x.aggregated[i] != x.mss {
			x.t.Errorf("packet %d has %d bytes and says it is of segments of %d, want %d", i, len(b), x.aggregated[i], x.mss)
		}
	}
}

// TestOffloadsThatWereNotAskedFor: a domain that asked for none and wants them all the same has
// packets with sums that are what it wrote, and none that are cut.
func TestOffloadsThatWereNotAskedFor(t *testing.T) {
	for _, set := range []uint32{0, abi.OffloadChecksum, abi.OffloadsAll} {
		a, b := newXfer(t, sumOffloads, arena.Params{Large: 16})
		a.channel.SetOffloads(set)
		b.channel.SetOffloads(0)
		x := newStream(t, a, b, 5000, func() { b.turn(); a.turn() })
		plain := x.segment(0, xferPattern[:1000], header.TCPFlagAck, 1)
		partialSum(plain)
		field := header.TCP(plain[ipv4Header:]).Checksum()
		x.send(a, plain, user.Outgoing{Checksum: true, ChecksumStart: ipv4Header, ChecksumOffset: 16})
		x.receive()
		if len(x.got) != 1 {
			t.Fatalf("%03b: %d packets have come", set, len(x.got))
		}
		if got := header.TCP(x.got[0][ipv4Header:]).Checksum(); (got == field) != (set&abi.OffloadChecksum == 0) {
			t.Errorf("%03b: the sum is %#x, what the domain wrote %#x", set, got, field)
		}
		large := x.segment(1000, xferPattern[:5000], header.TCPFlagAck, 2)
		partialSum(large)
		x.send(a, large, user.Outgoing{
			Checksum: true, ChecksumStart: ipv4Header, ChecksumOffset: 16, SegmentSize: offloadMSS, HeaderLen: offloadHead,
		})
		x.receive()
		refused := a.drops()["flowswitch_drop_tx_segmentation"]
		if cut := len(x.got) > 1; cut != (set&abi.OffloadSegmentation != 0) || cut == (refused != 0) {
			t.Errorf("%03b: %d packets have come, %d were refused", set, len(x.got), refused)
		}
	}
}

// readOnce is a payload that counts how often it is read.
type readOnce struct {
	b    []byte
	read int
}

func (r *readOnce) copy(w *cursor, n int) {
	w.write(r.b[r.read:][:n])
	r.read += n
}

// TestCapability52OnePass: a packet's bytes are read once, while they are copied, and the sum that
// comes of that is right: for every length to 2048, with the headers at odd places in the buffers,
// over buffers of odd sizes.
func TestCapability52OnePass(t *testing.T) {
	for _, piece := range []int{2048, 61, 1} {
		_, l, far := newBench(t, noOffloads)
		tx := l.tx
		tx.dev.(*port).piece = piece
		batch := nic.NewBatch(1)
		for n := 0; n <= 2048; n++ {
			if piece != 2048 && n > 300 && n%97 != 0 || piece == 1 && n > 20 {
				continue // a frame has few buffers
			}
			plain := udpFrame(9, xferPattern[:n])
			frame := bytes.Clone(plain)
			ip, udp := header.IPv4(frame[ethHeader:]), header.UDP(frame[ethHeader+ipv4Header:])
			udp.SetChecksum(header.PseudoHeaderChecksum(header.UDPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(udp))))
			source, done := &readOnce{b: frame[ethHeader+ipv4Header+udpHeader:]}, 0
			o := outgoing{
				head: frame[:ethHeader+ipv4Header+udpHeader], ip: ipv4Header, transport: udpHeader, payload: n, sum: true, sumOffset: udpSumOffset,
			}
			tx.mu.Lock()
			sent := tx.frames(&o, source, &done)
			tx.flush()
			tx.mu.Unlock()
			if !sent || source.read != n || far.Receive(batch) != 1 {
				t.Fatalf("%d bytes in buffers of %d: sent %v, %d were read", n, piece, sent, source.read)
			}
			got := bytes.Join(piecesOf(&batch[0]), nil)
			far.Release(batch)
			datagram := header.UDP(got[ethHeader+ipv4Header:])
			if !bytes.Equal(got[:ethHeader+ipv4Header+6], plain[:ethHeader+ipv4Header+6]) || !bytes.Equal(datagram.Payload(), xferPattern[:n]) ||
				!datagram.IsChecksumValid(ip.SourceAddress(), ip.DestinationAddress(), checksum.Checksum(datagram.Payload(), 0)) {
				t.Fatalf("%d bytes in buffers of %d: % x", n, piece, got)
			}
		}
	}
}

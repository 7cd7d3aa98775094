package host

// The host stack beside domains: what a flow switch changes for frames that are not
// theirs.

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/flowswitch"
	"github.com/sluice-os/sluice/nexus/netns"
	user "github.com/sluice-os/sluice/userland/channel"
)

// neighbourDomain is a domain beside the host stack: the port 5000 of UDP and of TCP is
// its own, and so is the echo with identifier 50.
type neighbourDomain struct {
	sw      *flowswitch.Switch
	channel *channel.Channel
	user    *user.Channel
	memory  unsafe.Pointer  // as the domain sees it
	flow    abi.FlowRequest // of UDP over IPv4
	flow6   abi.FlowRequest // of TCP over IPv6
}

// attachDomain gives a stack that was not started a flow switch with a domain.
func attachDomain(t testing.TB, s *Stack) *neighbourDomain {
	t.Helper()
	return attachDomainOf(t, s, arena.Params{Large: 16})
}

// attachDomainOf is attachDomain with an arena of another size.
func attachDomainOf(t testing.TB, s *Stack, params arena.Params) *neighbourDomain {
	t.Helper()
	sw := flowswitch.New(s.Port(), netns.New(netns.Config{}), func() time.Duration { return s.now() }, 1, 0)
	s.Attach(sw)
	local := *s.link.local.Load()
	local.add(toAddress(netip.MustParseAddr("2001:db8::1")))
	s.link.local.Store(&local)
	return joinDomain(t, sw, params, 1, 5000)
}

// joinDomain gives a switch a domain that has a port of UDP and of TCP, and a hundredth of it
// for the identifier of its echoes.
func joinDomain(t testing.TB, sw *flowswitch.Switch, params arena.Params, owner uint64, port uint16) *neighbourDomain {
	t.Helper()
	policy, err := netns.ParsePolicy([]string{fmt.Sprintf("udp/%d", port), fmt.Sprintf("tcp/%d", port)}, []string{"udp/*:*", "tcp/*:*"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := arena.NewLayout(params)
	if err != nil {
		t.Fatal(err)
	}
	memory := arenatest.New(t, l.Size)
	a, err := arena.New(l, memory, 3)
	if err != nil {
		t.Fatal(err)
	}
	d := &neighbourDomain{sw: sw, channel: channel.New(a, 3), memory: memory.Domain()}
	d.channel.Owner = owner
	d.sw.Attach(d.channel, policy)
	t.Cleanup(func() { d.sw.Detach(d.channel) })
	d.user, err = user.New(d.memory, func() {
		if err := d.sw.Sync(d.channel); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []abi.FlowRequest{
		{Protocol: 17, LocalPort: uint32(port), Local: netip.IPv4Unspecified().As16()},
		{Protocol: 17, LocalPort: uint32(port)},
		{Protocol: 6, LocalPort: uint32(port)},
		{Protocol: 1, LocalPort: uint32(port) / 100, Local: netip.IPv4Unspecified().As16()},
		{Protocol: 58, LocalPort: uint32(port) / 100},
	} {
		r.Op = abi.FlowBind
		if errno := d.sw.Flow(d.channel, &r); errno != 0 {
			t.Fatal(r.Protocol, errno)
		}
		if d.flow.Flow == 0 {
			d.flow = r
		}
		if r.Protocol == 6 {
			d.flow6 = r
		}
	}
	return d
}

// received is how many packets the domain has read.
func (d *neighbourDomain) received() (list []int) {
	d.user.Receive(100, func(in *user.Received) { list = append(list, in.Length) })
	return list
}

// inParts makes frames of one IPv4 packet's, with n bytes of payload each, a multiple
// of 8.
func inParts(frame []byte, n int) (list [][]byte) {
	const at = ethHeader + ipv4Header
	for offset := 0; at+offset < len(frame); offset += n {
		end := min(at+offset+n, len(frame))
		f := slices.Concat(frame[:at], frame[at+offset:end])
		ip := header.IPv4(f[ethHeader:])
		ip.SetTotalLength(uint16(len(ip)))
		field := uint16(offset / 8)
		if end < len(frame) {
			field |= header.IPv4FlagMoreFragments << 13
		}
		binary.BigEndian.PutUint16(ip[6:], field)
		fixIPSum(f)
		list = append(list, f)
	}
	return list
}

// TestFragmentsReachTheDomain: a datagram in fragments is whole for the domain.
func TestFragmentsReachTheDomain(t *testing.T) {
	s, p, _ := newBenchStack(t, noOffloads)
	d := attachDomain(t, s)
	for _, f := range inParts(udpFrame(5000, make([]byte, 100)), 64) {
		s.link.dev.(*port).arrive(f, false)
		p.turn()
	}
	if got := d.received(); len(got) != 1 || got[0] != 128 {
		t.Errorf("packets of %v bytes", got)
	}
}

// TestRefusalsWhenWhole: what is refused in one piece is refused in fragments too, and
// when it was put together, whether there are domains or not.
func TestRefusalsWhenWhole(t *testing.T) {
	for _, tt := range []struct {
		name  string
		frame []byte
		whole counter // 0: passes
		parts counter // 0: they pass
	}{
		{"SYN, small", frame4(header.TCPProtocolNumber, 0, tcpSYN(1)...), rxDropSmallMSS, rxDropFragmentKind},
		{"SYN", frame4(header.TCPProtocolNumber, 0, tcpSYN(1460)...), 0, rxDropFragmentKind},
		{"path MTU, small", frame4(header.ICMPv4ProtocolNumber, 0, append(tooBig4(68), make([]byte, 28)...)...), rxDropSmallMTU, rxDropFragmentKind},
		{"fragment", frame4(header.TCPProtocolNumber, 0x2000, tcpSYN(1460)...), rxDropFragmentKind, rxDropFragmentKind},
		{"datagram", udpFrame(4999, make([]byte, 100)), 0, 0},
	} {
		for _, domain := range []bool{false, true} {
			s, p, _ := newBenchStack(t, noOffloads)
			if domain {
				attachDomain(t, s)
			}
			taken := s.net.Stats().IP.PacketsDelivered.Value
			for _, f := range inParts(tt.frame, 8) {
				s.link.dev.(*port).arrive(f, false)
				p.turn()
			}
			got := s.counters.get(tt.parts)
			if tt.parts == 0 && taken() != 1 || tt.parts != 0 && (got == 0 || taken() != 0) {
				t.Errorf("%s in fragments, beside a domain %v: %d refused, %d taken", tt.name, domain, got, taken())
			}
			before, counted := taken(), s.counters.get(tt.whole)
			s.Port().Input(slices.Clone(tt.frame[ethHeader:]))
			refused := s.counters.get(tt.whole) - counted
			if tt.whole == 0 && taken() != before+1 || tt.whole != 0 && (refused != 1 || taken() != before) {
				t.Errorf("%s, put together, beside a domain %v: %d refused, %d taken", tt.name, domain, refused, taken()-before)
			}
		}
	}
}

// FuzzDomainSends has a domain send any packet, with any wishes: none ends the kernel, and
// what leaves comes from the machine.
func FuzzDomainSends(f *testing.F) {
	from := func(frame []byte) []byte {
		b := slices.Clone(frame[ethHeader:])
		copy(b[12:20], []byte{192, 0, 2, 1, 192, 0, 2, 2})
		return b
	}
	datagram := from(udpFrame(4000, make([]byte, 3000)))
	binary.BigEndian.PutUint16(datagram[ipv4Header:], 5000)
	f.Add(datagram, uint16(20), uint16(6), uint16(0), uint16(0), byte(1))
	f.Add(datagram[:128], uint16(0), uint16(0), uint16(0), uint16(0), byte(0))
	f.Add(from(tcpFrame(1, make([]byte, 5000), header.TCPFlagAck)), uint16(20), uint16(16), uint16(1), uint16(40), byte(3))
	f.Add(from(pingFrom(2)), uint16(20), uint16(2), uint16(0), uint16(0), byte(1))
	six := frame6(uint8(header.UDPProtocolNumber), datagram[ipv4Header:]...)[ethHeader:]
	copy(six[8:24], netip.MustParseAddr("2001:db8::1").AsSlice())
	copy(six[24:40], netip.MustParseAddr("2001:db8::2").AsSlice())
	f.Add(six, uint16(40), uint16(6), uint16(0), uint16(0), byte(1))

	s, _, far := newBenchStack(f, noOffloads)
	d := attachDomain(f, s)
	for protocol, to := range map[tcpip.NetworkProtocolNumber]string{ipv4.ProtocolNumber: "192.0.2.2", ipv6.ProtocolNumber: "2001:db8::2"} {
		if err := s.net.AddStaticNeighbor(cardID, protocol, toAddress(netip.MustParseAddr(to)), tcpip.LinkAddress(theirMAC[:])); err != nil {
			f.Fatal(err)
		}
	}
	s.link.dev.(*port).onTransmit = func(frame []byte, _ *nic.Packet) bool {
		ip := frame[ethHeader:]
		if macAddr(frame[6:12]) != ourMAC {
			f.Errorf("a frame from %x", frame[6:12])
		}
		switch ip[0] >> 4 {
		case 4:
			if a := netip.AddrFrom4([4]byte(ip[12:16])); !s.Port().Local(a) && !a.IsUnspecified() {
				f.Errorf("a packet from %v", a)
			}
		case 6:
			if a := netip.AddrFrom16([16]byte(ip[8:24])); !s.Port().Local(a) && !a.IsUnspecified() && !a.IsLinkLocalUnicast() {
				f.Errorf("a packet from %v", a)
			}
		}
		return true
	}
	batch := nic.NewBatch(pollBudget)
	send := func(t testing.TB, packet []byte, o user.Outgoing) (frames int) {
		o.Length = len(packet)
		if !d.user.Send(&o, func(piece []byte) { packet = packet[copy(piece, packet):] }) {
			t.Fatal("no room")
		}
		d.user.Flush()
		for n := drainPort(far, batch); n > 0; n = drainPort(far, batch) {
			frames += n
			d.sw.Room()
		}
		d.received()
		return frames
	}
	// The control.
	for _, b := range [][]byte{datagram, six} {
		if n := send(f, b, user.Outgoing{Checksum: true, ChecksumStart: len(b) - 3008, ChecksumOffset: 6}); n != 3 {
			f.Fatalf("%d fragments have left", n)
		}
	}
	f.Fuzz(func(t *testing.T, packet []byte, start, offset, segment, headers uint16, flags byte) {
		if len(packet) == 0 || len(packet) > d.user.Longest() {
			return
		}
		// Without the right length nothing else is looked at.
		packet = slices.Clone(packet)
		switch {
		case flags&4 == 0 && len(packet) >= ipv4Header && packet[0]>>4 == 4:
			header.IPv4(packet).SetTotalLength(uint16(len(packet)))
		case flags&4 == 0 && len(packet) >= ipv6Header && packet[0]>>4 == 6:
			header.IPv6(packet).SetPayloadLength(uint16(len(packet) - ipv6Header))
		}
		o := user.Outgoing{
			Checksum: flags&1 != 0, ChecksumStart: int(start), ChecksumOffset: int(offset), HeaderLen: int(headers),
		}
		if flags&2 != 0 {
			o.SegmentSize = int(segment)
		}
		send(t, packet, o)
	})
}

// TestFramesForManyCarryNothingForOne: what is for an address of the machine and comes in a
// frame for a group or for all is nobody's; what is for many still is.
func TestFramesForManyCarryNothingForOne(t *testing.T) {
	everybody := [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	group := [6]byte{0x01, 0x00, 0x5e, 0x00, 0x00, 0x01}
	six := func() []byte {
		b := frame6(17, make([]byte, 28)...)
		binary.BigEndian.PutUint16(b[ethHeader+ipv6Header:], 4000)
		binary.BigEndian.PutUint16(b[ethHeader+ipv6Header+2:], 5000)
		binary.BigEndian.PutUint16(b[ethHeader+ipv6Header+4:], 28)
		return b
	}
	for _, tt := range []struct {
		name    string
		to      [6]byte
		frame   []byte
		domain  int
		dropped uint64
	}{
		{"to the card", ourMAC, udpFrame(5000, make([]byte, 20)), 1, 0},
		{"to all", everybody, udpFrame(5000, make([]byte, 20)), 0, 1},
		{"to a group", group, udpFrame(5000, make([]byte, 20)), 0, 1},
		{"to the host stack", everybody, udpFrame(echoPort, make([]byte, 20)), 0, 1},
		{"TCP", everybody, tcpFrame(1, nil, header.TCPFlagSyn), 0, 1},
		{"IPv6 to the card", ourMAC, six(), 1, 0},
		{"IPv6 to a group", [6]byte{0x33, 0x33, 0, 0, 0, 1}, six(), 0, 1},
		{"to all, in both", everybody, broadcast(udpFrame(5000, make([]byte, 20))), 1, 0},
	} {
		s, p, far := newBenchStack(t, noOffloads)
		d := attachDomain(t, s)
		frame := slices.Clone(tt.frame)
		copy(frame, tt.to[:])
		s.link.dev.(*port).arrive(frame, false)
		p.turn()
		if n, m := len(d.received()), s.link.counters.get(rxDropToAll); n != tt.domain || m != tt.dropped {
			t.Errorf("%s: %d packets came, %d were dropped", tt.name, n, m)
		}
		if n := drainPort(far, nic.NewBatch(4)); n != 0 {
			t.Errorf("%s: %d answers", tt.name, n)
		}
	}
}

// broadcast has a datagram of IPv4 go to all of the network.
func broadcast(frame []byte) []byte {
	ip := header.IPv4(frame[ethHeader:])
	ip.SetDestinationAddress(tcpip.AddrFrom4([4]byte{192, 0, 2, 255}))
	fixIPSum(frame)
	udp := header.UDP(ip[ipv4Header:])
	udp.SetChecksum(0)
	return frame
}

package host

// The host stack beside domains: what a flow switch changes for frames that are not
// theirs.

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip/header"

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
}

// attachDomain gives a stack that was not started a flow switch with a domain.
func attachDomain(t testing.TB, s *Stack) *neighbourDomain {
	t.Helper()
	policy, err := netns.ParsePolicy([]string{"udp/5000", "tcp/5000"}, []string{"udp/*:*"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := arena.NewLayout(arena.Params{Large: 16})
	if err != nil {
		t.Fatal(err)
	}
	memory := arenatest.New(t, l.Size)
	a, err := arena.New(l, memory, 3)
	if err != nil {
		t.Fatal(err)
	}
	d := &neighbourDomain{channel: channel.New(a, 3)}
	d.channel.Owner = 1
	d.sw = flowswitch.New(s.Port(), netns.New(netns.Config{}), func() time.Duration { return s.now() }, 1, 0)
	s.Attach(d.sw)
	local := *s.link.local.Load()
	local.add(toAddress(netip.MustParseAddr("2001:db8::1")))
	s.link.local.Store(&local)
	d.sw.Attach(d.channel, policy)
	t.Cleanup(func() { d.sw.Detach(d.channel) })
	d.user, err = user.New(unsafe.Pointer(memory.Domain()), func() {
		if err := d.sw.Sync(d.channel); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []abi.FlowRequest{
		{Protocol: 17, LocalPort: 5000, Local: netip.IPv4Unspecified().As16()},
		{Protocol: 17, LocalPort: 5000},
		{Protocol: 6, LocalPort: 5000},
		{Protocol: 1, LocalPort: 50, Local: netip.IPv4Unspecified().As16()},
		{Protocol: 58, LocalPort: 50},
	} {
		r.Op = abi.FlowBind
		if errno := d.sw.Flow(d.channel, &r); errno != 0 {
			t.Fatal(r.Protocol, errno)
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

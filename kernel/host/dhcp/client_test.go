package dhcp

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

var mac = [6]byte{0x52, 0x54, 0, 1, 2, 3}

// simulation is a client, its virtual clock and what it was told to do.
type simulation struct {
	t   *testing.T
	c   *Client
	now time.Duration
}

func newSimulation(t *testing.T) *simulation {
	return &simulation{t: t, c: NewClient(mac, "sluice", rand.NewPCG(1, 2))}
}

// request checks that a was a message of the given type and returns it.
func (s *simulation) request(a Action, kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	s.t.Helper()
	m, err := dhcpv4.FromBytes(a.Send)
	if err != nil {
		s.t.Fatalf("%v: no message sent: %v", s.c.State(), err)
	}
	if m.MessageType() != kind {
		s.t.Fatalf("%v: sent %v, want %v", s.c.State(), m.MessageType(), kind)
	}
	return m
}

// timeout advances to the next timeout.
func (s *simulation) timeout() Action {
	s.t.Helper()
	if s.c.Next() == Forever {
		s.t.Fatal("no timeout is set")
	}
	s.now = s.c.Next()
	return s.c.Timeout(s.now)
}

func (s *simulation) reply(m *dhcpv4.DHCPv4, kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) Action {
	s.t.Helper()
	return s.c.Receive(s.now, reply(s.t, m, kind, mods...))
}

func reply(t *testing.T, m *dhcpv4.DHCPv4, kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) []byte {
	t.Helper()
	mods = append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithYourIP(net.IPv4(192, 0, 2, 77)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 0, 2, 1))),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithRouter(net.IPv4(192, 0, 2, 1)),
		dhcpv4.WithDNS(net.IPv4(192, 0, 2, 53)),
		dhcpv4.WithLeaseTime(3600),
	}, mods...)
	r, err := dhcpv4.NewReplyFromRequest(m, mods...)
	if err != nil {
		t.Fatal(err)
	}
	return r.ToBytes()
}

// bind brings the client to Bound.
func (s *simulation) bind() Lease {
	s.t.Helper()
	d := s.request(s.c.LinkUp(s.now), dhcpv4.MessageTypeDiscover)
	r := s.request(s.reply(d, dhcpv4.MessageTypeOffer), dhcpv4.MessageTypeRequest)
	a := s.reply(r, dhcpv4.MessageTypeAck)
	if a.Event != Acquired || s.c.State() != Bound {
		s.t.Fatalf("not bound: %+v in %v", a, s.c.State())
	}
	return a.Lease
}

func TestSelectingToBound(t *testing.T) {
	s := newSimulation(t)
	d := s.request(s.c.LinkUp(0), dhcpv4.MessageTypeDiscover)
	a := s.reply(d, dhcpv4.MessageTypeOffer)
	r := s.request(a, dhcpv4.MessageTypeRequest)
	if a.Unicast.IsValid() {
		t.Error("the request for an offer must be broadcast")
	}
	if got := r.RequestedIPAddress().String(); got != "192.0.2.77" {
		t.Errorf("requested %v", got)
	}
	if got := r.ServerIdentifier().String(); got != "192.0.2.1" {
		t.Errorf("server identifier %v", got)
	}
	if !r.ClientIPAddr.IsUnspecified() {
		t.Errorf("ciaddr %v in REQUESTING", r.ClientIPAddr)
	}
	l := s.reply(r, dhcpv4.MessageTypeAck, dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{5, 0}))).Lease
	if l.Address != netip.MustParsePrefix("192.0.2.77/24") || l.Gateway != netip.MustParseAddr("192.0.2.1") ||
		len(l.DNS) != 1 || l.MTU != 1280 || l.Renew != 30*time.Minute || l.Expire != time.Hour {
		t.Errorf("lease %+v", l)
	}
	if s.c.Next() != 30*time.Minute {
		t.Errorf("T1 at %v", s.c.Next())
	}
}

func TestDiscoverBacksOff(t *testing.T) {
	s := newSimulation(t)
	s.c.LinkUp(0)
	last := s.now
	var pauses []time.Duration
	for range 10 {
		s.request(s.timeout(), dhcpv4.MessageTypeDiscover)
		pauses = append(pauses, s.now-last)
		last = s.now
	}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 64, 64, 64} {
		want *= time.Second
		if d := pauses[i] - want; d < -time.Second || d > time.Second || pauses[i] < want/2 {
			t.Errorf("pause %d is %v, want about %v", i, pauses[i], want)
		}
	}
}

func TestRequestGivesUpAndDiscovers(t *testing.T) {
	s := newSimulation(t)
	d := s.request(s.c.LinkUp(0), dhcpv4.MessageTypeDiscover)
	s.reply(d, dhcpv4.MessageTypeOffer)
	for range requestTries - 1 {
		s.request(s.timeout(), dhcpv4.MessageTypeRequest)
	}
	s.request(s.timeout(), dhcpv4.MessageTypeDiscover)
}

func TestRenewingIsUnicast(t *testing.T) {
	s := newSimulation(t)
	s.bind()
	a := s.timeout()
	r := s.request(a, dhcpv4.MessageTypeRequest)
	if s.c.State() != Renewing || s.now != 30*time.Minute {
		t.Fatalf("%v at %v", s.c.State(), s.now)
	}
	if a.Unicast.String() != "192.0.2.1" || r.ClientIPAddr.String() != "192.0.2.77" {
		t.Errorf("to %v, ciaddr %v", a.Unicast, r.ClientIPAddr)
	}
	if r.RequestedIPAddress() != nil || r.ServerIdentifier() != nil {
		t.Error("RENEWING must not send options 50 and 54")
	}
	s.now += time.Second
	if a := s.reply(r, dhcpv4.MessageTypeAck); a.Event != Refreshed {
		t.Errorf("event %v", a.Event)
	}
	if want := 60 * time.Minute; s.c.Next() != want {
		t.Errorf("next T1 at %v, want %v after the request was sent", s.c.Next(), want)
	}
}

func TestRebindingThenExpiry(t *testing.T) {
	s := newSimulation(t)
	s.bind()
	seen := map[State]int{}
	for range 100 {
		a := s.timeout()
		seen[s.c.State()]++
		if s.c.State() == Rebinding && a.Unicast.IsValid() {
			t.Error("REBINDING must be broadcast")
		}
		if a.Event == Lost {
			if s.now != time.Hour {
				t.Errorf("lost at %v, want at the end of the lease", s.now)
			}
			s.request(a, dhcpv4.MessageTypeDiscover)
			if seen[Renewing] < 3 || seen[Rebinding] < 2 {
				t.Errorf("states seen: %v", seen)
			}
			return
		}
		s.request(a, dhcpv4.MessageTypeRequest)
	}
	t.Fatal("the lease never expired")
}

func TestRebindingAnswered(t *testing.T) {
	s := newSimulation(t)
	s.bind()
	var a Action
	for s.c.State() != Rebinding {
		a = s.timeout()
	}
	r := s.request(a, dhcpv4.MessageTypeRequest)
	if a := s.reply(r, dhcpv4.MessageTypeAck, dhcpv4.WithDNS(net.IPv4(9, 9, 9, 9))); a.Event != Acquired {
		t.Errorf("changed parameters give event %v", a.Event)
	}
}

func TestNakInRenewing(t *testing.T) {
	s := newSimulation(t)
	s.bind()
	r := s.request(s.timeout(), dhcpv4.MessageTypeRequest)
	a := s.reply(r, dhcpv4.MessageTypeNak)
	if a.Event != Lost || s.c.State() != Selecting {
		t.Errorf("%+v in %v", a, s.c.State())
	}
	s.request(a, dhcpv4.MessageTypeDiscover)
}

func TestNakInRequestingWaits(t *testing.T) {
	s := newSimulation(t)
	d := s.request(s.c.LinkUp(0), dhcpv4.MessageTypeDiscover)
	r := s.request(s.reply(d, dhcpv4.MessageTypeOffer), dhcpv4.MessageTypeRequest)
	if a := s.reply(r, dhcpv4.MessageTypeNak); a.Send != nil {
		t.Error("offer and NAK in a row make a loop without a pause")
	}
	s.request(s.timeout(), dhcpv4.MessageTypeDiscover)
}

func TestLinkDownAndUpAsksForTheSameAddress(t *testing.T) {
	s := newSimulation(t)
	s.bind()
	s.now = time.Minute
	s.c.LinkDown()
	if s.c.Next() != time.Hour {
		t.Errorf("with the link down the lease ends at %v", s.c.Next())
	}
	s.now = 2 * time.Minute
	r := s.request(s.c.LinkUp(s.now), dhcpv4.MessageTypeRequest)
	if r.RequestedIPAddress().String() != "192.0.2.77" || r.ServerIdentifier() != nil || !r.ClientIPAddr.IsUnspecified() {
		t.Errorf("INIT-REBOOT request %v", r.Summary())
	}
	if a := s.reply(r, dhcpv4.MessageTypeAck); a.Event != Refreshed {
		t.Errorf("event %v", a.Event)
	}
}

func TestLinkUpInAnotherNetwork(t *testing.T) {
	s := newSimulation(t)
	s.bind()
	s.c.LinkDown()
	r := s.request(s.c.LinkUp(s.now), dhcpv4.MessageTypeRequest)
	a := s.reply(r, dhcpv4.MessageTypeNak)
	if a.Event != Lost {
		t.Errorf("event %v", a.Event)
	}
	s.request(a, dhcpv4.MessageTypeDiscover)
}

func TestLeaseEndsWhileTheLinkIsDown(t *testing.T) {
	s := newSimulation(t)
	s.bind()
	s.c.LinkDown()
	if a := s.timeout(); a.Event != Lost || a.Send != nil || s.c.Next() != Forever {
		t.Errorf("%+v, next %v", a, s.c.Next())
	}
	s.request(s.c.LinkUp(s.now), dhcpv4.MessageTypeDiscover)
}

func TestInfiniteLease(t *testing.T) {
	s := newSimulation(t)
	d := s.request(s.c.LinkUp(0), dhcpv4.MessageTypeDiscover)
	r := s.request(s.reply(d, dhcpv4.MessageTypeOffer), dhcpv4.MessageTypeRequest)
	s.reply(r, dhcpv4.MessageTypeAck, dhcpv4.WithLeaseTime(0xffffffff))
	if s.c.Next() != Forever || s.c.Remaining(1<<50) != Forever {
		t.Errorf("next %v", s.c.Next())
	}
}

func TestMessagesNotOursAreIgnored(t *testing.T) {
	s := newSimulation(t)
	d := s.request(s.c.LinkUp(0), dhcpv4.MessageTypeDiscover)
	for name, mod := range map[string]dhcpv4.Modifier{
		"xid":       dhcpv4.WithTransactionID(dhcpv4.TransactionID{9, 9, 9, 9}),
		"mac":       dhcpv4.WithHwAddr(net.HardwareAddr{1, 2, 3, 4, 5, 6}),
		"address":   dhcpv4.WithYourIP(net.IPv4bcast),
		"loopback":  dhcpv4.WithYourIP(net.IPv4(127, 0, 0, 1)),
		"no server": dhcpv4.WithoutOption(dhcpv4.OptionServerIdentifier),
		"request":   func(m *dhcpv4.DHCPv4) { m.OpCode = dhcpv4.OpcodeBootRequest },
		"no type":   dhcpv4.WithoutOption(dhcpv4.OptionDHCPMessageType),
		"mask":      dhcpv4.WithOption(dhcpv4.OptSubnetMask(net.IPMask{255, 0, 255, 0})),
	} {
		before := s.c.Invalid()
		if a := s.reply(d, dhcpv4.MessageTypeOffer, mod); a.Send != nil || s.c.Invalid() != before+1 {
			t.Errorf("%s: accepted", name)
		}
	}
	if a := s.reply(d, dhcpv4.MessageTypeOffer); a.Send == nil {
		t.Error("the control, an unchanged offer, was not accepted")
	}
}

func TestLeaseTimesAreOrdered(t *testing.T) {
	s := newSimulation(t)
	d := s.request(s.c.LinkUp(0), dhcpv4.MessageTypeDiscover)
	r := s.request(s.reply(d, dhcpv4.MessageTypeOffer), dhcpv4.MessageTypeRequest)
	l := s.reply(r, dhcpv4.MessageTypeAck,
		dhcpv4.WithLeaseTime(0),
		dhcpv4.WithOption(dhcpv4.OptRenewTimeValue(time.Hour)),
		dhcpv4.WithRouter(net.IPv4(10, 0, 0, 1))).Lease
	if l.Expire != leaseMin || l.Renew > l.Rebind || l.Rebind > l.Expire {
		t.Errorf("lease %+v", l)
	}
	if l.Gateway.IsValid() {
		t.Errorf("gateway %v outside of the network was taken", l.Gateway)
	}
}

func FuzzReceive(f *testing.F) {
	s := &simulation{c: NewClient(mac, "sluice", rand.NewPCG(1, 2))}
	a := s.c.LinkUp(0)
	f.Add(a.Send)
	f.Fuzz(func(t *testing.T, payload []byte) {
		c := NewClient(mac, "sluice", rand.NewPCG(1, 2))
		c.LinkUp(0)
		now := time.Duration(0)
		for range 4 {
			// Let it through to the state machine: xid and MAC as expected.
			p := append([]byte(nil), payload...)
			if len(p) > 34 {
				p[0] = 2
				copy(p[4:8], c.xid[:])
				copy(p[28:34], mac[:])
			}
			c.Receive(now, p)
			if l, ok := c.Lease(); ok && (l.Renew > l.Rebind || l.Rebind > l.Expire || !l.Address.Addr().Is4()) {
				t.Fatalf("lease %+v", l)
			}
			if c.Next() < now {
				t.Fatalf("%v: timeout in the past", c.State())
			}
			if c.Next() != Forever {
				now = c.Next()
				c.Timeout(now)
			}
		}
	})
}

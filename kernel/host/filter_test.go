package host

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/faketime"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/options"
	"github.com/sluice-os/sluice/nexus/netif"
)

// filteringPort is a card that leaves out what it is not told to take.
type filteringPort struct {
	*port
	mu     sync.Mutex
	told   bool
	groups [][6]byte
	all    bool
}

func (p *filteringPort) SetGroups(groups [][6]byte, all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told, p.groups, p.all = true, slices.Clone(groups), all
}

// takes says whether the card takes a frame to a link address.
func (p *filteringPort) takes(to [6]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return to[0]&1 == 0 || to == [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} || !p.told || p.all || slices.Contains(p.groups, to)
}

// holds says whether the card was told of exactly these groups, and of those that it always is.
func (p *filteringPort) holds(groups ...[6]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	want := append(groups, [6]byte{0x01, 0, 0x5e, 0, 0, 1}, [6]byte{0x33, 0x33, 0, 0, 0, 1})
	if len(want) != len(p.groups) || p.all {
		return false
	}
	for _, g := range want {
		if !slices.Contains(p.groups, g) {
			return false
		}
	}
	return true
}

// solicited is the link address by which neighbours ask for an address of IPv6 (RFC 4291, section
// 2.7.1): its last three bytes.
func solicited(a netip.Addr) [6]byte {
	b := a.As16()
	return [6]byte{0x33, 0x33, 0xff, b[13], b[14], b[15]}
}

// TestGroupFilter: the card takes frames to groups as long as somebody is in them: stations
// that may be asked for an address, domains, routing; and to any while somebody watches. It
// takes those to a new address before others are asked whether they have it.
func TestGroupFilter(t *testing.T) {
	near, far := newCable(noOffloads, noOffloads)
	card := &filteringPort{port: near}
	var probes atomic.Int32
	near.onTransmit = func(frame []byte, _ *nic.Packet) bool {
		p := frame[ethHeader:]
		// A neighbour solicitation from nowhere asks whether somebody has the address.
		if binary.BigEndian.Uint16(frame[12:]) == 0x86dd && p[6] == 58 && p[40] == 135 && netip.AddrFrom16([16]byte(p[8:24])).IsUnspecified() {
			probes.Add(1)
			if to := [6]byte(frame); !card.takes(to) {
				t.Errorf("an address is asked for before frames to %x are taken, of whoever else asks for it", to)
			}
		}
		return true
	}
	address := netip.MustParsePrefix("2001:db8::7:8:9/64")
	clock := faketime.NewManualClock()
	s, err := New(card, Config{Clock: clock, Log: quiet, IPv6: options.IPv6{Auto: true, Address: address}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	isis := [6]byte{0x01, 0x80, 0xc2, 0, 0, 0x14}
	s.OSI(func([6]byte, []byte) {}, isis)
	if !card.takes([6]byte{0x33, 0x33, 1, 2, 3, 4}) {
		t.Error("a card whose stack has yet to start leaves frames out")
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	mac := near.info.MAC
	static, linkLocal := solicited(address.Addr()), [6]byte{0x33, 0x33, 0xff, mac[3], mac[4], mac[5]} // by EUI-64
	until(t, "the groups of the first addresses", func() bool { return card.holds(isis, static, linkLocal) })

	clock.Advance(time.Second)
	until(t, "both are asked for", func() bool { return probes.Load() == 2 })

	// A prefix of a router: its address ends as the one of the link does, and has the same group.
	near.arrive(routerAdvertisement(far.info.MAC, 1800), false)
	until(t, "an address by the prefix", func() bool {
		f := s.link.filter
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.addresses) == 3
	})
	if !card.holds(isis, static, linkLocal) {
		t.Errorf("groups %x", card.groups)
	}

	port := s.Port()
	group4, group6 := netip.MustParseAddr("239.129.2.3"), netip.MustParseAddr("ff02::fb")
	mac4, mac6 := [6]byte{0x01, 0, 0x5e, 1, 2, 3}, [6]byte{0x33, 0x33, 0, 0, 0, 0xfb}
	for range 2 {
		for _, g := range []netip.Addr{group4, group6} {
			if err := port.Join(g); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !card.holds(isis, static, linkLocal, mac4, mac6) {
		t.Errorf("groups of domains: %x", card.groups)
	}
	// 239.1.2.3 has the link address of 239.129.2.3.
	if err := port.Join(netip.MustParseAddr("239.1.2.3")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		port.Leave(group4)
		port.Leave(group6)
	}
	if !card.holds(isis, static, linkLocal, mac4) {
		t.Errorf("after all but one have left: %x", card.groups)
	}
	port.Leave(netip.MustParseAddr("239.1.2.3"))

	var frames netif.FramePort = &framePort{cardPort{s: s}}
	frames.AllGroups(true)
	s.AllGroups(true)
	frames.AllGroups(false)
	if !card.takes([6]byte{0x01, 2, 3, 4, 5, 6}) {
		t.Error("frames are left out while somebody watches")
	}
	if s.AllGroups(false); !card.holds(isis, static, linkLocal) {
		t.Errorf("after all have left: %x", card.groups)
	}

	// Without a link there are no addresses of routers', nor one of the link: they come again.
	near.setLink(false)
	until(t, "the groups of what is left", func() bool { return card.holds(isis, static) })
	near.setLink(true)
	until(t, "the groups of what has come again", func() bool { return card.holds(isis, static, linkLocal) })
}

// TestGroupFilterWithoutDuplicates: an address that another has is not the machine's, and nor is its
// group.
func TestGroupFilterWithoutDuplicates(t *testing.T) {
	near, _ := newCable(noOffloads, noOffloads)
	card := &filteringPort{port: near}
	address := netip.MustParsePrefix("2001:db8::7:8:9/64")
	near.onTransmit = func(frame []byte, _ *nic.Packet) bool {
		if to := [6]byte(frame); to == solicited(address.Addr()) {
			// Another asks for it too, with a nonce of its own (RFC 7527): two words of it change
			// places, for which the checksum stays right.
			other := bytes.Clone(frame)
			copy(other[6:], theirMAC[:])
			nonce := other[ethHeader+ipv6Header+24+2:]
			copy(nonce, append(slices.Clone(nonce[2:4]), nonce[0], nonce[1]))
			near.arrive(other, false)
		}
		return true
	}
	s := startStack(t, card, Config{IPv6: options.IPv6{Address: address}, Log: quiet})
	until(t, "the address is another's", func() bool {
		mac := near.info.MAC
		return s.config.router.isDuplicate(address.Addr()) && card.holds([6]byte{0x33, 0x33, 0xff, mac[3], mac[4], mac[5]})
	})
}

// TestGroupFilterIsTheStacks: what gVisor takes for its own groups is what the card is told.
func TestGroupFilterIsTheStacks(t *testing.T) {
	near, _ := newCable(noOffloads, noOffloads)
	card := &filteringPort{port: near}
	c := static("192.0.2.1/25")
	c.IPv6.Address = netip.MustParsePrefix("2001:db8::a:1/64")
	s := startStack(t, card, c)
	until(t, "the addresses are there", func() bool {
		info, _ := s.net.SingleNICInfo(cardID) // without tentative ones
		return ready(s) && len(info.ProtocolAddresses) == 3
	})
	candidates := []netip.Addr{
		fromAddress(header.IPv4AllSystems), fromAddress(header.IPv4AllRoutersGroup), fromAddress(header.IGMPv3RoutersAddress),
		fromAddress(header.IPv6AllNodesMulticastAddress), fromAddress(header.IPv6AllRoutersLinkLocalMulticastAddress), fromAddress(header.MLDv2RoutersAddress),
		netip.MustParseAddr("224.0.0.251"), netip.MustParseAddr("ff02::fb"), netip.MustParseAddr("ff02::1:ff0a:2"),
	}
	info, _ := s.net.SingleNICInfo(cardID)
	for _, a := range info.ProtocolAddresses {
		if header.IsV6UnicastAddress(a.AddressWithPrefix.Address) {
			candidates = append(candidates, fromAddress(header.SolicitedNodeAddr(a.AddressWithPrefix.Address)))
		}
	}
	joined := 0
	for _, g := range candidates {
		in, err := s.net.IsInGroup(cardID, toAddress(g))
		if err != nil {
			t.Fatal(g, err)
		}
		if takes := card.takes(multicastMAC(g)); takes != in {
			t.Errorf("gVisor is in %v: %t, and the card takes what is sent there: %t", g, in, takes)
		}
		if in {
			joined++
		}
	}
	if joined != 4 || len(card.groups) != joined {
		t.Errorf("%d groups, and the card was told of %x", joined, card.groups)
	}
}

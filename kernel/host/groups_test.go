package host

import (
	"net/netip"
	"slices"
	"sync"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/netif"
)

// TestGroupsOfDomains: what domains send to many goes to the link address of those, whom
// nobody asks for, and the routers on the link hear of the groups that domains are in.
func TestGroupsOfDomains(t *testing.T) {
	near, _ := newCable(noOffloads, noOffloads)
	var mu sync.Mutex
	var sent [][]byte
	near.onTransmit = func(frame []byte, _ *nic.Packet) bool {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, slices.Clone(frame))
		return true
	}
	c := static("192.0.2.1/25")
	c.IPv6.Address = netip.MustParsePrefix("2001:db8::1/64")
	s := startStack(t, near, c)
	until(t, "the addresses are there", func() bool {
		l := s.link.local.Load()
		return ready(s) && l.has(toAddress(c.IPv4.Address.Addr())) && l.has(toAddress(c.IPv6.Address.Addr()))
	})
	card := s.Port()
	for _, tt := range []struct {
		to  string
		all bool // a broadcast address
		mac string
	}{
		{"224.0.0.251", false, "01:00:5e:00:00:fb"},
		{"239.255.1.2", false, "01:00:5e:7f:01:02"},
		{"ff02::1:2:3:4", false, "33:33:00:03:00:04"},
		{"255.255.255.255", true, "ff:ff:ff:ff:ff:ff"},
		{"192.0.2.127", true, "ff:ff:ff:ff:ff:ff"},
		{"192.0.2.126", false, ""},
		{"192.0.2.255", false, ""},
	} {
		to := netip.MustParseAddr(tt.to)
		if got := card.Broadcast(to); got != tt.all {
			t.Errorf("%v goes to all: %v", to, got)
		}
		answered := false
		if card.Resolve(to, func(ok bool) { answered = ok }); answered != (tt.mac != "") {
			t.Errorf("%v is resolved: %v", to, answered)
		}
		frame := udpFrame(9999, make([]byte, 10))[ethHeader:]
		o := &netif.Outgoing{Head: frame[:28], IP: 20, Transport: 8, Body: [][]byte{frame[28:]}, PayloadLen: 10, Remote: to}
		if to.Is6() {
			frame = make([]byte, 58)
			h := header.IPv6(frame)
			h.Encode(&header.IPv6Fields{PayloadLength: 18, HopLimit: 1, TransportProtocol: 17, SrcAddr: toAddress(c.IPv6.Address.Addr()), DstAddr: toAddress(to)})
			o.Head, o.IP, o.Body = frame[:48], 40, [][]byte{frame[48:]}
		}
		want := netif.Sent
		if tt.mac == "" {
			want = netif.Unknown
		}
		mu.Lock()
		sent = nil
		mu.Unlock()
		if r := card.Output(o, &netif.Hop{}); r != want {
			t.Errorf("%v: result %d, want %d", to, r, want)
		}
		card.Flush(nil)
		mu.Lock()
		found := slices.ContainsFunc(sent, func(f []byte) bool {
			return formatMAC(f[:6]) == tt.mac && (f[ethHeader]>>4 == 6 && f[20] == 17 || f[ethHeader]>>4 == 4 && f[23] == 17)
		})
		mu.Unlock()
		if found != (tt.mac != "") {
			t.Errorf("%v: a frame to %s: %v", to, tt.mac, found)
		}
	}

	// report says whether a report about a group was sent: IGMP's carry it in the message,
	// and so do MLD's.
	report := func(group netip.Addr, kinds ...byte) bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.ContainsFunc(sent, func(f []byte) bool {
			p := f[ethHeader:]
			at := int(p[0]&15) * 4
			if p[0]>>4 == 6 {
				at = 48 // behind the options of a hop
			}
			if at >= len(p) || group.Is4() && (p[0]>>4 != 4 || p[9] != 2) || group.Is6() && p[0]>>4 != 6 {
				return false
			}
			return slices.Contains(kinds, p[at]) && slices.Contains(windows(p[at:], len(group.AsSlice())), string(group.AsSlice()))
		})
	}
	for _, tt := range []struct {
		group         string
		joined, ended []byte
	}{
		// Version 3 of IGMP and version 2 of MLD have one message for both.
		{"239.1.2.3", []byte{0x16, 0x22}, []byte{0x17, 0x22}},
		{"ff02::fb", []byte{131, 143}, []byte{132, 143}},
	} {
		g := netip.MustParseAddr(tt.group)
		for range 2 {
			if err := card.Join(g); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "a report of "+tt.group, func() bool { return report(g, tt.joined...) })
		card.Leave(g)
		if in, err := s.net.IsInGroup(cardID, toAddress(g)); !in {
			t.Errorf("%v is left by one of two: %v", g, err)
		}
		mu.Lock()
		sent = nil
		mu.Unlock()
		card.Leave(g)
		until(t, "the end of "+tt.group, func() bool { return report(g, tt.ended...) })
	}
}

// windows returns all strings of n bytes in b.
func windows(b []byte, n int) (list []string) {
	for i := 0; i+n <= len(b); i++ {
		list = append(list, string(b[i:i+n]))
	}
	return list
}

package host

// What a million of each thing makes the stack hold: frames by the poller, one by one, and what a
// domain may ask for.

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/options"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/userland/channel"
)

// many is how many of each thing arrive, or are asked for: a million with SLUICE_ALL, and else
// enough to pass every bound many times. After half of them what is bounded is full.
func many() int {
	if os.Getenv("SLUICE_ALL") != "" {
		return 1_000_000
	}
	return 10_000
}

var (
	machineLinkLocal = netip.MustParseAddr("fe80::5054:ff:fe00:1")
	allNodes         = netip.MustParseAddr("ff02::1")
	allNodesMAC      = macAddr{0x33, 0x33, 0, 0, 0, 1}
)

// from4 is a packet to the machine from an address that i names, of the whole of IPv4 or of the
// machine's own network.
func from4(near bool, i int, protocol tcpip.TransportProtocolNumber, fragment uint16, message []byte) []byte {
	f := frame4(protocol, fragment, message...)
	ip := header.IPv4(f[ethHeader:])
	binary.BigEndian.PutUint32(ip[12:], 0x40000000|uint32(i))
	if near {
		copy(ip[12:], []byte{192, 0, 2, byte(3 + i%250)})
	}
	ip.SetID(uint16(i))
	fixIPSum(f)
	return f
}

// near6 is the link-local address of neighbour i.
func near6(i int) netip.Addr {
	a := netip.MustParseAddr("fe80::1:0:0:0").As16()
	binary.BigEndian.PutUint32(a[12:], uint32(i)+1)
	return netip.AddrFrom16(a)
}

// icmp6 is a message of ICMPv6 between two addresses of the link.
func icmp6(src, dst netip.Addr, body ...byte) []byte {
	f := frame6(58, body...)
	ip := header.IPv6(f[ethHeader:])
	ip.SetHopLimit(255)
	ip.SetSourceAddress(toAddress(src))
	ip.SetDestinationAddress(toAddress(dst))
	if dst == allNodes {
		copy(f, allNodesMAC[:])
	}
	message := ip.Payload()
	sum := checksum.Checksum(ip[8:40], uint16(len(message))+58)
	binary.BigEndian.PutUint16(message[2:], ^checksum.Checksum(message, sum))
	return f
}

// macOf is an option of NDP with the link address of neighbour i.
func macOf(kind byte, i int) []byte {
	return []byte{kind, 1, 2, 0, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}
}

// arpMessage is a message of ARP that says where neighbour i is.
func arpMessage(op header.ARPOp, i int) []byte {
	f := arpFrom(0)
	a := header.ARP(f[ethHeader:])
	a.SetOp(op)
	copy(a.HardwareAddressSender(), macOf(0, i)[2:])
	copy(a.ProtocolAddressSender(), []byte{192, 0, 2, byte(3 + i%250)})
	if i%2 == 1 {
		binary.BigEndian.PutUint32(a.ProtocolAddressSender(), 0x0a000000|uint32(i))
	}
	return f
}

// announcement is of a router with a prefix, a route, a name server and an MTU of its own. Every
// other one ends what the one before it has begun.
func announcement(i int) []byte {
	lifetime, n := uint16(1800), i/2
	if i%2 == 1 {
		lifetime = 0
	}
	body := []byte{134, 0, 0, 0, 64, 0, byte(lifetime >> 8), byte(lifetime), 0, 0, 0, 0, 0, 0, 0, 0}
	prefix := make([]byte, 32)
	prefix[0], prefix[1], prefix[2], prefix[3] = 3, 4, 64, 0xc0
	binary.BigEndian.PutUint32(prefix[4:], uint32(lifetime)*4)
	binary.BigEndian.PutUint32(prefix[8:], uint32(lifetime)*2)
	copy(prefix[16:], []byte{0x20, 1, 0xd, 0xb8, byte(n >> 16), byte(n >> 8), byte(n), 1})
	route := []byte{24, 2, 64, 0, 0, 0, byte(lifetime >> 8), byte(lifetime), 0x20, 1, 0xd, 0xb9, byte(n >> 16), byte(n >> 8), byte(n), 1}
	server := make([]byte, 24)
	server[0], server[1], server[6], server[7] = 25, 3, byte(lifetime>>8), byte(lifetime)
	copy(server[8:], []byte{0x20, 1, 0xd, 0xb8, byte(n >> 16), byte(n >> 8), byte(n), 53})
	mtu := []byte{5, 1, 0, 0, 0, 0, 5, byte(220 + n%36)}
	body = append(append(append(append(append(body, prefix...), route...), server...), mtu...), macOf(1, n)...)
	return icmp6(near6(n), allNodes, body...)
}

// quoted is a datagram of the machine's to peer i, as an ICMP error has it.
func quoted(i int) []byte {
	ip := from4(false, i, header.UDPProtocolNumber, 0, udpFrame(0, make([]byte, 8))[ethHeader+ipv4Header:])[ethHeader:]
	var src [4]byte
	copy(src[:], ip[12:16])
	copy(ip[12:], []byte{192, 0, 2, 1})
	copy(ip[16:], src[:])
	binary.BigEndian.PutUint16(ip[ipv4Header:], 5000)
	return ip
}

// icmp4 is a message of ICMP from an address that i names.
func icmp4(near bool, i int, message []byte) []byte {
	header.ICMPv4(message).SetChecksum(0)
	header.ICMPv4(message).SetChecksum(^checksum.Checksum(message, 0))
	return from4(near, i, header.ICMPv4ProtocolNumber, 0, message)
}

// TestMillions: whatever arrives a million times, and whatever a domain asks for so often, the
// memory that it takes is bounded: a million hold no more than the first half of them, which is
// not more than what limits.go counts.
func TestMillions(t *testing.T) {
	if !alone(t) {
		return
	}
	near, _ := newCable(noOffloads, noOffloads)
	x := &stranger{t: t, near: near}
	near.onTransmit = func([]byte, *nic.Packet) bool { return false }
	cfg := static("192.0.2.1/24")
	cfg.IPv4.Gateway, cfg.IPv6 = netip.MustParseAddr("192.0.2.2"), options.IPv6{Auto: true}
	s, err := New(near, cfg)
	if err != nil {
		t.Fatal(err)
	}
	x.s = s
	d := attachDomainOf(t, s, arena.Params{})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	until(t, "the addresses", func() bool { return s.hasAddress("192.0.2.1/24") && s.hasAddress(machineLinkLocal.String()+"/64") })
	if err := s.net.AddStaticNeighbor(cardID, ipv4.ProtocolNumber, toAddress(cfg.IPv4.Gateway), tcpip.LinkAddress(theirMAC[:])); err != nil {
		t.Fatal(err)
	}
	wire := func(frame func(i int) []byte) func(int) {
		return func(i int) { x.give(frame(i)) }
	}
	syn := func(near bool, port uint16) func(i int) []byte {
		return func(i int) []byte {
			h := tcpSYN(1460)
			binary.BigEndian.PutUint16(h, uint16(1024+i%60000))
			binary.BigEndian.PutUint16(h[2:], port)
			binary.BigEndian.PutUint32(h[4:], uint32(i))
			f := from4(near, i, header.TCPProtocolNumber, 0, h)
			ip := header.IPv4(f[ethHeader:])
			sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(h)))
			header.TCP(ip.Payload()).SetChecksum(^checksum.Checksum(ip.Payload(), sum))
			return f
		}
	}
	datagram := func(port uint16) []byte {
		m := udpFrame(port, make([]byte, 8))[ethHeader+ipv4Header:]
		header.UDP(m).SetChecksum(0)
		return m
	}
	send := func(remote netip.Addr) {
		b := udpFrame(0, make([]byte, 40))[ethHeader:]
		copy(b[12:], []byte{192, 0, 2, 1})
		copy(b[16:], remote.AsSlice())
		binary.BigEndian.PutUint16(b[ipv4Header:], 5000)
		header.UDP(b[ipv4Header:]).SetChecksum(0)
		header.IPv4(b).SetChecksum(0)
		header.IPv4(b).SetChecksum(^header.IPv4(b).CalculateChecksum())
		o := &channel.Outgoing{Length: len(b)}
		for !d.user.Send(o, func(piece []byte) { copy(piece, b) }) {
			runtime.Gosched()
		}
		d.user.Flush()
	}
	bind := &abi.FlowRequest{Op: abi.FlowBind, Protocol: 6, LocalPort: 5000, Local: netip.IPv4Unspecified().As16()}
	if errno := d.sw.Flow(d.channel, bind); errno != 0 {
		t.Fatal(errno)
	}
	if errno := d.sw.Flow(d.channel, &abi.FlowRequest{Op: abi.FlowListen, Flow: bind.Flow, Generation: bind.Generation}); errno != 0 {
		t.Fatal(errno)
	}
	crowd()
	stats := s.net.Stats()
	neighbours := func() int { return int(s.link.neighbours.generation.Load()) }
	counted := func(c counter) func() int { return func() int { return int(s.counters.get(c)) } }
	dropped := func(r string) func() int {
		return func() (count int) {
			d.sw.Drops(func(name string, n uint64) {
				if name == "flowswitch_drop_"+r {
					count = int(n)
				}
			})
			return count
		}
	}
	connected := 0
	for _, c := range []struct {
		name string
		one  func(i int)
		// shows is what rises by it: it does what it is meant to.
		shows func() int
		// most is what they may hold, in bytes.
		most int
	}{
		{"SYNs to the host stack", wire(syn(false, httpPort)), func() int { return int(stats.TCP.SegmentsSent.Value()) }, s.lim.backlog * endpointBytes},
		{"SYNs of neighbours", wire(syn(true, httpPort)), neighbours, s.lim.backlog*endpointBytes + unresolvedBytes + neighbourEntries*neighbourBytes},
		{"SYNs to a domain", wire(syn(false, 5000)), dropped("rx_half_open_evicted"), 256 << 10},
		{"datagrams to nobody", wire(func(i int) []byte { return from4(false, i, header.UDPProtocolNumber, 0, datagram(6)) }), func() int { return int(stats.UDP.UnknownPortErrors.Value()) }, passing * packetBytes},
		{"first fragments", wire(func(i int) []byte { return from4(false, i, header.UDPProtocolNumber, 0x2000, datagram(7)) }), dropped("rx_fragment_evicted"), s.lim.fragments},
		{"first fragments to a domain", wire(func(i int) []byte { return from4(false, i, header.UDPProtocolNumber, 0x2000, datagram(5000)) }), dropped("rx_fragment_evicted"), s.lim.fragments},
		{"later fragments", wire(func(i int) []byte {
			return from4(false, i, header.ICMPv4ProtocolNumber, uint16(1+i%1000), make([]byte, 600))
		}), dropped("rx_fragment_evicted"), s.lim.fragments},
		{"questions of ARP", wire(func(i int) []byte { return arpMessage(header.ARPRequest, i) }), neighbours, neighbourEntries * neighbourBytes},
		{"answers of ARP", wire(func(i int) []byte { return arpMessage(header.ARPReply, i) }), func() int { return int(stats.ARP.RepliesReceived.Value()) }, neighbourEntries * neighbourBytes},
		{"solicitations", wire(func(i int) []byte {
			body := append(append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, machineLinkLocal.AsSlice()...), macOf(1, i)...)
			return icmp6(near6(i), machineLinkLocal, body...)
		}), neighbours, neighbourEntries * neighbourBytes},
		{"advertisements", wire(func(i int) []byte {
			body := append(append([]byte{136, 0, 0, 0, 0x60, 0, 0, 0}, near6(i).AsSlice()...), macOf(2, i)...)
			return icmp6(near6(i), machineLinkLocal, body...)
		}), func() int { return int(stats.ICMP.V6.PacketsReceived.NeighborAdvert.Value()) }, neighbourEntries * neighbourBytes},
		{"routers", wire(func(i int) []byte { return announcement(2 * i) }), neighbours, routerBytes + neighbourEntries*neighbourBytes},
		{"routes that come and go", wire(announcement), neighbours, routerBytes + neighbourEntries*neighbourBytes},
		{"redirects", wire(func(i int) []byte {
			return icmp4(true, i, append([]byte{5, 1, 0, 0, 192, 0, 2, byte(i)}, quoted(i)...))
		}), func() int { return int(stats.ICMP.V4.PacketsReceived.Redirect.Value()) }, 0},
		{"redirects of IPv6", wire(func(i int) []byte {
			to := netip.MustParseAddr("2001:db8:ffff::1").As16()
			binary.BigEndian.PutUint32(to[8:], uint32(i))
			body := append(append(append([]byte{137, 0, 0, 0, 0, 0, 0, 0}, near6(i).AsSlice()...), to[:]...), macOf(2, i)...)
			return icmp6(near6(0), machineLinkLocal, body...)
		}), func() int { return int(stats.ICMP.V6.PacketsReceived.RedirectMsg.Value()) }, neighbourEntries * neighbourBytes},
		{"path MTUs", wire(func(i int) []byte { return icmp4(false, i, append(tooBig4(uint16(576+i%900)), quoted(i)...)) }), func() int { return int(s.link.paths.count.Load()) }, pathsMax * 256},
		{"echoes of unknown neighbours", wire(func(i int) []byte {
			return icmp4(true, i, append([]byte{8, 0, 0, 0, byte(i >> 8), byte(i), 0, 1}, make([]byte, 600)...))
		}), counted(rxDropUnresolved), unresolvedBytes + neighbourEntries*neighbourBytes},
		{"neighbours that a domain asks for", func(i int) { send(netip.AddrFrom4([4]byte{192, 0, 2, byte(3 + i%250)})) },
			// Which of the two bounds is met first hangs on how long ago others have asked.
			func() int { return counted(txDropUnresolved)() + dropped("tx_neighbours")() },
			unresolvedBytes + neighbourEntries*neighbourBytes},
		{"connections of a domain's to neighbours", func(i int) {
			remote := netip.AddrFrom4([4]byte{192, 0, 2, byte(3 + i%250)})
			r := &abi.FlowRequest{Op: abi.FlowConnect, Protocol: 6, Remote: remote.As16(), RemotePort: uint32(1 + i%60000)}
			if errno := d.sw.Flow(d.channel, r); errno == 0 {
				connected++
				d.sw.Flow(d.channel, &abi.FlowRequest{Op: abi.FlowClose, Flow: r.Flow, Generation: r.Generation})
			} else if errno != syscall.ENOMEM && errno != syscall.EAGAIN && errno != syscall.ENOBUFS && errno != syscall.EADDRNOTAVAIL {
				t.Fatalf("connection %d: %v", i, errno)
			}
		}, func() int { return connected }, unresolvedBytes + neighbourEntries*neighbourBytes + 512*2048},
	} {
		began := time.Now()
		before, shown := live(), c.shows()
		// What is held when all has been looked at: gVisor does so on goroutines of its own.
		held := func(what string, n, most int) (now int) {
			x.settle()
			if !await(func() bool { now = live(); return now <= most }) {
				t.Errorf("%d %s hold %d KiB, want %d at most%s", n, c.name, (now-before)>>10, (most-before)>>10, what)
			}
			return now
		}
		half := many() / 2
		for i := range half {
			c.one(i)
		}
		first := held("", half, before+c.most+noise)
		for i := half; i < many(); i++ {
			c.one(i)
		}
		last := held(fmt.Sprintf(", as %d do", half), many(), min(first+c.most/4, before+c.most)+noise)
		t.Logf("%s: %d hold %d KiB, %d hold %d KiB; %v", c.name, half, (first-before)>>10, many(), (last-before)>>10, time.Since(began))
		if c.shows() <= shown {
			t.Errorf("%s do nothing", c.name)
		}
	}
}

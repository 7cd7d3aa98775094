package suites

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/qemutest/hostile/forge"
)

const (
	// questions are how many the neighbour is asked in one measurement, of which rounds are
	// made beside an attack, and one in between beside a domain that spins. They take a
	// fifth of a second of the machine's: an attack begins with some ten milliseconds that
	// the kernel works for it before its domain has paid for them, which is in its next turns.
	questions, rounds = 7000, 3
	// least is what it must have beside an attack of what it has beside a domain that
	// spins.
	least = 0.7
)

// answered returns the machine's time in which the neighbour answers so many datagrams of
// another domain. Each must be answered.
func (x *hostileWire) answered(t *testing.T) time.Duration {
	t.Helper()
	x.asking.Lock() // nothing else is asked meanwhile
	defer x.asking.Unlock()
	at := len(x.vm.Output())
	x.vm.Command(t, fmt.Sprintf("domain send client ask 10.0.2.15:7 %d", questions))
	took := x.vm.Times(t, at, fmt.Sprintf(`client: ask 10.0.2.15:7 %d in (\d+)us: (.*)`, questions), 1)
	if took[2] != "ok" {
		t.Fatal(took[0])
	}
	return time.Duration(number(t, took[1])) * time.Microsecond
}

// beside is answered beside a domain that spins.
func (x *hostileWire) beside(t *testing.T, spinner string) time.Duration {
	t.Helper()
	at := len(x.vm.Output())
	x.vm.Command(t, "domain start "+spinner)
	x.vm.Times(t, at, spinner+": spinning", 1)
	defer x.vm.Command(t, "domain kill "+spinner)
	return x.answered(t)
}

// median is the middle one.
func median(d []time.Duration) time.Duration { return slices.Sorted(slices.Values(d))[len(d)/2] }

// compare returns what part the neighbour has during an attack, in the median of rounds, of what it
// has beside a domain that spins, in the median of all times that was measured. The machine's clock
// counts instructions.
func (x *hostileWire) compare(t *testing.T, during func() time.Duration) float64 {
	t.Helper()
	var attacked []time.Duration
	for round := range rounds {
		attacked = append(attacked, during())
		if round == 0 {
			x.spins = append(x.spins, x.beside(t, "spin"))
		}
	}
	spinning := median(x.spins)
	r := float64(spinning) / float64(median(attacked))
	t.Logf("%d answers in %v, beside one that spins in %v: %.2f", questions, attacked, spinning, r)
	return r
}

// floods are attacks that last. Each is measured beside the neighbour.
func (x *hostileWire) floods(t *testing.T) {
	x.answered(t) // which warms up
	var alones []time.Duration
	for range rounds {
		alones = append(alones, x.answered(t))
		x.spins = append(x.spins, x.beside(t, "spin"))
	}
	alone, spinning := median(alones), median(x.spins)
	t.Logf("%d answers in %v, beside one that spins in %v", questions, alone, spinning)
	// They and the one that spins have as much; a turn given away costs something.
	if spinning > alone*9/4 {
		t.Errorf("beside one that spins it takes %v, alone %v", spinning, alone)
	}
	withstands := func(t *testing.T, during func() time.Duration) {
		t.Helper()
		if r := x.compare(t, during); r < least {
			t.Errorf("the neighbour has %.2f of what it has beside one that spins, want %.1f", r, least)
		}
	}
	for _, f := range []struct {
		name string
		// reason must be counted, arrive is what it is sent before.
		reason string
		arrive int
	}{
		{name: "doorbell"},
		{name: "forged", reason: "tx_source"},
		{name: "garbage", reason: "tx_bad_version"},
		{name: "fragments", reason: "tx_fragment"},
		{name: "attempts", reason: "tx_syn_rate"},
		{name: "datagrams"},
		{name: "large"},
		{name: "segments"},
		{name: "requests"},
		{name: "refused"},
		{name: "flows"},
		{name: "channels"},
		{name: "hoard", reason: "rx_no_room", arrive: 1000},
		{name: "silence", reason: "rx_no_room", arrive: 1000},
	} {
		t.Run(f.name, func(t *testing.T) {
			before := x.dropped(t)
			withstands(t, func() time.Duration {
				x.run(t)
				x.tell(t, "flood "+f.name, "flooding "+f.name)
				if f.arrive > 0 {
					x.deliver(t, f.arrive)
				}
				defer x.kill(t)
				return x.answered(t)
			})
			if got := rose(before, x.dropped(t)); f.reason != "" && got[f.reason] == 0 {
				t.Errorf("%s was not counted: %v", f.reason, got)
			}
		})
	}
	t.Run("dies", func(t *testing.T) {
		withstands(t, func() time.Duration {
			at := len(x.vm.Output())
			x.vm.Command(t, "domain start mortal")
			x.vm.Times(t, at, `domain ended domain=mortal reason="exited with status 1"`, 4)
			defer x.vm.Command(t, "domain kill mortal")
			return x.answered(t)
		})
	})
	t.Run("pays", x.pays)
	// The controls of the measurement: beside a domain that spins it is what it is, and beside
	// one that may have more of the processor it shows.
	t.Run("spins", func(t *testing.T) {
		if r := x.compare(t, func() time.Duration { return x.beside(t, "spin") }); r < 0.8 || r > 1.25 {
			t.Errorf("the neighbour has %.2f of itself", r)
		}
	})
	t.Run("spins-with-weight", func(t *testing.T) {
		if r := x.compare(t, func() time.Duration { return x.beside(t, "heavy") }); r >= least {
			t.Errorf("the neighbour has %.2f beside one of ten times its weight", r)
		}
	})
}

// pays: what the kernel does for a domain on goroutines of its own is on the domain's account too:
// with what waits for the card, and with what comes back. Beside one that sends segments of 48
// bytes, each of which the peer answers, one that spins has half of the processor.
func (x *hostileWire) pays(t *testing.T) {
	x.asking.Lock() // nothing else runs
	defer x.asking.Unlock()
	at := len(x.vm.Output())
	x.vm.Command(t, "domain start spin")
	x.vm.Times(t, at, "spin: spinning", 1)
	x.run(t)
	x.tell(t, "flood segments", "flooding segments")
	since, before := timesOf(t, x.vm)
	x.vm.Command(t, "top -n 1") // two seconds of the machine's
	now, after := timesOf(t, x.vm)
	share := float64(after["spin"]-before["spin"]) / float64(now-since)
	t.Logf("one that spins has %.2f of the processor", share)
	if share < 0.45 || share > 0.6 {
		t.Errorf("one that spins has %.2f of the processor, want half", share)
	}
	x.kill(t)
	x.vm.Command(t, "domain kill spin")
}

// deliver sends datagrams to the hostile domain's port.
func (x *hostileWire) deliver(t *testing.T, n int) {
	t.Helper()
	c, err := x.peer.Dial(x.vm.Context(), "udp", fmt.Sprintf("10.0.2.15:%d", forge.OwnUDP))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range n {
		if _, err := c.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
}

// wireFrames is how many frames each attack from the wire sends: as many as take a minute in all,
// and a million with SLUICE_ALL. TestMillions in kernel/host has a million of each pass through the
// same code. heapMost is by how much the kernel's live heap may grow by it, in bytes.
const heapMost = 4 << 20

func wireFrames() int {
	if all {
		return 1_000_000
	}
	return 100_000
}

// wireAttack is what is sent again and again, each time with other addresses and numbers.
type wireAttack struct {
	name  string
	frame func(i int) []byte
}

// wireAttacks are those on the kernel's memory.
func wireAttacks() []wireAttack {
	address := func(i int) tcpip.Address { return tcpip.AddrFrom4([4]byte{10, 0, 2, byte(100 + i%150)}) }
	syns := func(port uint16) func(i int) []byte {
		return func(i int) []byte {
			return from4(tcpip.AddrFrom4([4]byte{64, byte(i >> 16), byte(i >> 8), byte(i)}), header.TCPProtocolNumber, uint16(i), 0, tcpSYN(port, false))
		}
	}
	return []wireAttack{
		{"syns", syns(80)}, // to the neighbour, from everywhere
		{"syns-to-the-kernel", syns(9)},
		{"fragments", func(i int) []byte { // the first of each datagram
			return from4(address(i), header.UDPProtocolNumber, uint16(i), 0x2000, udpDatagram(7, false, make([]byte, 600)))
		}},
		{"later-fragments", func(i int) []byte {
			return from4(address(i), header.UDPProtocolNumber, uint16(i), 0x2000|uint16(100+i%1000), make([]byte, 600))
		}},
		{"neighbours", func(i int) []byte {
			arp := make([]byte, header.ARPSize)
			h := header.ARP(arp)
			h.SetIPv4OverEthernet()
			h.SetOp(header.ARPRequest)
			copy(h.HardwareAddressSender(), []byte{2, 0, byte(i >> 16), byte(i >> 8), byte(i), 1})
			copy(h.ProtocolAddressSender(), []byte{10, 0, 2, byte(20 + i%200)})
			copy(h.ProtocolAddressTarget(), machine4.AsSlice())
			return ethernetFrame(header.EthernetBroadcastAddress, header.ARPProtocolNumber, arp)
		}},
		{"neighbours-6", func(i int) []byte {
			target := append(make([]byte, 4), machine6.AsSlice()...)
			return icmp6From(i, header.ICMPv6NeighborSolicit, append(target, 1, 1, 2, 0, byte(i>>16), byte(i>>8), byte(i), 0x77))
		}},
		{"routes", func(i int) []byte { // announcements of as many prefixes and routers
			prefix := make([]byte, 32)
			prefix[0], prefix[1], prefix[2], prefix[3] = 3, 4, 64, 0xc0
			prefix[7], prefix[11] = 200, 200
			copy(prefix[16:], []byte{0x20, 1, 0xd, 0xb8, byte(i >> 16), byte(i >> 8), byte(i), 1})
			body := append([]byte{64, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, prefix...)
			return icmp6From(i, header.ICMPv6RouterAdvert, body)
		}},
	}
}

// fromTheWire attacks the kernel's memory from outside, while the neighbour is asked.
func (x *hostileWire) fromTheWire(t *testing.T) {
	wire := x.vm.Wire(t)
	for _, a := range wireAttacks() {
		t.Run(a.name, func(t *testing.T) {
			before, asked := x.vm.Memory(t, true), x.asked()
			for i := range wireFrames() {
				if err := wire.Send(a.frame(i)); err != nil {
					t.Fatal(err)
				}
			}
			x.peer.Ping(t, x.peer.Address4()) // frames keep their order
			x.await(t, "the neighbour does not answer", func() bool { return x.requests >= asked+5 })
			after := x.vm.Memory(t, true)
			for _, e := range after.Errors(320 << 20) {
				t.Errorf("memory: %s", e)
			}
			if after.HeapInUse > before.HeapInUse+heapMost {
				t.Errorf("the kernel's live heap is %d KiB, %d before", after.HeapInUse>>10, before.HeapInUse>>10)
			}
			t.Logf("the kernel's live heap: %d KiB, %d before", after.HeapInUse>>10, before.HeapInUse>>10)
		})
	}
}

// asked is how many requests the neighbour was sent.
func (x *hostileWire) asked() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.requests
}

// from4 is an IPv4 packet from an address, with an ID and a fragment field.
func from4(src tcpip.Address, protocol tcpip.TransportProtocolNumber, id, field uint16, message []byte) []byte {
	frame := ipv4Frame(protocol, message)
	ip := header.IPv4(frame[header.EthernetMinimumSize:])
	ip.SetSourceAddress(src)
	ip.SetID(id)
	binary.BigEndian.PutUint16(ip[6:], field)
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
	if protocol == header.TCPProtocolNumber {
		h := header.TCP(ip.Payload())
		h.SetChecksum(0)
		sum := header.PseudoHeaderChecksum(protocol, src, ip.DestinationAddress(), uint16(len(h)))
		h.SetChecksum(^checksum.Checksum(h, sum))
	}
	return frame
}

// icmp6From is a message of neighbour i of the link.
func icmp6From(i int, kind header.ICMPv6Type, body []byte) []byte {
	frame := ipv6Frame(header.ICMPv6ProtocolNumber, icmp6(kind, body))
	ip := header.IPv6(frame[header.EthernetMinimumSize:])
	src := tcpip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 9: 1, 12: byte(i >> 24), 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
	ip.SetSourceAddress(src)
	h := header.ICMPv6(ip.Payload())
	h.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: h, Src: src, Dst: ip.DestinationAddress()}))
	return frame
}

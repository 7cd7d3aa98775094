package suites

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/qemutest/hostile/forge"
)

const (
	// questions are how many the neighbour is asked while it is measured.
	questions = 5000
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

// floods are attacks that last. Each is measured beside the neighbour.
func (x *hostileWire) floods(t *testing.T) {
	x.answered(t) // which warms up
	alone := x.answered(t)
	beside := func(t *testing.T, spinner string) time.Duration {
		t.Helper()
		at := len(x.vm.Output())
		x.vm.Command(t, "domain start "+spinner)
		x.vm.Times(t, at, spinner+": spinning", 1)
		defer x.vm.Command(t, "domain kill "+spinner)
		return x.answered(t)
	}
	spinning := beside(t, "spin")
	t.Logf("%d answers in %v, beside one that spins in %v", questions, alone, spinning)
	// They and the one that spins have as much; a turn given away costs something.
	if spinning > alone*9/4 {
		t.Errorf("beside one that spins it takes %v, alone %v", spinning, alone)
	}
	ratio := func(t *testing.T) {
		t.Helper()
		took := x.answered(t)
		r := float64(spinning) / float64(took)
		t.Logf("%d answers in %v, %.2f of what there are beside one that spins", questions, took.Round(time.Millisecond), r)
		if r < least {
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
			x.run(t)
			x.tell(t, "flood "+f.name, "flooding "+f.name)
			if f.arrive > 0 {
				x.deliver(t, f.arrive)
			}
			ratio(t)
			if got := rose(before, x.dropped(t)); f.reason != "" && got[f.reason] == 0 {
				t.Errorf("%s was not counted: %v", f.reason, got)
			}
			x.kill(t)
		})
	}
	t.Run("dies", func(t *testing.T) {
		at := len(x.vm.Output())
		x.vm.Command(t, "domain start mortal")
		x.vm.Times(t, at, `domain ended domain=mortal reason="exited with status 1"`, 3)
		ratio(t)
		x.vm.Times(t, at, `domain ended domain=mortal reason="exited with status 1"`, 10)
		x.vm.Command(t, "domain kill mortal")
	})
	// The controls of the measurement: it is what it was, and beside a domain that may have
	// more of the processor it shows.
	t.Run("spins", func(t *testing.T) {
		if r := float64(spinning) / float64(beside(t, "spin")); r < 0.8 || r > 1.25 {
			t.Errorf("measured again, the neighbour has %.2f beside one that spins", r)
		}
	})
	t.Run("spins-with-weight", func(t *testing.T) {
		if r := float64(spinning) / float64(beside(t, "heavy")); r >= least {
			t.Errorf("the neighbour has %.2f beside one of ten times its weight", r)
		}
	})
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

// wireFrames is how many frames each attack from the wire sends, and heapMost by how much the
// kernel's live heap may grow by it, in bytes.
const (
	wireFrames = 10_000
	heapMost   = 4 << 20
)

// fromTheWire attacks the kernel's memory from outside, while the neighbour is asked.
func (x *hostileWire) fromTheWire(t *testing.T) {
	wire := x.vm.Wire(t)
	address := func(i int) tcpip.Address { return tcpip.AddrFrom4([4]byte{10, 0, 2, byte(100 + i%150)}) }
	for _, a := range []struct {
		name  string
		frame func(i int) []byte
	}{
		{"syns", func(i int) []byte { // to the neighbour, from everywhere
			return from4(tcpip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), header.TCPProtocolNumber, uint16(i), 0, tcpSYN(80, false))
		}},
		{"fragments", func(i int) []byte { // the first of each datagram
			return from4(address(i), header.UDPProtocolNumber, uint16(i), 0x2000, udpDatagram(7, false, make([]byte, 1000)))
		}},
		{"later-fragments", func(i int) []byte {
			return from4(address(i), header.UDPProtocolNumber, uint16(i), 0x2000|uint16(100+i%1000), make([]byte, 1000))
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
			f := ipv6Frame(header.ICMPv6ProtocolNumber, icmp6(header.ICMPv6NeighborSolicit, append(target, 1, 1, 2, 0, 0, byte(i>>8), byte(i), 0x77)))
			return f
		}},
		{"routes", func(i int) []byte { // announcements of as many prefixes and routers
			prefix := make([]byte, 32)
			prefix[0], prefix[1], prefix[2], prefix[3] = 3, 4, 64, 0xc0
			prefix[7], prefix[11] = 200, 200
			copy(prefix[16:], []byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i), 0, 1})
			body := append([]byte{64, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, prefix...)
			return ipv6Frame(header.ICMPv6ProtocolNumber, icmp6(header.ICMPv6RouterAdvert, body))
		}},
	} {
		t.Run(a.name, func(t *testing.T) {
			before, asked := x.vm.Memory(t, true), x.asked()
			for i := range wireFrames {
				if err := wire.Send(a.frame(i)); err != nil {
					t.Fatal(err)
				}
			}
			x.peer.Ping(t, x.peer.Address4()) // frames keep their order
			for x.asked() < asked+5 {
				if x.vm.Context().Err() != nil {
					t.Fatal("the neighbour does not answer")
				}
			}
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
	x.asking.Lock()
	defer x.asking.Unlock()
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
	return frame
}

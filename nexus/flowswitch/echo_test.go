package flowswitch_test

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	pkt "github.com/sluice-os/sluice/nexus/packet"
	user "github.com/sluice-os/sluice/userland/channel"
)

// icmp is a message of ICMP from outside, or of ICMPv6.
func icmp(version int, kind byte, id uint16) []byte {
	m := []byte{kind, 0, 0, 0, byte(id >> 8), byte(id), 0, 1}
	if version == 4 {
		b := append(datagramTo(0, nil)[:20], m...)
		b[3], b[9] = byte(len(b)), pkt.ICMP
		return b
	}
	b := make([]byte, 40, 48)
	b[0], b[5], b[6], b[7] = 0x60, byte(len(m)), pkt.ICMPv6, 255
	from, to := outside6.As16(), machine6.As16()
	copy(b[8:], from[:])
	copy(b[24:], to[:])
	return append(b, m...)
}

// TestEchoes: a domain may ask for echoes under an identifier of its own, which it is
// given when it asks for none. All other messages are the host stack's, whatever a domain
// asks for: requests for echoes, and what IPv6 cannot work without.
func TestEchoes(t *testing.T) {
	for _, version := range []int{4, 6} {
		proto, any, request, reply := uint32(pkt.ICMP), netip.IPv4Unspecified(), byte(8), byte(0)
		peer := outside
		others := []byte{5, 9, 10, 13, 17}
		if version == 6 {
			proto, any, request, reply = pkt.ICMPv6, netip.IPv6Unspecified(), 128, 129
			peer = outside6
			others = []byte{130, 133, 134, 135, 136, 137, 143}
		}
		w := newWorld(t)
		d := w.domain(nil, nil)
		bind := func(id uint32) (abi.FlowRequest, syscall.Errno) {
			return d.request(abi.FlowRequest{Op: abi.FlowBind, Protocol: proto, Local: any.As16(), LocalPort: id})
		}
		given := map[uint32]bool{}
		for range 50 {
			r, errno := bind(0)
			if errno != 0 || r.LocalPort == 0 || given[r.LocalPort] {
				t.Fatalf("version %d: identifier %d, %v", version, r.LocalPort, errno)
			}
			given[r.LocalPort] = true
		}
		r, errno := d.request(abi.FlowRequest{Op: abi.FlowConnect, Protocol: proto, Remote: peer.As16(), RemotePort: 7})
		if errno != 0 || r.LocalPort == 0 || given[r.LocalPort] {
			t.Fatalf("version %d: connected with identifier %d, %v", version, r.LocalPort, errno)
		}
		given[r.LocalPort] = true
		own := uint32(1)
		for given[own] {
			own++
		}
		if _, errno := bind(own); errno != 0 {
			t.Fatal(errno)
		}
		if _, errno := bind(own); errno != syscall.EADDRINUSE {
			t.Errorf("version %d: the same identifier again: %v", version, errno)
		}
		given[own] = true
		for id := range given {
			if !w.arrive(icmp(version, reply, uint16(id))) {
				t.Errorf("version %d: an echo for identifier %d is not the domain's", version, id)
			}
			if w.arrive(icmp(version, request, uint16(id))) {
				t.Errorf("version %d: a request with identifier %d is not the host stack's", version, id)
			}
		}
		if n := len(d.received()); n != len(given) {
			t.Errorf("version %d: %d echoes, want %d", version, n, len(given))
		}
		for _, kind := range append(others, request) {
			for _, id := range []uint16{0, 7, uint16(own)} {
				if w.arrive(icmp(version, kind, id)) {
					t.Errorf("version %d: a message of type %d is not the host stack's", version, kind)
				}
			}
		}
		// Requests leave, answers of its own do not.
		if version == 6 {
			continue
		}
		for kind, leaves := range map[byte]bool{request: true, reply: false, 13: false} {
			b := icmp(version, kind, uint16(own))
			from, to := machine.As4(), outside.As4()
			copy(b[12:], from[:])
			copy(b[16:], to[:])
			binary.BigEndian.PutUint16(b[10:], 0)
			binary.BigEndian.PutUint16(b[10:], ^pkt.SumOf(b[:20]))
			w.sent = nil
			if d.send(b, user.Outgoing{}); (len(w.sent) == 1) != leaves {
				t.Errorf("type %d: %d left, %v", kind, len(w.sent), w.drops())
			}
		}
	}
}

package flowswitch_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	pkt "github.com/sluice-os/sluice/nexus/packet"
	user "github.com/sluice-os/sluice/userland/channel"
)

// datagramTo is a packet of UDP over IPv4 from outside, without a checksum.
func datagramTo(port uint16, data []byte) []byte {
	b := make([]byte, 28, 28+len(data))
	b[0], b[8], b[9] = 0x45, 64, pkt.UDP
	binary.BigEndian.PutUint16(b[2:], uint16(28+len(data)))
	from, to := outside.As4(), machine.As4()
	copy(b[12:], from[:])
	copy(b[16:], to[:])
	binary.BigEndian.PutUint16(b[20:], 4000)
	binary.BigEndian.PutUint16(b[22:], port)
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(data)))
	binary.BigEndian.PutUint16(b[10:], ^pkt.SumOf(b[:20]))
	return append(b, data...)
}

// datagramFrom is one that a domain sends.
func datagramFrom(port uint16, to netip.Addr, data []byte) []byte {
	b := datagramTo(4000, data)
	from, remote := machine.As4(), to.As4()
	copy(b[12:], from[:])
	copy(b[16:], remote[:])
	binary.BigEndian.PutUint16(b[20:], port)
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^pkt.SumOf(b[:20]))
	return b
}

// inParts cuts a packet for an MTU of 1500.
func inParts(b []byte, id uint32) (parts [][]byte) {
	step := pkt.FragmentPayload(4, 1500)
	for offset := 0; offset < len(b)-20; offset += step {
		n := min(step, len(b)-20-offset)
		var room [pkt.FragmentHeaderMax]byte
		head := pkt.Fragment(room[:], b, id, offset, n, offset+n < len(b)-20)
		parts = append(parts, append(slices.Clone(head), b[20+offset:][:n]...))
	}
	return parts
}

// received returns what the domain has received.
func (d *domain) received() (list [][]byte) {
	d.user.Receive(100, func(in *user.Received) { list = append(list, bytes.Join(in.Pieces, nil)) })
	return list
}

// TestFragmentsBecomeDatagrams (reass, reass_default_setting): what arrives in parts, in any
// order, is whole for the domain, and for the host stack when it is nobody's.
func TestFragmentsBecomeDatagrams(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/5000"}, nil)
	if _, errno := d.bind(17, 5000); errno != 0 {
		t.Fatal(errno)
	}
	data := bytes.Repeat([]byte("datagram"), 700)
	for i, port := range []uint16{5000, 5001} {
		whole := datagramTo(port, data)
		parts := inParts(whole, uint32(i+1))
		slices.Reverse(parts)
		for _, part := range parts {
			if !w.arrive(part) {
				t.Fatal("a fragment went to the host stack by itself")
			}
		}
	}
	got := d.received()
	if len(got) != 1 || !bytes.Equal(got[0][28:], data) {
		t.Errorf("the domain has %d packets", len(got))
	}
	if len(w.hosts) != 1 || !bytes.Equal(w.hosts[0][28:], data) {
		t.Errorf("the host stack has %d packets", len(w.hosts))
	}
	if m := w.drops(); len(m) != 0 {
		t.Errorf("%v", m)
	}
}

// TestBadFragments: overlaps and parts without end are dropped and counted, and
// hold no more than their limit.
func TestBadFragments(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/5000"}, nil)
	if _, errno := d.bind(17, 5000); errno != 0 {
		t.Fatal(errno)
	}
	parts := inParts(datagramTo(5000, make([]byte, 5000)), 9)
	overlap := slices.Clone(parts[1])
	overlap[7]-- // 8 bytes earlier
	binary.BigEndian.PutUint16(overlap[10:], 0)
	binary.BigEndian.PutUint16(overlap[10:], ^pkt.SumOf(overlap[:20]))
	for _, part := range [][]byte{parts[0], overlap, parts[1], parts[2], parts[3]} {
		w.arrive(part)
	}
	for i := range uint32(1000) { // first ones of different packets
		w.arrive(inParts(datagramTo(5000, make([]byte, 5000)), 100+i)[0])
	}
	if got := d.received(); len(got) != 0 || len(w.hosts) != 0 {
		t.Errorf("%d packets for the domain, %d for the host", len(got), len(w.hosts))
	}
	m := w.drops()
	if m["flowswitch_drop_rx_fragment_overlap"] == 0 || m["flowswitch_drop_rx_fragment_source"] < 900 {
		t.Errorf("%v", m)
	}
}

// TestCorruptedFragments: a header whose sum is wrong would get a right one with the
// whole.
func TestCorruptedFragments(t *testing.T) {
	for _, at := range []int{-1, 1, 8, 11} { // none, the type of service, the time to live, the sum
		w := newWorld(t)
		d := w.domain([]string{"udp/5000"}, nil)
		if _, errno := d.bind(17, 5000); errno != 0 {
			t.Fatal(errno)
		}
		want, dropped := 1, uint64(0)
		for i, part := range inParts(datagramTo(5000, make([]byte, 2000)), 9) {
			if i == 1 && at >= 0 {
				part[at] ^= 4
				want, dropped = 0, 1
			}
			w.arrive(part)
		}
		if got := d.received(); len(got) != want || w.drops()["flowswitch_drop_rx_header_sum"] != dropped {
			t.Errorf("byte %d changed: %d packets, %v", at, len(got), w.drops())
		}
	}
}

// TestFragmentsOfOthers: only what a domain may own is put together here. The rest is
// the host stack's, which has its own rules for it.
func TestFragmentsOfOthers(t *testing.T) {
	const more = 0x20
	first := func(proto byte, change func(b []byte)) []byte {
		b := datagramTo(5000, make([]byte, 24))
		b[6], b[9] = more, proto
		change(b)
		return b
	}
	later := func(proto byte) []byte { return first(proto, func(b []byte) { b[7] = 1 }) }
	icmp := func(kind byte) func(b []byte) { return func(b []byte) { b[20], b[21] = kind, 0 } }
	six := func(next byte, data ...byte) []byte {
		b := make([]byte, 40, 40+len(data))
		b[0], b[6], b[7] = 0x60, next, 64
		binary.BigEndian.PutUint16(b[4:], uint16(len(data)))
		from, to := outside6.As16(), machine6.As16()
		copy(b[8:], from[:])
		copy(b[24:], to[:])
		return append(b, data...)
	}
	udp := []byte{pkt.UDP, 0, 0, 1, 0, 0, 0, 1, 15, 160, 19, 136, 0, 16, 0, 0}
	none := func([]byte) {}
	options := slices.Insert(first(pkt.UDP, none), 20, 1, 1, 1, 1)
	options[0]++
	options[3] += 4
	for _, tt := range []struct {
		name   string
		packet []byte
		flows  []uint32
		taken  bool
	}{
		{"datagram", first(pkt.UDP, none), []uint32{17}, true},
		{"datagram, later", later(pkt.UDP), []uint32{17}, true},
		{"datagram, with options", options, []uint32{17}, false},
		{"datagram, nobody's", first(pkt.UDP, none), []uint32{1, 6}, false},
		{"datagram, later, nobody's", later(pkt.UDP), []uint32{1, 6}, false},
		{"echo", first(pkt.ICMP, icmp(0)), []uint32{1}, true},
		{"request for an echo", first(pkt.ICMP, icmp(8)), []uint32{1}, true},
		{"echo, later", later(pkt.ICMP), []uint32{1}, true},
		{"echo, nobody's", first(pkt.ICMP, icmp(0)), []uint32{6, 17}, false},
		{"error", first(pkt.ICMP, icmp(3)), []uint32{1, 6, 17}, false},
		{"segment", first(pkt.TCP, func(b []byte) { b[32] = 5 << 4 }), []uint32{1, 6, 17}, false},
		{"segment, later", later(pkt.TCP), []uint32{1, 6, 17}, false},
		{"IPv6", six(44, udp...), []uint32{17}, true},
		{"IPv6, behind options", six(60, append([]byte{44, 0, 1, 4, 0, 0, 0, 0}, udp...)...), []uint32{17}, false},
		{"IPv6, before options", six(44, append([]byte{60, 0, 0, 1, 0, 0, 0, 1, 17, 0, 1, 4, 0, 0, 0, 0}, udp[8:]...)...), []uint32{17}, false},
	} {
		w := newWorld(t)
		d := w.domain([]string{"udp/5000", "tcp/5000"}, nil)
		for _, proto := range tt.flows {
			if _, errno := d.bind(proto, 5000); errno != 0 {
				t.Fatal(proto, errno)
			}
		}
		if got := w.arrive(tt.packet); got != tt.taken {
			t.Errorf("%s: taken: %v", tt.name, got)
		}
	}
}

// TestLongDatagramsLeave (udpfrags): a datagram beyond the MTU is one packet for the card's
// side, which cuts it, and so is a long echo; of TCP it is refused.
func TestLongDatagramsLeave(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/5000"}, []string{"udp/*:*"})
	if _, errno := d.bind(17, 5000); errno != 0 {
		t.Fatal(errno)
	}
	b := datagramFrom(5000, outside, bytes.Repeat([]byte("long"), 1000))
	d.send(b, user.Outgoing{})
	if len(w.sent) != 1 || !bytes.Equal(w.sent[0], b) {
		t.Fatalf("%d packets left: %v", len(w.sent), w.drops())
	}
	b[9] = pkt.ICMP
	b[20], b[21] = 8, 0
	binary.BigEndian.PutUint16(b[24:], 77)
	if _, errno := d.bind(pkt.ICMP, 77); errno != 0 {
		t.Fatal(errno)
	}
	d.send(b, user.Outgoing{})
	if len(w.sent) != 2 || !bytes.Equal(w.sent[1], b) {
		t.Fatalf("%d packets left: %v", len(w.sent), w.drops())
	}
	b[9], b[32] = pkt.TCP, 5<<4
	d.send(b, user.Outgoing{})
	if len(w.sent) != 2 || w.drops()["flowswitch_drop_tx_too_long"] != 1 {
		t.Errorf("%d packets left: %v", len(w.sent), w.drops())
	}
}

// TestErrorsAboutFragments: an ICMP error quotes what this machine has sent. Of a later
// fragment it quotes no ports, but what was sent there.
func TestErrorsAboutFragments(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/5000"}, nil)
	if _, errno := d.bind(17, 5000); errno != 0 {
		t.Fatal(errno)
	}
	for field, taken := range map[uint16]bool{0: true, 0x4000: true, 0x2000: true, 1: false, 0x2001: false, 0x1fff: false} {
		quoted := datagramFrom(5000, outside, nil)
		binary.BigEndian.PutUint16(quoted[6:], field)
		b := datagramTo(0, nil)[:20]
		b = append(append(b, 3, 3, 0, 0, 0, 0, 0, 0), quoted...)
		b[3], b[9] = byte(len(b)), pkt.ICMP
		if got := w.arrive(b); got != taken {
			t.Errorf("quoted with %#x: taken: %v", field, got)
		}
	}
}

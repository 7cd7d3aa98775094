package packet

import (
	"bytes"
	"testing"
)

func TestMarkCE(t *testing.T) {
	packets := map[string][]byte{
		"IPv4":         v4Packet(UDP, 1, 0, nil, make([]byte, 8)),
		"IPv4 options": v4Packet(UDP, 1, 0, []byte{1, 1, 1, 1}, make([]byte, 8)),
		"IPv6":         v6Packet(UDP, nil, make([]byte, 8)),
	}
	for name, plain := range packets {
		for dscp := range 64 {
			for ecn := range uint8(4) {
				b := bytes.Clone(plain)
				setTOS(b, uint8(dscp)<<2|ecn)
				before := bytes.Clone(b)
				got := MarkCE(b)
				if want := ecn != 0; got != want {
					t.Fatalf("%s, TOS %d/%d: %v, want %v", name, dscp, ecn, got, want)
				}
				want := before
				if ecn != 0 {
					want = bytes.Clone(plain)
					setTOS(want, uint8(dscp)<<2|3)
				}
				if !bytes.Equal(b, want) {
					t.Fatalf("%s, TOS %d/%d:\n%x, want\n%x", name, dscp, ecn, b, want)
				}
			}
		}
	}
	for _, b := range [][]byte{nil, {0x45, 1}, make([]byte, 60), packets["IPv4"][:19], packets["IPv6"][:39]} {
		if b = bytes.Clone(b); len(b) > 1 {
			b[1] |= 0x33
		}
		if before := bytes.Clone(b); MarkCE(b) || !bytes.Equal(b, before) {
			t.Errorf("%x was marked", before)
		}
	}
}

// setTOS sets the type of service or traffic class, and computes the checksum anew.
func setTOS(b []byte, tos uint8) {
	if b[0]>>4 == 6 {
		b[0], b[1] = 0x60|tos>>4, tos<<4|b[1]&15
		return
	}
	b[1], b[10], b[11] = tos, 0, 0
	sum := ^naive(b[:int(b[0]&15)*4])
	b[10], b[11] = byte(sum>>8), byte(sum)
}

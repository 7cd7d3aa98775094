package packet

import (
	"bytes"
	"testing"
)

// TestMarkDSCP: every code point, with every mark of congestion, is written where there is none, and
// nothing else changes but the sum, which is right; what has one, and what is no IP, stays.
func TestMarkDSCP(t *testing.T) {
	for dscp := range uint8(64) {
		for tos := range 256 {
			four := append([]byte{0x45, byte(tos), 0, 28, 1, 2, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}, 1, 2, 3, 4)
			sum := ^SumOf(four[:20])
			four[10], four[11] = byte(sum>>8), byte(sum)
			six := append([]byte{0x60 | byte(tos)>>4, byte(tos)<<4 | 0xa, 0xbc, 0xde, 0, 8, 17, 64}, make([]byte, 40)...)
			want := byte(tos)
			if tos < 4 {
				want |= dscp << 2
			}
			four2, six2 := bytes.Clone(four), bytes.Clone(six)
			four2[1], four2[10], four2[11] = want, 0, 0
			sum = ^SumOf(four2[:20])
			four2[10], four2[11] = byte(sum>>8), byte(sum)
			six2[0], six2[1] = 0x60|want>>4, want<<4|0xa
			MarkDSCP(four, dscp)
			MarkDSCP(six, dscp)
			if !bytes.Equal(four, four2) || !bytes.Equal(six, six2) {
				t.Fatalf("%d into %#x: % x and % x, want % x and % x", dscp, tos, four, six, four2, six2)
			}
		}
	}
	for _, b := range [][]byte{nil, {0x45}, make([]byte, 40), {0: 0x45, 18: 0}, {0: 0x60, 38: 0}} {
		was := bytes.Clone(b)
		if MarkDSCP(b, 46); !bytes.Equal(b, was) {
			t.Errorf("% x became % x", was, b)
		}
	}
}

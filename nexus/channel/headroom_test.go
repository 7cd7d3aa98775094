package channel_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
)

// TestHeadroom: a domain may leave a gap in front of what it sends, in each buffer: what is sent
// is what lies behind, and the gap is nobody's.
func TestHeadroom(t *testing.T) {
	const buffer, rest = 2048, 952 // of the packets' second buffers
	for _, gaps := range [][2]uint32{{0, 0}, {1, 0}, {64, 0}, {64, buffer - rest}, {buffer - 1, 7}, {buffer, 0}} {
		t.Run(fmt.Sprint(gaps), func(t *testing.T) {
			x := newPair(t, arena.Params{})
			r := raw{x}
			if !x.submit(content(buffer + rest)) {
				t.Fatal("no room")
			}
			p := r.packet(int(r.slot(abi.RingTx, 0).Index))
			if p.Buflets != 2 {
				t.Fatalf("%d buflets", p.Buflets)
			}
			first := r.buflet(int(p.First))
			second := r.buflet(int(first.Next))
			first.Offset, first.Length = gaps[0], buffer-gaps[0]
			second.Offset, second.Length = gaps[1], rest
			p.Length = first.Length + second.Length
			want := content(int(p.Length))
			left := want
			for i, at := range []uint32{p.First, first.Next} {
				b := x.Arena().Buffer(at)
				for k := range gaps[i] {
					b[k] = 0xee
				}
				n := copy(b[gaps[i]:], left[:[2]uint32{first.Length, second.Length}[i]])
				left = left[n:]
			}
			x.user.Flush()
			if x.err != nil || len(x.sent) != 1 || !bytes.Equal(x.sent[0], want) || len(left) != 0 {
				t.Errorf("%d packets were sent, %v", len(x.sent), x.err)
			}
			if x.Counts().TxBytes != uint64(len(want)) {
				t.Errorf("%d bytes are counted, want %d", x.Counts().TxBytes, len(want))
			}
		})
	}
}

package pipe_test

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"

	"github.com/sluice-os/sluice/nexus/arena"
	user "github.com/sluice-os/sluice/userland/channel"
)

// TestParallel (pllupipe): two domains send and receive at once, many packets of all
// sizes; each arrives once, in order and as it was sent. They wait for events alone: one
// that was missed hangs the test.
func TestParallel(t *testing.T) {
	small := rings(16)
	small.Packets, small.Buffers, small.Large = 32, 48, 8
	for name, c := range map[string]struct {
		p       arena.Params
		packets int
		longest int
	}{
		"large rings": {arena.Params{Large: 64}, 20000, 9000},
		"two slots":   {rings(2), 4000, 9000},
		"small pools": {small, 5000, 30000},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newPipe(t, c.p)
			var wg sync.WaitGroup
			for _, s := range []*side{a, b} {
				wg.Go(func() { s.exchange(c.packets, c.longest) })
			}
			wg.Wait()
			for _, s := range []*side{a, b} {
				s.user.Flush()
				s.fine()
				s.idle()
				if got := s.Counts(); got.RxPackets != uint64(c.packets) || got.TxPackets != got.RxPackets {
					t.Errorf("%+v", got)
				}
			}
		})
	}
}

// exchange sends n packets and receives as many.
func (s *side) exchange(n, longest int) {
	pattern := content(7, longest+8)
	length := func(i int) int { return 8 + i*7919%(longest-8) }
	sent, received := 0, 0
	var p *bytes.Buffer
	for (sent < n || received < n) && s.err == nil && !s.t.Failed() {
		before := sent + received
		for ; sent < n; sent++ {
			size := length(sent)
			number := binary.BigEndian.AppendUint64(nil, uint64(sent))
			p = bytes.NewBuffer(number)
			p.Write(pattern[sent%8:][:size-8])
			if !s.user.Send(&user.Outgoing{Length: size}, func(piece []byte) { p.Read(piece) }) {
				break
			}
		}
		s.user.Receive(32, func(in *user.Received) {
			data := bytes.Join(in.Pieces, nil)
			if len(data) != length(received) || binary.BigEndian.Uint64(data) != uint64(received) || !bytes.Equal(data[8:], pattern[received%8:][:len(data)-8]) {
				s.t.Errorf("packet %d of %d bytes has arrived for number %d", binary.BigEndian.Uint64(data), len(data), received)
			}
			received++
		})
		if sent+received == before {
			// A sync of its own may make room without an event, so there is none
			// between the Send that found no room and the wait.
			<-s.event
			continue
		}
		s.user.Flush()
	}
}

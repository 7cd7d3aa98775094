// This file owns what the fuzz tests of devices have in common: an input that is read as a
// script, and a poller that notices buffers in two hands.

package cardtest

import (
	"testing"

	"github.com/sluice-os/sluice/drivers/nic"
)

// Script is a fuzz input, which is read from its front.
type Script []byte

// Next takes a byte, 0 behind the end.
func (s *Script) Next() byte {
	if len(*s) == 0 {
		return 0
	}
	v := (*s)[0]
	*s = (*s)[1:]
	return v
}

// Take takes n bytes, fewer at the end.
func (s *Script) Take(n int) []byte {
	b := (*s)[:min(n, len(*s))]
	*s = (*s)[len(b):]
	return b
}

// Poller receives frames of a device that may lie, and keeps some.
type Poller struct {
	t       testing.TB
	d       nic.Device
	longest int // bytes that a frame may have
	held    map[uint32]bool
	packets []nic.Packet
	batch   []nic.Packet
}

// NewPoller returns a poller of d, whose frames have at most longest bytes.
func NewPoller(t testing.TB, d nic.Device, longest int) *Poller {
	return &Poller{t: t, d: d, longest: longest, held: map[uint32]bool{}, batch: nic.NewBatch(4)}
}

// Held returns how many buffers the poller has.
func (p *Poller) Held() int { return len(p.held) }

// Receive takes what has arrived. No frame may have a length that it cannot have, or lie in
// a buffer that the poller has.
func (p *Poller) Receive() {
	p.t.Helper()
	n := p.d.Receive(p.batch)
	for _, q := range p.batch[:n] {
		if q.Len < nic.HeaderLen || q.Len > p.longest || q.Len != len(Contents(&q)) {
			p.t.Fatalf("frame of %d bytes", q.Len)
		}
		for _, b := range q.Buffers {
			if p.held[b.ID] {
				p.t.Fatalf("buffer %d was lent twice", b.ID)
			}
			p.held[b.ID] = true
		}
		q.Buffers = append([]nic.Buffer(nil), q.Buffers...)
		p.packets = append(p.packets, q)
	}
}

// Release gives back the oldest n frames, modulo those that the poller has.
func (p *Poller) Release(n byte) {
	some := int(n) % (len(p.packets) + 1)
	for _, q := range p.packets[:some] {
		for _, b := range q.Buffers {
			delete(p.held, b.ID)
		}
	}
	p.d.Release(p.packets[:some])
	p.packets = p.packets[some:]
}

// Pause goes through the poller's wait, which is over at once.
func (p *Poller) Pause() {
	p.d.Arm()
	p.d.Kick()
	p.d.Wait()
	p.d.Disarm()
}

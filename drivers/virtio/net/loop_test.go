// This file owns a card that allocates nothing, for counting allocations and
// for benchmarks.

package net

import (
	"testing"

	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/nic"
)

// loop plays the card one descriptor at a time.
type loop struct{ c *card }

func newLoop(c *card) *loop { return &loop{c} }

// receive hands the driver one frame over n buffers.
func (l *loop) receive(frame []byte, n int) {
	for i := range n {
		head, b := l.c.PopOne(queueReceive)
		off := 0
		if i == 0 {
			header{buffers: uint16(n)}.put(b)
			off = headerBytes
		}
		l.c.Push(queueReceive, head, uint32(off+copy(b[off:], frame)))
	}
	l.c.Flush(queueReceive)
}

// transmit finishes all that is queued.
func (l *loop) transmit() {
	for l.c.Available(queueTransmit) > 0 {
		head, _ := l.c.PopOne(queueTransmit)
		l.c.Push(queueTransmit, head, 0)
	}
	l.c.Flush(queueTransmit)
}

func BenchmarkReceive(b *testing.B) {
	for _, size := range []struct {
		name    string
		buffers int
	}{{"1514", 1}, {"60000", 15}} {
		b.Run(size.name, func(b *testing.B) {
			c := newCard(full)
			d := mustOpen(b, c, Config{})
			l := newLoop(c)
			frame := cardtest.Frame(60, 0)
			cardtest.BenchmarkReceive(b, d, func() { l.receive(frame, size.buffers) })
		})
	}
}

func BenchmarkTransmit(b *testing.B) {
	cardtest.BenchmarkTransmit(b, []int{64, 1514, 60000}, func(b *testing.B) (nic.Device, func()) {
		c := newCard(full)
		return mustOpen(b, c, Config{}), newLoop(c).transmit
	})
}

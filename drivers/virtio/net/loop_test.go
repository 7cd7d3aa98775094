// This file owns a card that allocates nothing, for counting allocations and
// for benchmarks.

package net

import (
	"testing"

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
			batch := nic.NewBatch(16)
			frame := frameOf(60, 0)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += len(batch) {
				b.StopTimer()
				for range batch {
					l.receive(frame, size.buffers)
				}
				b.StartTimer()
				n := d.Receive(batch)
				d.Release(batch[:n])
				if n != len(batch) {
					b.Fatal("frames are missing")
				}
			}
		})
	}
}

func BenchmarkTransmit(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"64", 64}, {"1514", 1514}, {"60000", 60000}} {
		b.Run(size.name, func(b *testing.B) {
			c := newCard(full)
			d := mustOpen(b, c, Config{})
			l := newLoop(c)
			batch := nic.NewBatch(16)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += len(batch) {
				for j := range batch {
					if !d.Reserve(&batch[j], size.n) {
						b.Fatal("no room")
					}
				}
				d.Transmit(batch)
				b.StopTimer()
				l.transmit()
				b.StartTimer()
			}
		})
	}
}

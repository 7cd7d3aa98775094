package net

import (
	"testing"

	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/nic"
)

// FuzzDevice lets arbitrary bytes choose what the device writes: used elements,
// used indexes, raw ring bytes, headers, status. Nothing may panic, no buffer may
// be in two hands at once, and all are somewhere.
func FuzzDevice(f *testing.F) {
	f.Add([]byte{0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 0, 100, 4, 1, 0, 100, 4, 4, 5, 6})
	f.Add([]byte{2, 9, 4, 4, 2, 200, 4, 4})
	f.Add([]byte{3, 0, 1, 0, 1, 0, 0, 0, 60, 0, 0, 0, 4, 4, 7, 4, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newCard(full)
		d := mustOpen(t, c, Config{RxRing: 32, TxRing: 8, TxArena: TxArenaMin})
		script := cardtest.Script(b)
		next := script.Next
		poller := cardtest.NewPoller(t, d, nic.FrameMax)
		batch := nic.NewBatch(1)
		for len(script) > 0 {
			op := next()
			q := int(op >> 4 & 1)
			switch op & 7 {
			case 0: // a frame with an arbitrary header
				if chain, ok := c.Pop(queueReceive); ok {
					n := 0
					for n < headerBytes {
						chain.Segments[0].Bytes[n] = next()
						n++
					}
					c.Push(queueReceive, uint32(chain.Head), uint32(next())*17)
					if op&8 == 0 {
						c.Flush(queueReceive)
					}
				}
			case 1:
				c.Push(q, uint32(next()), uint32(next())*17)
				c.Flush(q)
			case 2:
				c.SetUsedIndex(q, c.UsedIndex(q)+uint16(int8(next())))
			case 3:
				length, off := int(next()), int(next())
				c.WriteUsed(q, off, script.Take(length))
			case 4:
				poller.Receive()
			case 5:
				poller.Release(next())
			case 6:
				if d.Reserve(&batch[0], 1+int(next())<<8) {
					d.Transmit(batch[:1])
				}
			case 7:
				if op&8 == 0 {
					c.NeedReset()
				}
				poller.Pause()
			}
			driver, device, held := d.rx.Owned()
			if held != poller.Held() || driver != d.rx.Idle() {
				t.Fatalf("poller holds %d buffers, %d recorded; driver %d, %d idle", poller.Held(), held, driver, d.rx.Idle())
			}
			if d.recovery.Running() && d.rx.q.Err() == nil && device != d.rx.q.InFlight() {
				t.Fatalf("device holds %d buffers, %d in flight", device, d.rx.q.InFlight())
			}
		}
	})
}

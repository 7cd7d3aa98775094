package e1000

import (
	"testing"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/internal/fakehw"
	"github.com/sluice-os/sluice/drivers/nic"
)

// FuzzDevice lets arbitrary bytes choose what the device writes into the rings, and what
// the poller and the sender do meanwhile. Nothing may panic, no buffer may be in two
// hands at once, and all are somewhere.
func FuzzDevice(f *testing.F) {
	f.Add([]byte{0, 60, 0, 0x03, 0, 4, 4, 5, 4})
	f.Add([]byte{1, 0, 255, 255, 1, 1, 255, 255, 4, 4, 4, 4})
	f.Add([]byte{6, 1, 6, 200, 2, 6, 3, 7, 6, 3, 4, 5, 9, 12, 4})
	f.Add([]byte{3, 0, 0xff, 4, 5, 7, 0, 60, 0, 3, 0, 4, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newCard(&models[len(b)%len(models)])
		d := mustOpen(t, c, Config{RxRing: 32, TxRing: 32, TxArena: TxArenaMin})
		c.spoilt = true
		script := cardtest.Script(b)
		next := script.Next
		poller := cardtest.NewPoller(t, d, rxBuffer)
		batch := nic.NewBatch(1)
		for len(script) > 0 {
			switch op := next(); op & 7 {
			case 0: // a frame with any length and status
				length := int(next()) | int(next())<<8
				c.arrive(frameOf(60, op), uint64(next())<<32|uint64(next())<<40, length)
			case 1: // any word of a descriptor
				slot := uint32(next()) % 32
				r := &d.rx.ring
				if op&8 != 0 {
					r = &d.tx.ring
				}
				r.set(slot, uint64(next())<<12, uint64(next())<<8|uint64(next())<<32|uint64(next()))
			case 2:
				c.transmitQuietly()
			case 3: // registers read as all ones
				c.gone = op&8 == 0
				c.irq.Raise()
				d.Wait()
				d.Arm()
				c.gone = c.gone && op&16 != 0
			case 4:
				poller.Receive()
			case 5:
				poller.Release(next())
			case 6:
				if d.Reserve(&batch[0], 1+int(next())<<8) {
					p := &batch[0]
					p.NeedsChecksum, p.GSO = op&8 != 0, nic.GSOType(op>>4&3)
					p.ChecksumStart, p.ChecksumOffset = uint16(next()), uint16(next())
					p.HeaderLen, p.SegmentSize = uint16(next()), uint16(next())
					d.Transmit(batch[:1])
				}
			case 7:
				if op&8 == 0 {
					d.Blocked(errGone)
				}
				c.setLink(op&16 == 0)
				poller.Pause()
			}
			if driver, device, held := d.rx.Owned(); held != poller.Held() || driver != d.rx.Idle() || device != d.rx.lent {
				t.Fatalf("poller holds %d buffers, %d recorded; driver %d, %d idle; device %d, %d lent",
					poller.Held(), held, driver, d.rx.Idle(), device, d.rx.lent)
			}
			x := &d.tx
			used := 0
			for i := x.done; i != x.given; i++ {
				used += x.lent[i&x.mask()].used
			}
			if x.room+used != len(x.desc)-1 || x.Promised() < 0 || x.Promised() > x.room || x.Used() > len(x.Memory.Bytes) || x.InFlight() != int(x.given-x.done) {
				t.Fatalf("%d descriptors free, %d used, %d promised", x.room, used, x.Promised())
			}
		}
	})
}

// liar is a register file that answers each read with the next word of a fuzz input.
type liar struct{ b []byte }

func (l *liar) Size() uint64           { return windowBytes }
func (l *liar) Read8(uint64) uint8     { panic("8-bit access") }
func (l *liar) Read16(uint64) uint16   { panic("16-bit access") }
func (l *liar) Write8(uint64, uint8)   { panic("8-bit access") }
func (l *liar) Write16(uint64, uint16) { panic("16-bit access") }

func (l *liar) Read32(off uint64) (v uint32) {
	if off%4 != 0 || off >= windowBytes {
		panic("access outside")
	}
	for i := range 4 {
		if len(l.b) > 0 {
			v |= uint32(l.b[0]) << (8 * i)
			l.b = append(l.b[1:], l.b[0]) // around and around
		}
	}
	return v
}

func (l *liar) Write32(off uint64, _ uint32) {
	if off%4 != 0 || off >= windowBytes {
		panic("access outside")
	}
}

// FuzzRegisters lets registers answer anything, a different thing each time: nothing
// may panic or run on.
func FuzzRegisters(f *testing.F) {
	f.Add([]byte{0, 2, 0x08, 0x80, 0x10, 0, 0x34, 0x12})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0xf2, 0x03, 0x00, 0x02})
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64 {
			return
		}
		l := &liar{append([]byte(nil), b...)}
		memory := &fakehw.Allocator{}
		dma := hw.NewDMA(memory, memory)
		irq := fakehw.NewInterrupt()
		now := &cardtest.Clock{}
		d, err := open(l, irq, &models[len(b)%len(models)], "fake", func() {}, dma, Config{MAC: testMAC, RxRing: 8, TxRing: 16, TxArena: TxArenaMin, Now: now.Now, Sleep: now.Sleep})
		if err != nil {
			return
		}
		batch := nic.NewBatch(2)
		for range 32 {
			if d.Receive(batch) != 0 {
				t.Fatal("a frame out of nothing")
			}
			d.Arm()
			d.Kick()
			d.Wait()
			d.Disarm()
			if d.Reserve(&batch[0], 100) {
				d.Transmit(batch[:1])
			}
			d.Counters(func(string, uint64) {})
		}
	})
}

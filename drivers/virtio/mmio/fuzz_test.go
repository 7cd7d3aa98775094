package mmio

import (
	"encoding/binary"
	"testing"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/fakehw"
	"github.com/sluice-os/sluice/drivers/virtio"
	"github.com/sluice-os/sluice/drivers/virtio/internal/fake"
)

// liar is a window of which each read is whatever comes next, so that a register may be another
// at each look.
type liar struct {
	t       *testing.T
	answers []byte
	size    uint64
}

func (r *liar) Size() uint64 { return r.size }

func (r *liar) next(off, width uint64) uint32 {
	if off%width != 0 || off+width > r.size {
		r.t.Fatalf("access of %d bytes at %#x of %#x", width, off, r.size)
	}
	var b [4]byte
	r.answers = r.answers[copy(b[:width], r.answers):]
	return binary.LittleEndian.Uint32(b[:])
}

func (r *liar) Read8(off uint64) uint8       { return uint8(r.next(off, 1)) }
func (r *liar) Read16(off uint64) uint16     { return uint16(r.next(off, 2)) }
func (r *liar) Read32(off uint64) uint32     { return r.next(off, 4) }
func (r *liar) Write8(off uint64, _ uint8)   { r.bounds(off, 1) }
func (r *liar) Write16(off uint64, _ uint16) { r.bounds(off, 2) }
func (r *liar) Write32(off uint64, _ uint32) { r.bounds(off, 4) }
func (r *liar) bounds(off, width uint64) {
	if off%width != 0 || off+width > r.size {
		r.t.Fatalf("access of %d bytes at %#x of %#x", width, off, r.size)
	}
}

// FuzzRegisters has a device answer anything, another thing each time, from its discovery to
// its first interrupts: no access is out of the window, nothing panics or takes for ever.
func FuzzRegisters(f *testing.F) {
	word := func(list ...uint32) (b []byte) {
		for _, v := range list {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		return b
	}
	// Identity; reset; features; FEATURES_OK; size of a queue; ready; generation and more.
	f.Add(word(magic, 1, 2, 0, 0x20, 1, 8, 256, 0, 1, 7, 1, 1, 3, 0, 2), uint16(0x200))
	f.Add(word(magic, 1, 2, 0, 0xffffffff, 0xffffffff, 8, 0xffffffff, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9), uint16(0x100))
	f.Add(word(magic, 0xffffffff, 2, 1, 1, 1, 0), uint16(0x104))
	f.Fuzz(func(t *testing.T, answers []byte, size uint16) {
		r := &liar{t, answers, uint64(size)}
		irq := fakehw.NewInterrupt()
		dev, err := New(r, 0xfeb02e00, irq)
		if err != nil {
			return
		}
		features, err := virtio.Start(dev, 0, nil)
		if err != nil {
			return
		}
		device := fake.New(virtio.DeviceNet, 0, nil) // for its memory
		if q, err := virtio.NewQueue(dev, 0, features, device.DMA, 256, 1); err == nil {
			if q.Enable() == nil {
				virtio.Run(dev)
				q.Add(0, virtio.Segment{Addr: 4096, Len: 1, Writable: true})
				q.Submit()
				q.Used()
			}
			q.Close()
		}
		if dev.Config().Size() >= 8 {
			_ = virtio.ReadConfig(dev, func(c hw.Registers) { c.Read8(7); c.Read16(6); c.Read32(4) })
		}
		irq.Raise()
		dev.Wait()
		if device.Memory.Used() != 0 {
			t.Errorf("%d bytes are lost", device.Memory.Used())
		}
	})
}

package pci

import (
	"testing"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/virtio"
	"github.com/sluice-os/sluice/drivers/virtio/internal/fake"
)

// liar is a window of a card of which each read is whatever comes next.
type liar struct {
	registers
	answers *[]byte
}

func (r liar) next(off, width uint64) (v uint32) {
	r.at(off, width) // panics out of the window
	for i := range min(int(width), len(*r.answers)) {
		v |= uint32((*r.answers)[i]) << (8 * i)
	}
	*r.answers = (*r.answers)[min(int(width), len(*r.answers)):]
	return v
}

func (r liar) Read8(off uint64) uint8   { return uint8(r.next(off, 1)) }
func (r liar) Read16(off uint64) uint16 { return uint16(r.next(off, 2)) }
func (r liar) Read32(off uint64) uint32 { return r.next(off, 4) }

// FuzzRegisters has a device answer anything, another thing each time: no access is out of its
// windows, and nothing panics or takes for ever.
func FuzzRegisters(f *testing.F) {
	// Reset; features; FEATURES_OK; queues and a queue's size; doorbell; generation.
	f.Add([]byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 8, 3, 0, 0, 1, 0, 0, 7, 7})
	f.Add([]byte{0, 255, 255, 255, 255, 255, 255, 255, 255, 8, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4})
	f.Add([]byte{1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 8, 1, 0, 2, 0, 255, 127})
	f.Fuzz(func(t *testing.T, answers []byte) {
		c := newCard()
		dev, err := New(c.function(t), func(phys, size uint64) (hw.Registers, error) {
			r, err := c.mapper(phys, size)
			if err != nil {
				return nil, err
			}
			return liar{r.(registers), &answers}, nil
		}, Interrupts{})
		if err != nil {
			return
		}
		features, err := virtio.Start(dev, 0, nil)
		if err != nil {
			return
		}
		device := fake.New(virtio.DeviceNet, 0, nil) // for its memory
		for number := range queuesMax {
			q, err := virtio.NewQueue(dev, number, features, device.DMA, 256, 1)
			if err != nil {
				continue
			}
			if q.Enable() == nil {
				q.Add(0, virtio.Segment{Addr: 4096, Len: 1, Writable: true})
				q.Submit()
				q.Settle()
				q.Used()
			}
			q.Close()
		}
		if dev.Config().Size() >= 8 {
			_ = virtio.ReadConfig(dev, func(c hw.Registers) { c.Read8(7); c.Read16(6); c.Read32(4) })
		}
		if device.Memory.Used() != 0 {
			t.Errorf("%d bytes are lost", device.Memory.Used())
		}
	})
}

package rng

import (
	"errors"
	"testing"

	"github.com/sluice-os/sluice/drivers/virtio"
	"github.com/sluice-os/sluice/drivers/virtio/internal/fake"
)

// FuzzDevice lets arbitrary bytes choose what the device writes and when: used elements, used
// indexes, raw ring bytes, its status. Nothing may panic; a read gives what it says, and a
// device that only lies is given up.
func FuzzDevice(f *testing.F) {
	f.Add([]byte{0, 0, 16, 0, 1, 7, 4, 4, 4})
	f.Add([]byte{1, 3, 1, 0, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4})
	f.Add([]byte{2, 9, 4, 2, 200, 4, 5, 4, 0, 0, 255, 4})
	f.Add([]byte{3, 8, 4, 255, 255, 255, 255, 255, 255, 255, 255, 4, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &source{Device: fake.New(virtio.DeviceEntropy, virtio.FeatureVersion1|virtio.FeatureEventIndex, nil), written: -1, silent: true}
		d := mustOpen(t, s)
		next := func() byte {
			if len(b) == 0 {
				return 0
			}
			v := b[0]
			b = b[1:]
			return v
		}
		for len(b) > 0 {
			switch next() & 7 {
			case 0: // it answers what was asked, or says so
				if c, ok := s.Pop(0); ok {
					for i := range c.Segments[0].Bytes {
						c.Segments[0].Bytes[i] = byte(i) | 1
					}
					s.Push(0, uint32(c.Head)+uint32(next()&1), uint32(next())*2)
					s.Flush(0)
				}
			case 1:
				s.Push(0, uint32(next()), uint32(next())*17)
				s.Flush(0)
			case 2:
				s.SetUsedIndex(0, s.UsedIndex(0)+uint16(int8(next())))
			case 3:
				n, off := int(next()), int(next())
				n = min(len(b), n)
				s.WriteUsed(0, off, b[:n])
				b = b[n:]
			case 4:
				p := make([]byte, 1+int(next()))
				n, err := d.Read(p)
				if n < 0 || n > len(p) || err == nil && n != len(p) {
					t.Fatalf("read %d of %d, %v", n, len(p), err)
				}
				for _, v := range p[n:] {
					if v != 0 {
						t.Fatal("bytes behind what was read")
					}
				}
				if errors.Is(err, ErrStopped) && s.Status()&virtio.StatusFailed == 0 {
					t.Fatalf("given up, and its status is %#x", s.Status())
				}
			case 5:
				s.NeedReset()
			}
			if s.Resets() > 1+resetsMax {
				t.Fatalf("%d resets", s.Resets())
			}
		}
	})
}

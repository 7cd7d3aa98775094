// Package rng drives virtio entropy devices (virtio 1.2, section 5.4). It needs
// no interrupt and no scheduler, so that it can seed the machine early in boot.
package rng

import (
	"errors"
	"fmt"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/virtio"
)

const (
	queueRequest = 0

	// bufferBytes is how much is asked for at once.
	bufferBytes = 256
	// resetsMax is how often a device that breaks the rules is reset, ever.
	resetsMax = 8
)

var (
	// ErrTimeout reports a device that has not answered yet. The next Read
	// goes on waiting for the same answer.
	ErrTimeout = errors.New("virtio entropy device does not answer")
	// ErrStopped reports a device that has broken the rules too often.
	ErrStopped = errors.New("virtio entropy device is given up")
)

// Device is an open entropy device. Its methods belong to one goroutine at a time.
type Device struct {
	t        virtio.Transport
	q        *virtio.Queue
	memory   hw.Memory
	features uint64
	more     func() bool

	asked  bool // the buffer is lent to the device
	resets int
}

// Open starts the entropy device behind t, which may have been opened without
// an interrupt. While Read waits it calls more, again and again without a pause,
// and gives up when that returns false: more holds the deadline and may yield.
func Open(t virtio.Transport, mem *hw.DMA, more func() bool) (*Device, error) {
	if kind := t.DeviceType(); kind != virtio.DeviceEntropy {
		return nil, fmt.Errorf("virtio-rng at %s: device type %d, want %d (entropy)", t.Location(), kind, virtio.DeviceEntropy)
	}
	d := &Device{t: t, more: more}
	if err := d.open(mem); err != nil {
		// The device must not touch memory that is given back.
		if t.Reset() == nil && d.q != nil {
			d.q.Close()
			if d.memory.Bytes != nil {
				mem.Free(d.memory)
			}
		}
		t.SetStatus(virtio.StatusFailed)
		return nil, fmt.Errorf("virtio-rng at %s: %w", t.Location(), err)
	}
	return d, nil
}

func (d *Device) open(mem *hw.DMA) error {
	var err error
	if d.features, err = virtio.Start(d.t, 0, nil); err != nil {
		return err
	}
	if d.q, err = virtio.NewQueue(d.t, queueRequest, d.features, mem, 2, 1); err != nil {
		return err
	}
	if d.memory, err = mem.Alloc(bufferBytes, hw.FromDevice); err != nil {
		return fmt.Errorf("memory for entropy: %w", err)
	}
	return d.run()
}

func (d *Device) run() error {
	if err := d.q.Enable(); err != nil {
		return err
	}
	virtio.Run(d.t)
	return nil
}

// Read fills p with entropy and returns how much it got: less than len(p) only
// with an error. ErrTimeout leaves the device usable; after a device has broken
// the rules it was reset, and the next Read may work; ErrStopped is final.
func (d *Device) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if d.resets > resetsMax {
			return n, ErrStopped
		}
		got, err := d.request(p[n:])
		n += got
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// request reads once from the device, at most bufferBytes.
func (d *Device) request(p []byte) (int, error) {
	if !d.asked {
		d.asked = d.q.Add(0, virtio.Segment{Addr: d.memory.Bus, Len: bufferBytes, Writable: true})
		d.q.Submit()
	}
	for {
		_, written, ok := d.q.Used()
		if ok {
			d.asked = false
			if written == 0 {
				return 0, d.reset(errors.New("device returned no entropy"))
			}
			b := d.memory.Bytes[:written]
			n := copy(p, b)
			// What was not handed out must not lie about, nor what was.
			clear(b)
			return n, nil
		}
		if err := d.q.Err(); err != nil {
			return 0, d.reset(err)
		}
		if d.t.Status()&virtio.StatusNeedsReset != 0 {
			return 0, d.reset(errors.New("device asks for a reset"))
		}
		if !d.more() {
			return 0, ErrTimeout
		}
	}
}

// reset brings the device back after cause, which it returns, or gives it up.
func (d *Device) reset(cause error) error {
	d.resets++
	if d.resets > resetsMax {
		d.t.SetStatus(virtio.StatusFailed)
		return fmt.Errorf("%w: %w", ErrStopped, cause)
	}
	features, err := virtio.Start(d.t, 0, func(f uint64) uint64 { return f & d.features })
	if err == nil && features != d.features {
		err = fmt.Errorf("features %#x after reset, had %#x", features, d.features)
	}
	if err == nil {
		d.q.Reset()
		d.asked = false
		err = d.run()
	}
	if err != nil {
		d.resets = resetsMax + 1
		d.t.SetStatus(virtio.StatusFailed)
		return fmt.Errorf("%w: %w, after: %w", ErrStopped, err, cause)
	}
	return cause
}

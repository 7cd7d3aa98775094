package rng

import (
	"errors"
	"testing"

	"github.com/sluice-os/sluice/drivers/virtio"
	"github.com/sluice-os/sluice/drivers/virtio/internal/fake"
)

// source is an entropy device that answers from a counter.
type source struct {
	*fake.Device
	value byte
	// written is what it says it wrote, -1 for all; id is added to the head.
	written int
	id      uint32
	silent  bool
}

func newSource() *source {
	s := &source{Device: fake.New(virtio.DeviceEntropy, virtio.FeatureVersion1|virtio.FeatureEventIndex, nil), written: -1}
	s.OnNotify = func(q int) {
		if !s.silent {
			s.serve()
		}
	}
	return s
}

func (s *source) serve() {
	for c, ok := s.Pop(0); ok; c, ok = s.Pop(0) {
		b := c.Segments[0].Bytes
		for i := range b {
			s.value++
			b[i] = s.value
		}
		n := len(b)
		if s.written >= 0 {
			n = s.written
		}
		s.Push(0, uint32(c.Head)+s.id, uint32(n))
		s.Flush(0)
	}
}

// polls returns a callback that allows n polls a call of Read.
func polls(n int) func() bool {
	left := n
	return func() bool {
		left--
		if left <= 0 {
			left = n
			return false
		}
		return true
	}
}

func mustOpen(t *testing.T, s *source) *Device {
	t.Helper()
	d, err := Open(s, s.DMA, polls(10))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// check reads n bytes and expects the counter to go on from first.
func check(t *testing.T, d *Device, n int, first byte) {
	t.Helper()
	p := make([]byte, n)
	if got, err := d.Read(p); got != n || err != nil {
		t.Fatalf("read %d of %d: %v", got, n, err)
	}
	for i, v := range p {
		if v != first+byte(i) {
			t.Fatalf("byte %d is %d, want %d", i, v, first+byte(i))
		}
	}
}

func TestRead(t *testing.T) {
	s := newSource()
	d := mustOpen(t, s)
	check(t, d, 1000, 1)
	check(t, d, 32, 1) // four times 256 have been asked for
	for _, b := range d.memory.Bytes {
		if b != 0 {
			t.Fatal("entropy lies about in device memory")
		}
	}
	if s.Irq.Raised() {
		t.Error("the device interrupted")
	}
	s.written = 7
	check(t, d, 7, 1)
	if n, err := d.Read(nil); n != 0 || err != nil {
		t.Errorf("empty read: %d, %v", n, err)
	}
}

func TestTimeoutLeavesRequest(t *testing.T) {
	s := newSource()
	s.silent = true
	d := mustOpen(t, s)
	p := make([]byte, 16)
	for range 3 {
		if n, err := d.Read(p); n != 0 || !errors.Is(err, ErrTimeout) {
			t.Fatalf("silent device: %d, %v", n, err)
		}
	}
	if s.Available(0) != 1 {
		t.Errorf("%d requests wait, want 1", s.Available(0))
	}
	s.serve()
	check(t, d, 16, 1)
}

func TestLiesEndInReset(t *testing.T) {
	for name, lie := range map[string]func(*source){
		"nothing written": func(s *source) { s.written = 0 },
		"too much":        func(s *source) { s.written = bufferBytes + 1 },
		"unknown id":      func(s *source) { s.id = 9 },
		"needs reset":     func(s *source) { s.silent = true; s.NeedReset() },
		"index runs away": func(s *source) { s.silent = true; s.SetUsedIndex(0, 7) },
		"returned twice": func(s *source) {
			s.OnNotify = func(int) {
				s.OnNotify = func(int) { s.serve() }
				s.Push(0, 0, 16)
				s.Push(0, 0, 16)
				s.Flush(0)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource()
			d := mustOpen(t, s)
			lie(s)
			p := make([]byte, 16)
			if n, err := d.Read(p); n != 0 || err == nil || errors.Is(err, ErrStopped) {
				t.Fatalf("lie: %d, %v", n, err)
			}
			s.written, s.id, s.silent = -1, 0, false
			if s.Resets() != 2 {
				t.Errorf("%d resets", s.Resets())
			}
			s.value = 0
			check(t, d, 16, 1)
		})
	}
}

func TestIncorrigible(t *testing.T) {
	s := newSource()
	d := mustOpen(t, s)
	s.written = 0
	var err error
	for range 2 * resetsMax {
		_, err = d.Read(make([]byte, 1))
	}
	if !errors.Is(err, ErrStopped) || s.Resets() != 1+resetsMax || s.Status()&virtio.StatusFailed == 0 {
		t.Errorf("%v after %d resets, status %#x", err, s.Resets(), s.Status())
	}

	s = newSource()
	d = mustOpen(t, s)
	s.written, s.HangReset = 0, true
	if _, err := d.Read(make([]byte, 1)); !errors.Is(err, ErrStopped) || !errors.Is(err, virtio.ErrResetTimeout) {
		t.Errorf("reset hangs: %v", err)
	}
}

func TestOpenRefusals(t *testing.T) {
	for name, spoil := range map[string]func(*source){
		"network card": func(s *source) { s.Type = virtio.DeviceNet },
		"no queue":     func(s *source) { s.QueueSize = 0 },
		"no memory":    func(s *source) { s.Memory.Limit = 4096 },
		"legacy":       func(s *source) { s.Offered = 0 },
	} {
		s := newSource()
		spoil(s)
		if _, err := Open(s, s.DMA, polls(1)); err == nil || s.Memory.Used() != 0 {
			t.Errorf("%s: %v, %d bytes lost", name, err, s.Memory.Used())
		}
	}
}

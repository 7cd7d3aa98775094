package hw

import (
	"errors"
	"strings"
	"testing"
)

// segments hands out memory at physical addresses of a page each.
type segments struct {
	next uint64
	out  int
	odd  bool // segments are no whole pages
}

func (a *segments) Alloc(size int) (Segment, error) {
	if size > 16*PageSize {
		return Segment{}, errors.New("too much")
	}
	a.next += PageSize
	a.out++
	size = (size + PageSize - 1) &^ (PageSize - 1)
	if a.odd {
		size++
	}
	return Segment{Bytes: make([]byte, size), Phys: a.next}, nil
}

func (a *segments) Free(Segment) { a.out-- }

// bus maps segments far away from where they are.
type bus struct {
	maps, unmaps int
	mapErr, err  error
}

const far = 1 << 40

func (b *bus) Map(s Segment, _ Direction) (uint64, error) {
	if b.mapErr != nil {
		return 0, b.mapErr
	}
	b.maps++
	return far + s.Phys, nil
}

func (b *bus) Unmap(addr uint64, s Segment) error {
	if addr != far+s.Phys {
		panic("unmap of what is not mapped")
	}
	b.unmaps++
	return b.err
}

func TestDMA(t *testing.T) {
	a, b := &segments{}, &bus{}
	d := NewDMA(a, b)
	m, err := d.Alloc(3*PageSize+1, FromDevice)
	if err != nil || m.Bus != far+PageSize || len(m.Bytes) != 4*PageSize {
		t.Fatalf("%d bytes at %#x, %v", len(m.Bytes), m.Bus, err)
	}
	if !d.Translated() {
		t.Error("not translated")
	}
	seen := 0
	d.Each(func(l Memory, way Direction) {
		seen++
		if l.Bus != m.Bus || &l.Bytes[0] != &m.Bytes[0] || way != FromDevice {
			t.Errorf("device reaches %#x %v", l.Bus, way)
		}
	})
	if c := d.Counters(); c != (DMACounters{Maps: 1, Bytes: 4 * PageSize}) || seen != 1 {
		t.Errorf("%+v, %d segments", c, seen)
	}
	d.Free(m)
	if c := d.Counters(); c != (DMACounters{Maps: 1, Unmaps: 1}) || b.unmaps != 1 || a.out != 0 {
		t.Errorf("%+v, %d unmapped, %d segments out", c, b.unmaps, a.out)
	}
	d.Free(m) // a second time it is nobody's
	if b.unmaps != 1 || a.out != 0 {
		t.Errorf("freed twice: %d unmapped, %d segments out", b.unmaps, a.out)
	}
}

// TestDMARevoke takes memory away and keeps it.
func TestDMARevoke(t *testing.T) {
	a, b := &segments{}, &bus{}
	d := NewDMA(a, b)
	m, _ := d.Alloc(1, Both)
	m.Bytes[0] = 7
	s, err := d.Revoke(m)
	if err != nil || s.Phys != PageSize || s.Bytes[0] != 7 || a.out != 1 || b.unmaps != 1 {
		t.Errorf("%+v, %v, %d out, %d unmapped", s.Phys, err, a.out, b.unmaps)
	}
	if _, err := d.Revoke(m); err == nil {
		t.Error("revoked twice")
	}
}

// TestDMAKeepsWhatStaysReachable: memory that could not be taken away from the
// device is given to nobody else.
func TestDMAKeepsWhatStaysReachable(t *testing.T) {
	a, b := &segments{}, &bus{err: errors.New("no answer")}
	d := NewDMA(a, b)
	m, _ := d.Alloc(1, Both)
	d.Free(m)
	if c := d.Counters(); a.out != 1 || c != (DMACounters{Maps: 1, Bytes: PageSize, Kept: PageSize}) {
		t.Errorf("%d segments out, %+v", a.out, c)
	}
}

func TestDMARefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		a    segments
		b    bus
		size int
		want string
	}{
		{"no memory", segments{}, bus{}, 17 * PageSize, "too much"},
		{"no room on the bus", segments{}, bus{mapErr: errors.New("full")}, 1, "4096 bytes of memory for the device: full"},
		{"no whole pages", segments{odd: true}, bus{}, 1, "segment of 4097 bytes"},
	} {
		d := NewDMA(&c.a, &c.b)
		if _, err := d.Alloc(c.size, Both); err == nil || !strings.Contains(err.Error(), c.want) || c.a.out != 0 {
			t.Errorf("%s: %v, %d segments out", c.name, err, c.a.out)
		}
		if c := d.Counters(); c != (DMACounters{}) {
			t.Errorf("%+v", c)
		}
	}
}

func TestBypass(t *testing.T) {
	d := NewDMA(&segments{}, &bus{})
	for range 2 {
		if err := d.Bypass(); err != nil || d.Translated() {
			t.Fatalf("%v, translated %t", err, d.Translated())
		}
	}
	if m, err := d.Alloc(1, Both); err != nil || m.Bus != PageSize {
		t.Errorf("bus address %#x, %v, want the physical one", m.Bus, err)
	}
	if err := d.Bypass(); err != nil {
		t.Errorf("once more: %v", err)
	}
	d = NewDMA(&segments{}, &bus{})
	if _, err := d.Alloc(1, Both); err != nil {
		t.Fatal(err)
	}
	if err := d.Bypass(); err == nil || !d.Translated() {
		t.Error("a device with memory on its bus goes past it")
	}
}

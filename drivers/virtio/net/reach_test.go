package net

import (
	"reflect"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/rxq"
	"github.com/sluice-os/sluice/drivers/nic"
)

// TestOneLookupServesASegment: bus addresses are looked up when a segment is
// mapped, not for the buffers in it, nor for frames, nor when the card is reset.
func TestOneLookupServesASegment(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{})
	segments, rx := 0, 0
	c.DMA.Each(func(m hw.Memory, way hw.Direction) {
		segments++
		if len(m.Bytes)%hw.PageSize != 0 || m.Bus%hw.PageSize != 0 {
			t.Errorf("segment of %d bytes at %#x", len(m.Bytes), m.Bus)
		}
		if way == hw.FromDevice {
			rx++
		}
	})
	// Receive buffers, the arena, three rings, two indirect tables, control.
	buffers := d.rx.Len()
	if want := buffers * DefaultRxBuffer / rxq.Chunk; rx != want || segments != want+1+3+2+1 {
		t.Fatalf("%d segments, %d of them for %d receive buffers", segments, rx, buffers)
	}
	if n := c.DMA.Counters().Maps; n != uint64(segments) {
		t.Fatalf("%d lookups for %d segments", n, segments)
	}
	batch := nic.NewBatch(1)
	for range 3 * buffers {
		if !c.deliver(header{}, frameOf(60, 1)) || d.Receive(batch) != 1 {
			t.Fatal("a frame was lost")
		}
		d.Release(batch)
		send(t, d, frameOf(60, 2))
		c.transmitAll()
	}
	d.recovery.Ask(resetNeedsReset, errNeedsReset)
	d.Receive(batch)
	works(t, d, c)
	if n := c.DMA.Counters().Maps; n != uint64(segments) {
		t.Errorf("%d lookups after %d frames and a reset, want %d", n, 6*buffers, segments)
	}
}

// TestMetadataOutOfReach compares the ranges that the device was given with where
// the driver keeps what it decides by: no byte of that is in reach, and of a
// packet only the frame is.
func TestMetadataOutOfReach(t *testing.T) {
	c := newCard(full)
	d := mustOpen(t, c, Config{})
	var reach []place
	c.DMA.Each(func(m hw.Memory, way hw.Direction) {
		start := uintptr(unsafe.Pointer(unsafe.SliceData(m.Bytes)))
		reach = append(reach, place{way.String(), start, start + uintptr(len(m.Bytes))})
	})
	inside := func(start, end uintptr) bool {
		for _, r := range reach {
			if start < r.end && r.start < end {
				return true
			}
		}
		return false
	}
	batch := nic.NewBatch(2)
	if !c.deliver(header{}, frameOf(60, 1)) || d.Receive(batch[:1]) != 1 || !d.Reserve(&batch[1], 60) {
		t.Fatal("no frame")
	}
	// The books are of other packages, so they are looked for by name.
	array := func(name string, books any, field string) place {
		v := reflect.ValueOf(books).Elem().FieldByName(field)
		return placeOf(name, v.UnsafePointer(), uintptr(v.Cap())*v.Type().Elem().Size())
	}
	private := []place{
		placeOf("device", unsafe.Pointer(d), unsafe.Sizeof(*d)),
		array("receive buffers' owners", &d.rx.Buffers, "all"),
		array("idle receive buffers", &d.rx.Buffers, "idle"),
		array("frames on their way out", &d.tx.Frames, "places"),
		placeOf("packets", unsafe.Pointer(&batch[0]), uintptr(len(batch))*unsafe.Sizeof(batch[0])),
	}
	for i := range batch {
		b := batch[i].Buffers
		private = append(private, placeOf("buffers of a packet", unsafe.Pointer(&b[0]), uintptr(cap(b))*unsafe.Sizeof(b[0])))
		// The control: this search finds what is in reach.
		frame := placeOf("frame", unsafe.Pointer(&b[0].Bytes[0]), uintptr(len(b[0].Bytes)))
		if !inside(frame.start, frame.end) {
			t.Errorf("the frame of packet %d is not in reach", i)
		}
	}
	for _, p := range private {
		if inside(p.start, p.end) {
			t.Errorf("%s is in the device's reach", p.name)
		}
	}
}

// place is a range of the CPU's addresses.
type place struct {
	name       string
	start, end uintptr
}

func placeOf(name string, p unsafe.Pointer, n uintptr) place {
	return place{name, uintptr(p), uintptr(p) + n}
}

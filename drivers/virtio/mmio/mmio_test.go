package mmio

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/drivers/internal/fakehw"
	"github.com/sluice-os/sluice/drivers/virtio"
)

// registers is a window with plain memory behind it, but for the registers that
// behave otherwise. writes records all that was written.
type registers struct {
	values map[uint64]uint32
	size   uint64
	writes []string

	features   [2]uint32 // by selector
	hangReset  bool
	interrupts []uint32 // what InterruptStatus reads, one after the other
	pending    uint32
}

func newRegisters() *registers {
	return &registers{size: 0x200, values: map[uint64]uint32{
		regMagic: magic, regVersion: versionModern, regDeviceID: 1, regQueueNumMax: 256, regConfigGeneration: 3,
		regConfig: 0x44332211, regConfig + 4: 0x88776655,
	}}
}

func (r *registers) Size() uint64 { return r.size }

func (r *registers) Read32(off uint64) uint32 {
	if off%4 != 0 || off+4 > r.size {
		panic(fmt.Sprintf("read at %#x", off))
	}
	switch off {
	case regDeviceFeatures:
		return r.features[r.values[regDeviceFeaturesSel]]
	case regInterruptStatus:
		if r.pending == 0 && len(r.interrupts) > 0 {
			r.pending, r.interrupts = r.interrupts[0], r.interrupts[1:]
		}
		return r.pending
	}
	return r.values[off]
}

func (r *registers) Write32(off uint64, v uint32) {
	r.writes = append(r.writes, fmt.Sprintf("%03x=%x", off, v))
	switch {
	case off == regStatus && v == 0 && r.hangReset:
	case off == regInterruptACK:
		r.pending &^= v
	default:
		r.values[off] = v
	}
}

func (r *registers) Read8(off uint64) uint8   { return uint8(r.Read32(off&^3) >> (8 * (off & 3))) }
func (r *registers) Read16(off uint64) uint16 { return uint16(r.Read32(off&^3) >> (8 * (off & 2))) }
func (r *registers) Write8(off uint64, v uint8) {
	r.writes = append(r.writes, fmt.Sprintf("%03x:%x", off, v))
}
func (r *registers) Write16(off uint64, v uint16) {
	r.writes = append(r.writes, fmt.Sprintf("%03x:%x", off, v))
}

func TestNew(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*registers)
		is    error
		want  string
	}{
		"good":          {func(r *registers) {}, nil, ""},
		"other magic":   {func(r *registers) { r.values[regMagic] = 0xffffffff }, virtio.ErrNoDevice, "magic 0xffffffff"},
		"empty slot":    {func(r *registers) { r.values[regDeviceID] = 0 }, virtio.ErrNoDevice, "empty"},
		"empty legacy":  {func(r *registers) { r.values[regDeviceID] = 0; r.values[regVersion] = 1 }, virtio.ErrNoDevice, "empty"},
		"legacy":        {func(r *registers) { r.values[regVersion] = 1 }, virtio.ErrLegacy, "-global virtio-mmio.force-legacy=false"},
		"version 3":     {func(r *registers) { r.values[regVersion] = 3 }, nil, "version 3"},
		"narrow window": {func(r *registers) { r.size = 0xfc }, nil, "0xfc bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegisters()
			c.spoil(r)
			dev, err := New(r, 0xfeb02e00, nil)
			if c.want == "" {
				if err != nil || dev.DeviceType() != virtio.DeviceNet || dev.Location() != "mmio@feb02e00" {
					t.Errorf("%v, %+v", err, dev)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func mustNew(t *testing.T, r *registers, irq fakehw.Interrupt) *Transport {
	t.Helper()
	dev, err := New(r, 0xfeb02e00, irq)
	if err != nil {
		t.Fatal(err)
	}
	r.writes = nil
	return dev
}

func TestFeaturesAndQueues(t *testing.T) {
	r := newRegisters()
	r.features = [2]uint32{0x11, 0x22}
	dev := mustNew(t, r, nil)
	if f := dev.DeviceFeatures(); f != 0x22_0000_0011 {
		t.Errorf("features %#x", f)
	}
	r.writes = nil
	dev.SetDriverFeatures(0x44_0000_0033)
	if want := []string{"024=0", "020=33", "024=1", "020=44"}; !slices.Equal(r.writes, want) {
		t.Errorf("wrote %v, want %v", r.writes, want)
	}
	if dev.QueueMax(1) != 256 {
		t.Errorf("queue max %d", dev.QueueMax(1))
	}
	r.writes = nil
	a := virtio.QueueAddresses{Size: 128, Desc: 0x1_0000_1000, Driver: 0x2_0000_2000, Device: 0x3_0000_3000}
	if err := dev.EnableQueue(1, a); err != nil {
		t.Fatal(err)
	}
	dev.Notify(1)
	want := []string{"030=1", "038=80", "080=1000", "084=1", "090=2000", "094=2", "0a0=3000", "0a4=3", "044=1", "050=1"}
	if !slices.Equal(r.writes, want) {
		t.Errorf("wrote %v,\nwant  %v", r.writes, want)
	}
	if err := dev.EnableQueue(1, a); err == nil {
		t.Error("queue enabled twice")
	}
}

func TestStatusAndReset(t *testing.T) {
	r := newRegisters()
	dev := mustNew(t, r, nil)
	dev.SetStatus(11)
	if dev.Status() != 11 {
		t.Errorf("status %d", dev.Status())
	}
	if err := dev.Reset(); err != nil || dev.Status() != 0 {
		t.Errorf("reset: %v, status %d", err, dev.Status())
	}
	dev.SetStatus(11)
	r.hangReset = true
	if err := dev.Reset(); !errors.Is(err, virtio.ErrResetTimeout) {
		t.Errorf("hanging reset: %v", err)
	}
}

func TestConfig(t *testing.T) {
	r := newRegisters()
	dev := mustNew(t, r, nil)
	c := dev.Config()
	if c.Size() != 0x100 || c.Read8(1) != 0x22 || c.Read16(6) != 0x8877 || c.Read32(4) != 0x88776655 || dev.ConfigGeneration() != 3 {
		t.Errorf("config of %#x bytes reads wrong", c.Size())
	}
	c.Write8(1, 1)
	c.Write16(2, 2)
	c.Write32(4, 4)
	if want := []string{"101:1", "102:2", "104=4"}; !slices.Equal(r.writes, want) {
		t.Errorf("wrote %v, want %v", r.writes, want)
	}
}

// TestWait acknowledges until the line is low, whatever came up meanwhile.
func TestWait(t *testing.T) {
	for _, c := range []struct {
		interrupts []uint32
		changed    bool
		left       int
	}{
		{nil, false, 0}, {[]uint32{1}, false, 0}, {[]uint32{2}, true, 0}, {[]uint32{1, 2}, true, 0}, {[]uint32{3, 1, 1}, true, 0},
		// A line that never drops must not hold the poller.
		{slices.Repeat([]uint32{1}, 1000), false, 1000 - acknowledgePolls},
	} {
		r := newRegisters()
		irq := fakehw.NewInterrupt()
		dev := mustNew(t, r, irq)
		r.interrupts = c.interrupts
		dev.Kick()
		if dev.Wait() != c.changed || len(r.interrupts) != c.left || r.pending != 0 {
			t.Errorf("%d interrupts: %d left, pending %d", len(c.interrupts), len(r.interrupts), r.pending)
		}
	}
	mustNew(t, newRegisters(), nil).Kick()
}

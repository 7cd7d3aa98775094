// This file owns the vendor capabilities that say in which BAR the registers
// of a virtio device lie (virtio 1.2, section 4.1.4).

package pci

import (
	"errors"
	"fmt"

	"github.com/sluice-os/sluice/drivers/hw"
	bus "github.com/sluice-os/sluice/drivers/pci"
	"github.com/sluice-os/sluice/drivers/virtio"
)

// Types of capabilities (cfg_type).
const (
	capCommon = 1
	capNotify = 2
	capISR    = 3
	capDevice = 4
)

// Fields of struct virtio_pci_cap, in bytes from the capability's start.
const (
	capLen          = 2
	capType         = 3
	capBAR          = 4
	capOffset       = 8
	capLength       = 12
	capBytes        = 16
	capNotifyStride = 16
	capNotifyBytes  = 20
)

// window is where a capability says that a structure lies.
type window struct {
	found  bool
	bar    int
	offset uint64
	length uint64
	stride uint32 // of the notify structure
}

// windows are the first of each type.
type windows struct{ common, notify, isr, device window }

// findWindows returns the windows that the capabilities name.
func findWindows(f *bus.Function) (found windows) {
	for _, c := range f.Capabilities() {
		if c.ID != bus.CapVendor || f.Read8(c.Offset+capLen) < capBytes {
			continue
		}
		var w *window
		switch f.Read8(c.Offset + capType) {
		case capCommon:
			w = &found.common
		case capNotify:
			if f.Read8(c.Offset+capLen) < capNotifyBytes || int(c.Offset)+capNotifyBytes > bus.ConfigBytes {
				continue
			}
			w = &found.notify
		case capISR:
			w = &found.isr
		case capDevice:
			w = &found.device
		}
		if w == nil || w.found || int(c.Offset)+capBytes > bus.ConfigBytes {
			continue
		}
		*w = window{
			found:  true,
			bar:    int(f.Read8(c.Offset + capBAR)),
			offset: uint64(f.Read32(c.Offset + capOffset)),
			length: uint64(f.Read32(c.Offset + capLength)),
		}
		if w == &found.notify {
			w.stride = f.Read32(c.Offset + capNotifyStride)
		}
	}
	return
}

// mapRegisters maps the common, notify and device structures.
func (t *Transport) mapRegisters(mapper bus.Mapper) error {
	found := findWindows(t.function)
	if !found.common.found || !found.notify.found {
		return fmt.Errorf("%w %04x:%04x without modern registers: give QEMU's -device the options disable-legacy=on,disable-modern=off",
			virtio.ErrLegacy, t.function.Vendor, t.function.Device)
	}
	var err error
	if t.common, err = t.mapWindow(mapper, "common", found.common, commonBytes, 4); err != nil {
		return err
	}
	if t.notify, err = t.mapWindow(mapper, "notify", found.notify, 2, 2); err != nil {
		return err
	}
	t.notifyStride = found.notify.stride
	t.config = noConfig{}
	if found.device.found {
		if t.config, err = t.mapWindow(mapper, "device", found.device, 1, 4); err != nil {
			return err
		}
	}
	if t.irq.Line == nil {
		return nil
	}
	if !found.isr.found {
		return errors.New("no register says why it interrupts")
	}
	t.isr, err = t.mapWindow(mapper, "interrupt", found.isr, 1, 1)
	return err
}

// windowMax bounds what is mapped for one structure: QEMU's are 4 KiB, and 4
// bytes for each of the 65536 possible queues.
const windowMax = 4 << 16

// mapWindow maps a structure of at least need bytes, whose offset is a multiple of align
// (sections 4.1.4.3 to 4.1.4.6).
func (t *Transport) mapWindow(mapper bus.Mapper, name string, w window, need, align uint64) (hw.Registers, error) {
	bar, err := t.function.BAR(w.bar)
	if err != nil {
		return nil, fmt.Errorf("%s registers: %w", name, err)
	}
	if bar.IO {
		return nil, fmt.Errorf("%s registers lie in BAR %d, which is of I/O ports, want memory", name, w.bar)
	}
	if w.length < need || w.offset+w.length > bar.Size || w.offset%align != 0 {
		return nil, fmt.Errorf("%s registers at %#x, %#x bytes, in BAR %d of %#x bytes: need %#x bytes inside it at a multiple of %d",
			name, w.offset, w.length, w.bar, bar.Size, need, align)
	}
	return mapper(bar.Address+w.offset, min(w.length, windowMax))
}

// noConfig is the configuration of a device that has none.
type noConfig struct{}

func (noConfig) Size() uint64           { return 0 }
func (noConfig) Read8(uint64) uint8     { panic("virtio device without configuration") }
func (noConfig) Read16(uint64) uint16   { panic("virtio device without configuration") }
func (noConfig) Read32(uint64) uint32   { panic("virtio device without configuration") }
func (noConfig) Write8(uint64, uint8)   { panic("virtio device without configuration") }
func (noConfig) Write16(uint64, uint16) { panic("virtio device without configuration") }
func (noConfig) Write32(uint64, uint32) { panic("virtio device without configuration") }

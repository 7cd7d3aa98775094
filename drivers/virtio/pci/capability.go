// This file owns the vendor capabilities that say in which BAR the registers
// of a virtio device lie (virtio 1.2, section 4.1.4).

package pci

import (
	"fmt"

	"github.com/sluice-os/sluice/drivers/hw"
	bus "github.com/sluice-os/sluice/drivers/pci"
	"github.com/sluice-os/sluice/drivers/virtio"
)

// Types of capabilities (cfg_type).
const (
	capCommon = 1
	capNotify = 2
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

// findWindows returns the first window of each type that is named.
func findWindows(f *bus.Function) (common, notify, device window) {
	for _, c := range f.Capabilities() {
		if c.ID != bus.CapVendor || f.Read8(c.Offset+capLen) < capBytes {
			continue
		}
		var w *window
		switch f.Read8(c.Offset + capType) {
		case capCommon:
			w = &common
		case capNotify:
			if f.Read8(c.Offset+capLen) < capNotifyBytes || int(c.Offset)+capNotifyBytes > bus.ConfigBytes {
				continue
			}
			w = &notify
		case capDevice:
			w = &device
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
		if w == &notify {
			w.stride = f.Read32(c.Offset + capNotifyStride)
		}
	}
	return
}

// mapRegisters maps the common, notify and device structures.
func (t *Transport) mapRegisters(mapper bus.Mapper) error {
	common, notify, device := findWindows(t.function)
	if !common.found || !notify.found {
		return fmt.Errorf("%w %04x:%04x without modern registers: give QEMU's -device the options disable-legacy=on,disable-modern=off",
			virtio.ErrLegacy, t.function.Vendor, t.function.Device)
	}
	var err error
	if t.common, err = t.mapWindow(mapper, "common", common, commonBytes); err != nil {
		return err
	}
	if t.notify, err = t.mapWindow(mapper, "notify", notify, 2); err != nil {
		return err
	}
	t.notifyStride = notify.stride
	t.config = noConfig{}
	if device.found {
		t.config, err = t.mapWindow(mapper, "device", device, 1)
	}
	return err
}

// windowMax bounds what is mapped for one structure: QEMU's are 4 KiB, and 4
// bytes for each of the 65536 possible queues.
const windowMax = 4 << 16

func (t *Transport) mapWindow(mapper bus.Mapper, name string, w window, need uint64) (hw.Registers, error) {
	bar, err := t.function.BAR(w.bar)
	if err != nil {
		return nil, fmt.Errorf("%s registers: %w", name, err)
	}
	if bar.IO {
		return nil, fmt.Errorf("%s registers lie in BAR %d, which is of I/O ports, want memory", name, w.bar)
	}
	if w.length < need || w.offset+w.length > bar.Size || w.offset%4 != 0 {
		return nil, fmt.Errorf("%s registers at %#x, %#x bytes, in BAR %d of %#x bytes: need %#x aligned bytes inside it",
			name, w.offset, w.length, w.bar, bar.Size, need)
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

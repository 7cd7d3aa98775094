// Package mmio is the virtio transport over memory-mapped registers (virtio
// 1.2, section 4.2), as QEMU's microvm and arm64 virt machines have it.
//
// The one interrupt line of a device covers its queues and its configuration.
// It stays high while InterruptStatus is not 0, so Wait acknowledges until it
// reads 0: behind an edge-triggered interrupt controller a line that was left
// high would never interrupt again.
package mmio

import (
	"fmt"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/virtio"
)

// Size is the length in bytes of a window with no device-specific
// configuration; QEMU's windows have 0x200.
const Size = regConfig

// Registers (virtio 1.2, section 4.2.2).
const (
	regMagic             = 0x000
	regVersion           = 0x004
	regDeviceID          = 0x008
	regDeviceFeatures    = 0x010
	regDeviceFeaturesSel = 0x014
	regDriverFeatures    = 0x020
	regDriverFeaturesSel = 0x024
	regQueueSel          = 0x030
	regQueueNumMax       = 0x034
	regQueueNum          = 0x038
	regQueueReady        = 0x044
	regQueueNotify       = 0x050
	regInterruptStatus   = 0x060
	regInterruptACK      = 0x064
	regStatus            = 0x070
	regQueueDescLow      = 0x080
	regQueueDriverLow    = 0x090
	regQueueDeviceLow    = 0x0a0
	regConfigGeneration  = 0x0fc
	regConfig            = 0x100
)

const (
	magic         = 0x74726976 // "virt"
	versionLegacy = 1
	versionModern = 2

	// interruptConfig is the bit of InterruptStatus for a changed
	// configuration or status.
	interruptConfig = 1 << 1
)

// acknowledgePolls bounds Wait against a device that never drops its line.
const acknowledgePolls = 64

// Transport is one virtio-mmio device.
type Transport struct {
	regs       hw.Registers
	base       uint64
	irq        hw.Interrupt
	deviceType uint32
}

var _ virtio.Transport = (*Transport)(nil)

// New looks at the device behind regs, whose physical address is base. irq may
// be nil when the driver polls. It returns virtio.ErrNoDevice for an empty slot
// and virtio.ErrLegacy for a device of version 1.
func New(regs hw.Registers, base uint64, irq hw.Interrupt) (*Transport, error) {
	if regs.Size() < Size {
		return nil, fmt.Errorf("virtio-mmio window at %#x has %#x bytes, need at least %#x", base, regs.Size(), Size)
	}
	if m := regs.Read32(regMagic); m != magic {
		return nil, fmt.Errorf("%w: magic %#x at %#x, want %#x", virtio.ErrNoDevice, m, base, magic)
	}
	deviceType := regs.Read32(regDeviceID)
	if deviceType == 0 {
		return nil, fmt.Errorf("%w: empty slot at %#x", virtio.ErrNoDevice, base)
	}
	switch v := regs.Read32(regVersion); v {
	case versionModern:
	case versionLegacy:
		return nil, fmt.Errorf("%w at %#x: give QEMU the option -global virtio-mmio.force-legacy=false", virtio.ErrLegacy, base)
	default:
		return nil, fmt.Errorf("virtio-mmio device at %#x has version %d, want %d", base, v, versionModern)
	}
	return &Transport{regs: regs, base: base, irq: irq, deviceType: deviceType}, nil
}

// DeviceType returns the type of the device.
func (t *Transport) DeviceType() uint32 { return t.deviceType }

// Location returns "mmio@" and the physical address.
func (t *Transport) Location() string { return fmt.Sprintf("mmio@%08x", t.base) }

// Reset stops the device (section 4.2.3.1). The specification has it done at
// once, but a read back costs little and catches a dead one.
func (t *Transport) Reset() error {
	t.regs.Write32(regStatus, 0)
	for range virtio.ResetPolls {
		if t.regs.Read32(regStatus) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", t.Location(), virtio.ErrResetTimeout)
}

// Status returns the device status.
func (t *Transport) Status() uint8 { return uint8(t.regs.Read32(regStatus)) }

// SetStatus writes the device status.
func (t *Transport) SetStatus(s uint8) { t.regs.Write32(regStatus, uint32(s)) }

// DeviceFeatures returns what the device offers.
func (t *Transport) DeviceFeatures() uint64 {
	t.regs.Write32(regDeviceFeaturesSel, 0)
	low := t.regs.Read32(regDeviceFeatures)
	t.regs.Write32(regDeviceFeaturesSel, 1)
	return uint64(t.regs.Read32(regDeviceFeatures))<<32 | uint64(low)
}

// SetDriverFeatures writes what the driver takes.
func (t *Transport) SetDriverFeatures(f uint64) {
	t.regs.Write32(regDriverFeaturesSel, 0)
	t.regs.Write32(regDriverFeatures, uint32(f))
	t.regs.Write32(regDriverFeaturesSel, 1)
	t.regs.Write32(regDriverFeatures, uint32(f>>32))
}

// QueueMax returns the largest size of queue q.
func (t *Transport) QueueMax(q int) int {
	t.regs.Write32(regQueueSel, uint32(q))
	return int(t.regs.Read32(regQueueNumMax))
}

// EnableQueue sets queue q up (section 4.2.3.2).
func (t *Transport) EnableQueue(q int, a virtio.QueueAddresses) error {
	t.regs.Write32(regQueueSel, uint32(q))
	if t.regs.Read32(regQueueReady) != 0 {
		return fmt.Errorf("%s: queue %d is in use already", t.Location(), q)
	}
	t.regs.Write32(regQueueNum, uint32(a.Size))
	t.write64(regQueueDescLow, a.Desc)
	t.write64(regQueueDriverLow, a.Driver)
	t.write64(regQueueDeviceLow, a.Device)
	t.regs.Write32(regQueueReady, 1)
	return nil
}

// write64 writes a pair of registers, low word first.
func (t *Transport) write64(low uint64, v uint64) {
	t.regs.Write32(low, uint32(v))
	t.regs.Write32(low+4, uint32(v>>32))
}

// Notify tells the device that queue q has new buffers.
func (t *Transport) Notify(q int) { t.regs.Write32(regQueueNotify, uint32(q)) }

// ConfigGeneration returns the counter of configuration changes.
func (t *Transport) ConfigGeneration() uint32 { return t.regs.Read32(regConfigGeneration) }

// Config returns the device-specific configuration.
func (t *Transport) Config() hw.Registers { return config{t.regs} }

// Wait parks until an interrupt or a Kick, and acknowledges until the line is low.
func (t *Transport) Wait() (configChanged bool) {
	t.irq.Wait()
	for range acknowledgePolls {
		status := t.regs.Read32(regInterruptStatus)
		if status == 0 {
			break
		}
		configChanged = configChanged || status&interruptConfig != 0
		t.regs.Write32(regInterruptACK, status)
	}
	return configChanged
}

// Acknowledge does nothing: nobody shares the line.
func (t *Transport) Acknowledge() {}

// Silence does nothing: a window of registers has no switch beside the device's own.
func (t *Transport) Silence() {}

// Kick makes a Wait return.
func (t *Transport) Kick() {
	if t.irq != nil {
		t.irq.Raise()
	}
}

// config is the part of the window behind the registers.
type config struct{ regs hw.Registers }

func (c config) Size() uint64                 { return c.regs.Size() - regConfig }
func (c config) Read8(off uint64) uint8       { return c.regs.Read8(regConfig + off) }
func (c config) Read16(off uint64) uint16     { return c.regs.Read16(regConfig + off) }
func (c config) Read32(off uint64) uint32     { return c.regs.Read32(regConfig + off) }
func (c config) Write8(off uint64, v uint8)   { c.regs.Write8(regConfig+off, v) }
func (c config) Write16(off uint64, v uint16) { c.regs.Write16(regConfig+off, v) }
func (c config) Write32(off uint64, v uint32) { c.regs.Write32(regConfig+off, v) }

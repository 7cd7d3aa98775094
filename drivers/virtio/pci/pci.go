// Package pci is the virtio transport over PCI (virtio 1.2, section 4.1), for
// modern devices and for transitional ones that carry the modern registers.
//
// Two MSI-X vectors are used: one for all queues, which is what the poller
// waits for and which costs no register access when it comes, and one for
// changes of the configuration. On a machine without messages there is the
// function's line, and a register to read each time it comes.
package pci

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/sluice-os/sluice/drivers/hw"
	bus "github.com/sluice-os/sluice/drivers/pci"
	"github.com/sluice-os/sluice/drivers/virtio"
)

// Common configuration (virtio 1.2, section 4.1.4.3).
const (
	regDeviceFeatureSelect = 0x00
	regDeviceFeature       = 0x04
	regDriverFeatureSelect = 0x08
	regDriverFeature       = 0x0c
	regConfigMSIXVector    = 0x10 // 16 bits
	regNumQueues           = 0x12 // 16 bits
	regDeviceStatus        = 0x14 // 8 bits
	regConfigGeneration    = 0x15 // 8 bits
	regQueueSelect         = 0x16 // 16 bits
	regQueueSize           = 0x18 // 16 bits
	regQueueMSIXVector     = 0x1a // 16 bits
	regQueueEnable         = 0x1c // 16 bits
	regQueueNotifyOff      = 0x1e // 16 bits
	regQueueDesc           = 0x20 // 64 bits
	regQueueDriver         = 0x28 // 64 bits
	regQueueDevice         = 0x30 // 64 bits
	commonBytes            = 0x38
)

// MSI-X vectors.
const (
	vectorQueues = 0
	vectorConfig = 1
	vectors      = 2
	noVector     = 0xffff // VIRTIO_MSI_NO_VECTOR
)

// queuesMax bounds the queues that this transport enables; a network card
// without multiqueue has three.
const queuesMax = 8

// Bits of the ISR status, which reading clears (section 4.1.4.5).
const isrConfig = 1 << 1

// Interrupts are the interrupts of a device: Queues and Config by message, or Line alone.
// All are nil when the driver polls.
type Interrupts struct {
	Queues hw.Interrupt // the poller waits for it
	Config hw.Interrupt // a goroutine of the transport waits for it

	Line hw.Interrupt // the poller waits for it
}

// Transport is one virtio device on the PCI bus.
type Transport struct {
	function   *bus.Function
	deviceType uint32

	common       hw.Registers
	notify       hw.Registers
	config       hw.Registers
	isr          hw.Registers // with a line only
	notifyStride uint32
	notifyOff    [queuesMax]uint64

	irq           Interrupts
	configChanged atomic.Bool
}

var _ virtio.Transport = (*Transport)(nil)

// Vendor is the PCI vendor ID of virtio devices.
const Vendor = 0x1af4

// Device IDs (section 4.1.2): transitional ones carry the type in the
// subsystem ID, modern ones in the device ID.
const (
	transitionalFirst = 0x1000
	transitionalLast  = 0x103f
	modernFirst       = 0x1040
	modernLast        = 0x107f
)

// IsDevice reports whether f is a virtio device.
func IsDevice(f *bus.Function) bool {
	return f.Vendor == Vendor && f.Device >= transitionalFirst && f.Device <= modernLast
}

// New looks for the modern registers of f, maps them and turns the device and
// its interrupts on. It returns virtio.ErrLegacy for a device that has none and
// virtio.ErrNoDevice when f is no virtio device.
func New(f *bus.Function, mapper bus.Mapper, irq Interrupts) (*Transport, error) {
	if !IsDevice(f) {
		return nil, fmt.Errorf("%w: pci %v is %04x:%04x", virtio.ErrNoDevice, f.Address, f.Vendor, f.Device)
	}
	t := &Transport{function: f, irq: irq}
	if f.Device >= modernFirst {
		t.deviceType = uint32(f.Device - modernFirst)
	} else {
		t.deviceType = uint32(f.SubsystemDevice)
	}
	f.Enable(bus.CommandMemory | bus.CommandBusMaster | bus.CommandINTxDisable)
	if err := t.mapRegisters(mapper); err != nil {
		return nil, fmt.Errorf("virtio device at pci %v: %w", f.Address, err)
	}
	if irq.Line != nil {
		f.DisableMSIX()
		f.Disable(bus.CommandINTxDisable)
		return t, nil
	}
	if irq.Queues == nil && irq.Config == nil {
		return t, nil
	}
	if irq.Queues == nil || irq.Config == nil {
		return nil, errors.New("virtio over PCI needs an interrupt for its queues and one for its configuration")
	}
	if err := t.routeInterrupts(mapper); err != nil {
		return nil, fmt.Errorf("virtio device at pci %v: %w", f.Address, err)
	}
	go t.watchConfig()
	return t, nil
}

// routeInterrupts points the two MSI-X vectors at the CPU.
func (t *Transport) routeInterrupts(mapper bus.Mapper) error {
	msix, err := t.function.MSIX(mapper)
	if err != nil {
		return err
	}
	if msix.Vectors() < vectors {
		return fmt.Errorf("%d MSI-X vectors, need %d (QEMU: vectors=%d)", msix.Vectors(), vectors, vectors)
	}
	for vector, irq := range []hw.Interrupt{vectorQueues: t.irq.Queues, vectorConfig: t.irq.Config} {
		addr, data, ok := irq.MSI()
		if !ok {
			return errors.New("line interrupt given, need a message-signalled one")
		}
		if err := msix.Set(vector, addr, data); err != nil {
			return err
		}
		msix.Unmask(vector)
	}
	msix.Enable()
	return nil
}

// watchConfig lives as long as the device.
func (t *Transport) watchConfig() {
	for {
		t.irq.Config.Wait()
		t.configChanged.Store(true)
		t.irq.Queues.Raise()
	}
}

// DeviceType returns the type of the device.
func (t *Transport) DeviceType() uint32 { return t.deviceType }

// Location returns "pci " and the address of the function.
func (t *Transport) Location() string { return "pci " + t.function.Address.String() }

// Reset stops the device and waits until it has done so (section 4.1.4.3.2).
func (t *Transport) Reset() error {
	t.common.Write8(regDeviceStatus, 0)
	for range virtio.ResetPolls {
		if t.common.Read8(regDeviceStatus) == 0 {
			if t.irq.Config == nil {
				return nil
			}
			return t.setVector(regConfigMSIXVector, vectorConfig)
		}
		runtime.Gosched()
	}
	return fmt.Errorf("%s: %w", t.Location(), virtio.ErrResetTimeout)
}

// setVector writes a vector and reads it back: a device without room for it
// answers noVector (section 4.1.5.1.2).
func (t *Transport) setVector(reg uint64, vector uint16) error {
	t.common.Write16(reg, vector)
	if v := t.common.Read16(reg); v != vector {
		return fmt.Errorf("%s: device took MSI-X vector %#x instead of %#x", t.Location(), v, vector)
	}
	return nil
}

// Status returns the device status.
func (t *Transport) Status() uint8 { return t.common.Read8(regDeviceStatus) }

// SetStatus writes the device status.
func (t *Transport) SetStatus(s uint8) { t.common.Write8(regDeviceStatus, s) }

// DeviceFeatures returns what the device offers.
func (t *Transport) DeviceFeatures() uint64 {
	t.common.Write32(regDeviceFeatureSelect, 0)
	low := t.common.Read32(regDeviceFeature)
	t.common.Write32(regDeviceFeatureSelect, 1)
	return uint64(t.common.Read32(regDeviceFeature))<<32 | uint64(low)
}

// SetDriverFeatures writes what the driver takes.
func (t *Transport) SetDriverFeatures(f uint64) {
	t.common.Write32(regDriverFeatureSelect, 0)
	t.common.Write32(regDriverFeature, uint32(f))
	t.common.Write32(regDriverFeatureSelect, 1)
	t.common.Write32(regDriverFeature, uint32(f>>32))
}

// QueueMax returns the largest size of queue q.
func (t *Transport) QueueMax(q int) int {
	if q >= queuesMax || q >= int(t.common.Read16(regNumQueues)) {
		return 0
	}
	t.common.Write16(regQueueSelect, uint16(q))
	return int(t.common.Read16(regQueueSize))
}

// EnableQueue sets queue q up (section 4.1.5.1.3).
func (t *Transport) EnableQueue(q int, a virtio.QueueAddresses) error {
	t.common.Write16(regQueueSelect, uint16(q))
	off := uint64(t.common.Read16(regQueueNotifyOff)) * uint64(t.notifyStride)
	if off+2 > t.notify.Size() || off%2 != 0 {
		return fmt.Errorf("%s: queue %d has its doorbell at %#x of %#x bytes", t.Location(), q, off, t.notify.Size())
	}
	t.notifyOff[q] = off
	vector := uint16(noVector)
	if t.irq.Queues != nil {
		vector = vectorQueues
	}
	if err := t.setVector(regQueueMSIXVector, vector); err != nil {
		return err
	}
	t.common.Write16(regQueueSize, uint16(a.Size))
	t.write64(regQueueDesc, a.Desc)
	t.write64(regQueueDriver, a.Driver)
	t.write64(regQueueDevice, a.Device)
	t.common.Write16(regQueueEnable, 1)
	return nil
}

// write64 writes a 64-bit field in halves, as section 4.1.3.1 allows.
func (t *Transport) write64(off uint64, v uint64) {
	t.common.Write32(off, uint32(v))
	t.common.Write32(off+4, uint32(v>>32))
}

// Notify tells the device that queue q has new buffers.
func (t *Transport) Notify(q int) { t.notify.Write16(t.notifyOff[q], uint16(q)) }

// Config returns the device-specific configuration.
func (t *Transport) Config() hw.Registers { return t.config }

// ConfigGeneration returns the counter of configuration changes.
func (t *Transport) ConfigGeneration() uint32 { return uint32(t.common.Read8(regConfigGeneration)) }

// Wait parks until an interrupt or a Kick.
func (t *Transport) Wait() (configChanged bool) {
	if t.irq.Line != nil {
		t.irq.Line.Wait()
		if t.isr.Read8(0)&isrConfig != 0 {
			t.configChanged.Store(true)
		}
	} else {
		t.irq.Queues.Wait()
	}
	return t.configChanged.Load() && t.configChanged.Swap(false)
}

// Acknowledge lets go of a line.
func (t *Transport) Acknowledge() {
	if t.irq.Line != nil && t.isr.Read8(0)&isrConfig != 0 {
		t.configChanged.Store(true)
		t.irq.Line.Raise()
	}
}

// Silence keeps the function from memory, messages and its line.
func (t *Transport) Silence() {
	t.function.Disable(bus.CommandBusMaster)
	t.function.Enable(bus.CommandINTxDisable)
}

// Kick makes a Wait return.
func (t *Transport) Kick() {
	switch {
	case t.irq.Line != nil:
		t.irq.Line.Raise()
	case t.irq.Queues != nil:
		t.irq.Queues.Raise()
	}
}

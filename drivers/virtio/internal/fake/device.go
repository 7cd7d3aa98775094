// Package fake plays the device's side for the tests of the virtio drivers: a
// transport, and rings that it can read properly or fill with lies.
package fake

import (
	"encoding/binary"
	"errors"
	"sync"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/fakehw"
	"github.com/sluice-os/sluice/drivers/virtio"
)

// Queues is how many queues a Device has.
const Queues = 4

// Device is a virtio device and the virtio.Transport to it. Set the exported
// fields before the driver opens it; methods may be called concurrently.
type Device struct {
	// Memory is what DMA hands to the driver.
	Memory    *fakehw.Allocator
	DMA       *hw.DMA
	Irq       fakehw.Interrupt
	Type      uint32
	Offered   uint64
	QueueSize int
	// OnNotify, if not nil, is called for each notification, by the driver's
	// goroutine and without locks.
	OnNotify func(q int)
	// HangReset makes Reset fail. RefuseFeatures takes FEATURES_OK back.
	HangReset, RefuseFeatures bool

	mu         sync.Mutex
	config     []byte
	generation uint32
	changed    bool
	status     uint8
	accepted   uint64
	resets     int
	silenced   int
	notifies   [Queues]int
	queues     [Queues]queue
}

var _ virtio.Transport = (*Device)(nil)

// New returns a device with configuration config.
func New(deviceType uint32, offered uint64, config []byte) *Device {
	memory := &fakehw.Allocator{}
	return &Device{Memory: memory, DMA: hw.NewDMA(memory, memory), Irq: fakehw.NewInterrupt(), Type: deviceType, Offered: offered, QueueSize: 256, config: config}
}

// DeviceType implements virtio.Transport.
func (d *Device) DeviceType() uint32 { return d.Type }

// Location implements virtio.Transport.
func (d *Device) Location() string { return "fake" }

// Reset implements virtio.Transport.
func (d *Device) Reset() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.HangReset {
		return virtio.ErrResetTimeout
	}
	d.status, d.accepted, d.changed = 0, 0, false
	d.queues = [Queues]queue{}
	d.resets++
	return nil
}

// Resets returns how often the device was reset.
func (d *Device) Resets() int { d.mu.Lock(); defer d.mu.Unlock(); return d.resets }

// Status implements virtio.Transport.
func (d *Device) Status() uint8 { d.mu.Lock(); defer d.mu.Unlock(); return d.status }

// SetStatus implements virtio.Transport.
func (d *Device) SetStatus(s uint8) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.RefuseFeatures {
		s &^= virtio.StatusFeaturesOK
	}
	d.status = s
}

// DeviceFeatures implements virtio.Transport.
func (d *Device) DeviceFeatures() uint64 { d.mu.Lock(); defer d.mu.Unlock(); return d.Offered }

// SetDriverFeatures implements virtio.Transport.
func (d *Device) SetDriverFeatures(f uint64) { d.mu.Lock(); defer d.mu.Unlock(); d.accepted = f }

// Accepted returns the features that the driver took.
func (d *Device) Accepted() uint64 { d.mu.Lock(); defer d.mu.Unlock(); return d.accepted }

// SetOffered changes what the device offers from its next reset on.
func (d *Device) SetOffered(f uint64) { d.mu.Lock(); defer d.mu.Unlock(); d.Offered = f }

// QueueMax implements virtio.Transport.
func (d *Device) QueueMax(q int) int {
	if q >= Queues {
		return 0
	}
	return d.QueueSize
}

// EnableQueue implements virtio.Transport.
func (d *Device) EnableQueue(q int, a virtio.QueueAddresses) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.queues[q].enable(d, a)
}

// Notify implements virtio.Transport.
func (d *Device) Notify(q int) {
	d.mu.Lock()
	if d.status&virtio.StatusDriverOK == 0 {
		panic("notified before DRIVER_OK")
	}
	d.notifies[q]++
	d.mu.Unlock()
	if d.OnNotify != nil {
		d.OnNotify(q)
	}
}

// Notifies returns how often queue q was notified.
func (d *Device) Notifies(q int) int { d.mu.Lock(); defer d.mu.Unlock(); return d.notifies[q] }

// ConfigGeneration implements virtio.Transport.
func (d *Device) ConfigGeneration() uint32 { d.mu.Lock(); defer d.mu.Unlock(); return d.generation }

// Config implements virtio.Transport.
func (d *Device) Config() hw.Registers { return config{d} }

// SetConfig16 changes two bytes of the configuration and interrupts.
func (d *Device) SetConfig16(off int, v uint16) {
	d.mu.Lock()
	binary.LittleEndian.PutUint16(d.config[off:], v)
	d.generation++
	d.mu.Unlock()
	d.configInterrupt()
}

// NeedReset asks for a reset (virtio 1.2, section 2.1.2).
func (d *Device) NeedReset() {
	d.mu.Lock()
	d.status |= virtio.StatusNeedsReset
	d.mu.Unlock()
	d.configInterrupt()
}

func (d *Device) configInterrupt() {
	d.mu.Lock()
	d.changed = true
	d.mu.Unlock()
	d.Irq.Raise()
}

// Wait implements virtio.Transport.
func (d *Device) Wait() bool {
	d.Irq.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	changed := d.changed
	d.changed = false
	return changed
}

// Acknowledge implements virtio.Transport. Nobody shares its interrupt.
func (d *Device) Acknowledge() {}

// Silence implements virtio.Transport.
func (d *Device) Silence() { d.mu.Lock(); defer d.mu.Unlock(); d.silenced++ }

// Silenced returns how often the device was kept off its bus.
func (d *Device) Silenced() int { d.mu.Lock(); defer d.mu.Unlock(); return d.silenced }

// Kick implements virtio.Transport.
func (d *Device) Kick() { d.Irq.Raise() }

// at returns n bytes as the device reaches them. It must hold its lock.
func (d *Device) at(addr uint64, n int, way hw.Direction) ([]byte, error) {
	return d.Memory.At(addr, n, way, d.accepted&virtio.FeatureAccessPlatform != 0)
}

// ErrDisabled reports a queue that the driver has not enabled.
var ErrDisabled = errors.New("queue is not enabled")

// config is the configuration as registers.
type config struct{ d *Device }

func (c config) Size() uint64 { return uint64(len(c.d.config)) }

func (c config) Read8(off uint64) uint8 {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	return c.d.config[off]
}

func (c config) Read16(off uint64) uint16 {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	return binary.LittleEndian.Uint16(c.d.config[off:])
}

func (c config) Read32(off uint64) uint32 {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	return binary.LittleEndian.Uint32(c.d.config[off:])
}

func (config) Write8(uint64, uint8)   { panic("configuration is read-only") }
func (config) Write16(uint64, uint16) { panic("configuration is read-only") }
func (config) Write32(uint64, uint32) { panic("configuration is read-only") }

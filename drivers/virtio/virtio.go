// Package virtio is the core of the virtio 1.2 drivers: the device's status and
// features, the split virtqueue, and the Transport that hides whether a device
// sits behind MMIO registers or on the PCI bus.
//
// A device is believed as little as any other peer. The rings lie in memory
// that it may write at any time, so all state that decides anything (which
// descriptors are free, which are lent, how much may be written) is kept in
// private memory, and each word that the device writes is read once and checked
// against it. A device that breaks the rules marks its Queue broken with a
// ViolationError; the driver counts it, resets the device and starts again.
//
// Only modern devices (VIRTIO_F_VERSION_1) are driven, on little-endian CPUs.
package virtio

import (
	"errors"
	"fmt"

	"github.com/sluice-os/sluice/drivers/hw"
)

// Device types (virtio 1.2, section 5).
const (
	DeviceNet     = 1
	DeviceEntropy = 4
)

// Status bits (virtio 1.2, section 2.1).
const (
	StatusAcknowledge = 1
	StatusDriver      = 2
	StatusDriverOK    = 4
	StatusFeaturesOK  = 8
	StatusNeedsReset  = 64
	StatusFailed      = 128
)

// Features of the transport and the queues (virtio 1.2, section 6).
const (
	FeatureIndirect       uint64 = 1 << 28
	FeatureEventIndex     uint64 = 1 << 29
	FeatureVersion1       uint64 = 1 << 32
	FeatureAccessPlatform uint64 = 1 << 33
)

// queueFeatures are those that this package itself deals with, so that a driver
// need not ask for them.
const queueFeatures = FeatureIndirect | FeatureEventIndex | FeatureVersion1 | FeatureAccessPlatform

var (
	// ErrNoDevice reports a slot that holds no device.
	ErrNoDevice = errors.New("no virtio device here")
	// ErrLegacy reports a device that speaks only the protocol before virtio 1.0.
	ErrLegacy = errors.New("legacy virtio device")
	// ErrResetTimeout reports a device whose status never went back to 0.
	ErrResetTimeout = errors.New("virtio device does not finish its reset")
)

// ResetPolls bounds how often a Transport reads the status while it waits for
// a reset to finish. Each read reaches the device and takes a fraction of a
// microsecond at least.
const ResetPolls = 1 << 18

// Transport is a device as its bus shows it (virtio 1.2, section 4).
//
// Notify, Wait and Kick may be called while another goroutine is in any of
// them; only one goroutine waits. The rest belongs to one caller at a time.
type Transport interface {
	// DeviceType returns the type of the device (section 5), such as DeviceNet.
	DeviceType() uint32
	// Location names the place of the device: "mmio@feb02e00", "pci 00:02.0".
	Location() string

	// Reset stops the device and forgets all its queues. It polls at most
	// ResetPolls times, then returns ErrResetTimeout.
	Reset() error
	// Status returns the device status, SetStatus writes it. SetStatus(0) is Reset's.
	Status() uint8
	SetStatus(uint8)
	// DeviceFeatures returns what the device offers, SetDriverFeatures
	// writes what the driver takes.
	DeviceFeatures() uint64
	SetDriverFeatures(uint64)

	// QueueMax returns the largest number of descriptors that queue q can
	// have, 0 when there is no such queue.
	QueueMax(q int) int
	// EnableQueue tells the device where queue q lies and turns it on.
	EnableQueue(q int, a QueueAddresses) error
	// Notify tells the device that queue q has new buffers.
	Notify(q int)

	// Config is the device-specific configuration. Fields are read in their
	// own width, several at once through ReadConfig.
	Config() hw.Registers
	// ConfigGeneration changes whenever Config did.
	ConfigGeneration() uint32

	// Wait parks the caller until the device interrupts or Kick is called,
	// acknowledges the interrupt, and reports whether the configuration or
	// the status may have changed. It must not be called on a transport
	// that was opened without an interrupt.
	Wait() (configChanged bool)
	// Acknowledge takes back an interrupt that has come since Wait, where others share
	// the line and would hear it until the next Wait. What it says of the configuration
	// that one reports, without waiting. The goroutine that calls Wait calls it, and looks
	// at its queues before it waits again.
	Acknowledge()
	// Kick makes a Wait, this one or the next, return.
	Kick()

	// Silence keeps the device off its bus and off its line for good, as far as the bus
	// can. Wait, Acknowledge and Kick may be called still.
	Silence()
}

// QueueAddresses says where the parts of a split queue lie, as the device sees
// memory, and how many descriptors it has (virtio 1.2, section 2.7).
type QueueAddresses struct {
	Size                 int
	Desc, Driver, Device uint64
}

// Start resets the device and negotiates features (virtio 1.2, section 3.1.1,
// steps 1 to 6). want holds the device-type features that the driver can use;
// those of the queues are added here. It returns the features that hold from
// now on. choose, which may be nil, gives a driver the last word: it gets the
// features that both sides know and returns those to take.
//
// The driver sets up its queues next and then calls Run.
func Start(t Transport, want uint64, choose func(uint64) uint64) (uint64, error) {
	if err := t.Reset(); err != nil {
		return 0, err
	}
	t.SetStatus(StatusAcknowledge)
	t.SetStatus(StatusAcknowledge | StatusDriver)
	offered := t.DeviceFeatures()
	if offered&FeatureVersion1 == 0 {
		t.SetStatus(StatusFailed)
		return 0, fmt.Errorf("%w: features %#x lack VIRTIO_F_VERSION_1", ErrLegacy, offered)
	}
	features := offered & (want | queueFeatures)
	if choose != nil {
		features = choose(features)&features | features&(FeatureVersion1|FeatureAccessPlatform)
	}
	t.SetDriverFeatures(features)
	t.SetStatus(StatusAcknowledge | StatusDriver | StatusFeaturesOK)
	if s := t.Status(); s&StatusFeaturesOK == 0 {
		t.SetStatus(StatusFailed)
		return 0, fmt.Errorf("virtio device offers features %#x and then refuses %#x (status %#x)", offered, features, s)
	}
	return features, nil
}

// Run makes a device whose queues are set up live (section 3.1.1, step 8).
// Only now may it be notified.
func Run(t Transport) {
	t.SetStatus(StatusAcknowledge | StatusDriver | StatusFeaturesOK | StatusDriverOK)
}

// configTries bounds ReadConfig against a device that never stops changing.
const configTries = 16

// ReadConfig calls read with the configuration until none of it changed
// meanwhile (virtio 1.2, section 2.5.1). read must check the window's size.
func ReadConfig(t Transport, read func(hw.Registers)) error {
	for range configTries {
		before := t.ConfigGeneration()
		read(t.Config())
		if t.ConfigGeneration() == before {
			return nil
		}
	}
	return fmt.Errorf("virtio configuration changed during each of %d reads", configTries)
}

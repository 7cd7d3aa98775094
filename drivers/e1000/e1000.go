// Package e1000 drives Intel's gigabit controllers 82540EM, 82545EM and 82574L (QEMU's
// e1000, e1000-82545em and e1000e) behind the batch interface of package nic. "The
// manual" is the PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's
// Manual (8254x), whose names and chapters are used; the 82574's datasheet has the rest.
//
// # Buffers
//
// Received frames lie in buffers of 2 KiB, one for each. Transmit has one contiguous
// arena, used as a ring: the writer fills one piece of memory for a frame of any size,
// and descriptors of at most 8 KiB each point into it. Both rings have legacy
// receive and extended transmit descriptors, which all three controllers understand.
//
// # Interrupts
//
// While the poller is busy, receive interrupts are masked; a change of the link is not.
// Frames that were sent interrupt only while somebody waits for room. The device keeps
// a pause between two interrupts. Causes are read, and so cleared, in Wait.
//
// # Hostile devices
//
// The device writes into buffers and into the second half of each descriptor. Of the
// latter each word is read once. A length beyond the buffer, registers that read as all
// ones, and frames that are not sent in time end in a reset; a frame with errors is
// dropped and counted. A device that is reset again and again without moving frames
// is left stopped, its link down. Registers are believed in nothing but link, MAC
// address, causes and statistics, and each wait for one is bounded.
package e1000

import (
	"cmp"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/arena"
	"github.com/sluice-os/sluice/drivers/internal/recovery"
	"github.com/sluice-os/sluice/drivers/nic"
	bus "github.com/sluice-os/sluice/drivers/pci"
)

// Defaults and limits of Config.
const (
	DefaultRing      = 256
	DefaultTxArena   = 1 << 20
	DefaultTxTimeout = 5 * time.Second
	// PolledRing is the receive ring of a device that is polled: at 1 Gbit/s it takes long
	// frames for 12 ms, and its buffers are 2 MiB.
	PolledRing = 1024

	TxArenaMin = 2 * (nic.FrameMax + arena.Align)
	TxArenaMax = 64 << 20
)

// mtu is the largest IP packet: frames longer than Ethernet's are not received.
const mtu = 1500

// Config sets a device up. The zero value is good for most: about 1.5 MiB of device
// memory.
type Config struct {
	RxRing, TxRing int // descriptors, powers of two; DefaultRing, or PolledRing to receive
	TxArena        int // bytes for frames on their way out, TxArenaMin to TxArenaMax

	// MAC is used when the device has none of its own.
	MAC [6]byte

	// TxTimeout is how long the device may keep a frame, with its link up, before it
	// is reset.
	TxTimeout time.Duration
	// Now is the clock for it, time.Now if nil. Sleep waits for a reset to be done,
	// time.Sleep if nil.
	Now   func() time.Time
	Sleep func(time.Duration)

	Log *slog.Logger // nil: no log
}

// withDefaults fills in what is zero and checks the rest.
func (c Config) withDefaults() (Config, error) {
	c.RxRing = cmp.Or(c.RxRing, DefaultRing)
	c.TxRing = cmp.Or(c.TxRing, DefaultRing)
	c.TxArena = cmp.Or(c.TxArena, DefaultTxArena)
	c.TxTimeout = cmp.Or(c.TxTimeout, DefaultTxTimeout)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sleep == nil {
		c.Sleep = time.Sleep
	}
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	ring := func(n int) bool { return n >= ringMin && n <= ringMax && n&(n-1) == 0 }
	switch {
	case !ring(c.RxRing) || !ring(c.TxRing):
		return c, fmt.Errorf("rings of %d and %d descriptors, need powers of two from %d to %d", c.RxRing, c.TxRing, ringMin, ringMax)
	case c.TxRing <= txNeedMax:
		return c, fmt.Errorf("transmit ring of %d descriptors, the longest frame needs %d", c.TxRing, txNeedMax)
	case c.TxArena < TxArenaMin || c.TxArena > TxArenaMax:
		return c, fmt.Errorf("transmit arena of %d bytes, need %d to %d", c.TxArena, TxArenaMin, TxArenaMax)
	case c.TxTimeout < 0:
		return c, fmt.Errorf("timeout of %v, need a positive one", c.TxTimeout)
	}
	return c, nil
}

// Device is an open network card.
type Device struct {
	regs hw.Registers
	irq  hw.Interrupt
	// polled is irq when nobody hears the device: it never asserts its line, and whoever
	// waits looks after it.
	polled hw.Polled
	model  *model
	// silence keeps the function off the bus.
	silence func()
	cfg     Config
	info    nic.Info

	rx       receiver
	tx       transmitter
	filter   filter
	recovery recovery.State[counter]
	linkUp   atomic.Bool
	linkRate atomic.Uint64 // bits a second
	counters counters
}

var (
	_ nic.Device      = (*Device)(nil)
	_ nic.GroupFilter = (*Device)(nil)
)

// Open maps the registers of f, resets the controller, sets its rings up and starts it
// with interrupts off. irq is signalled by a message when it can be, otherwise it is
// the line of f, or a hw.Polled. The memory from mem is the device's for good.
func Open(f *bus.Function, mapper bus.Mapper, irq hw.Interrupt, mem *hw.DMA, cfg Config) (*Device, error) {
	m := modelOf(f)
	if m == nil {
		return nil, fmt.Errorf("e1000: pci %v is %04x:%04x, want %04x:100e, 100f or 10d3", f.Address, f.Vendor, f.Device, vendorIntel)
	}
	location := "pci " + f.Address.String()
	if emulated(f) && m.tso6 {
		// Before version 8.0 QEMU's 82574L takes IPv6 for IPv4 when it cuts, where its
		// back end takes no large frames. Those of IPv4 it cuts into IP fragments.
		without := *m
		without.tso6 = false
		m = &without
	}
	silence := func() {
		f.Disable(bus.CommandBusMaster)
		f.Enable(bus.CommandINTxDisable)
	}
	regs, err := mapFunction(f, mapper, irq)
	if err != nil {
		silence()
		return nil, fmt.Errorf("e1000 at %s: %w", location, err)
	}
	return open(regs, irq, m, location, silence, mem, cfg)
}

// mapFunction maps the registers, which the first base address shows, and turns the
// function and its interrupt on.
func mapFunction(f *bus.Function, mapper bus.Mapper, irq hw.Interrupt) (hw.Registers, error) {
	bar, err := f.BAR(0)
	if err != nil {
		return nil, err
	}
	if bar.IO || bar.Size < windowBytes {
		return nil, fmt.Errorf("registers of %#x bytes (ports: %t), want memory of %#x", bar.Size, bar.IO, windowBytes)
	}
	regs, err := mapper(bar.Address, windowBytes)
	if err != nil {
		return nil, err
	}
	// What ran before may have left messages on, which leave the line silent.
	f.DisableMSIX()
	f.DisableMSI()
	if addr, data, ok := irq.MSI(); ok {
		if !ByMessage(f) {
			return nil, fmt.Errorf("%04x:%04x has no MSI that works, want its line", f.Vendor, f.Device)
		}
		if err := f.EnableMSI(addr, data); err != nil {
			return nil, err
		}
		f.Enable(bus.CommandINTxDisable)
	} else if _, polled := irq.(hw.Polled); !polled {
		f.Disable(bus.CommandINTxDisable)
	} else {
		// Functions before PCI 2.3 have no such bit.
		f.Enable(bus.CommandINTxDisable)
	}
	f.Enable(bus.CommandMemory | bus.CommandBusMaster)
	return regs, nil
}

func open(regs hw.Registers, irq hw.Interrupt, m *model, location string, silence func(), mem *hw.DMA, cfg Config) (*Device, error) {
	polled, _ := irq.(hw.Polled)
	if polled != nil {
		cfg.RxRing = cmp.Or(cfg.RxRing, PolledRing)
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		silence()
		return nil, fmt.Errorf("e1000: %w", err)
	}
	d := &Device{regs: regs, irq: irq, polled: polled, model: m, silence: silence, cfg: cfg}
	fillOnes(&d.filter.table) // until SetGroups says otherwise
	d.info = nic.Info{
		Driver: "e1000", Location: location, MTU: mtu,
		RxRing: cfg.RxRing - 1, TxRing: cfg.TxRing / 2,
		Offloads: nic.Offloads{TxChecksum: true, RxChecksum: true, TSO4: true, TSO6: m.tso6},
	}
	if err := d.setUp(mem); err != nil {
		silence()
		// The device must not touch memory that is given back.
		if d.reset() == nil {
			d.rx.free(mem)
			d.tx.free(mem)
		}
		return nil, fmt.Errorf("e1000 at %s: %w", location, err)
	}
	return d, nil
}

func (d *Device) setUp(mem *hw.DMA) error {
	err := d.reset()
	if err != nil {
		return err
	}
	if d.info.MAC, err = d.readMAC(); err != nil {
		return err
	}
	if err = d.rx.open(d, mem); err != nil {
		return err
	}
	if err = d.tx.open(d, mem); err != nil {
		return err
	}
	d.startRecovery()
	d.start()
	up, err := d.readLink()
	d.linkUp.Store(up)
	return err
}

// Info describes the device.
func (d *Device) Info() nic.Info { return d.info }

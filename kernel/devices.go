package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/sluice-os/sluice/drivers/e1000"
	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/drivers/pci"
	"github.com/sluice-os/sluice/drivers/virtio"
	"github.com/sluice-os/sluice/drivers/virtio/mmio"
	"github.com/sluice-os/sluice/drivers/virtio/net"
	virtiopci "github.com/sluice-os/sluice/drivers/virtio/pci"
	"github.com/sluice-os/sluice/drivers/virtio/rng"
	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/irq"
	"github.com/sluice-os/sluice/kernel/vm"
)

// rngWait bounds how long the kernel waits for a random device.
const rngWait = time.Second

// devices is what a bus was found to hold.
type devices struct {
	log   *slog.Logger
	cards []nic.Device
	// places are where network cards sit, those that were left out too.
	places []string
	rngs   []*rng.Device
	host   pciHost
	pci    []*pci.Function
	// memory is what each device was given to reach.
	memory []deviceMemory
	iommus iommus
	// noLines has no line of PCI used where there is something else: not for virtio, which
	// interrupts by its line on arm64 alone.
	noLines bool
	// waitUntil ends the present wait for a random device, as time since boot.
	waitUntil time.Duration
}

// deviceMemory is the memory of the device at a place.
type deviceMemory struct {
	location string
	behind   bool // an IOMMU
	*hw.DMA
}

// add opens the device behind a transport, which reaches memory through bus, when
// the kernel has a driver for it.
func (d *devices) add(t virtio.Transport, bus hw.Bus) {
	dma := hw.NewDMA(vm.DMA{}, bus)
	var err error
	switch t.DeviceType() {
	case virtio.DeviceNet:
		d.place(t.Location())
		var card *net.Device
		if card, err = net.Open(t, dma, net.Config{Log: d.log}); err == nil {
			d.cards = append(d.cards, card)
		}
	case virtio.DeviceEntropy:
		var source *rng.Device
		d.waitUntil = clock.Since() + rngWait
		if source, err = rng.Open(t, dma, func() bool { return clock.Since() < d.waitUntil }); err == nil {
			d.rngs = append(d.rngs, source)
		}
	}
	if err != nil {
		d.log.Error("device left out", "device", t.Location(), "reason", err)
	}
	d.own(t.Location(), dma, bus)
}

// place notes where a network card sits.
func (d *devices) place(location string) {
	if !slices.Contains(d.places, location) {
		d.places = append(d.places, location)
	}
}

// card returns the card at a place; nil: it was left out.
func (d *devices) card(location string) nic.Device {
	for _, c := range d.cards {
		if c.Info().Location == location {
			return c
		}
	}
	return nil
}

// own notes the memory of the device at a place, if it has any.
func (d *devices) own(location string, dma *hw.DMA, bus hw.Bus) {
	if dma.Counters().Maps > 0 {
		_, identity := bus.(hw.Identity)
		d.memory = append(d.memory, deviceMemory{location, !identity, dma})
	}
}

// window is where a virtio-mmio device's registers lie.
type window struct {
	base, size uint64
	line       line
}

// probeMMIO opens the virtio devices in windows of registers. An empty window,
// which is how QEMU shows a slot without a device, is passed over.
func (d *devices) probeMMIO(windows []window) {
	for _, w := range windows {
		if err := d.probeWindow(w); err != nil {
			d.log.Error("device left out", "device", fmt.Sprintf("mmio@%08x", w.base), "reason", err)
		}
	}
}

func (d *devices) probeWindow(w window) error {
	regs, err := vm.MapRegisters(w.base, w.size)
	if err != nil {
		return err
	}
	t, err := mmio.New(regs, w.base, nil)
	if errors.Is(err, virtio.ErrNoDevice) {
		return nil
	}
	if err != nil {
		return err
	}
	if t.DeviceType() == virtio.DeviceNet {
		line, err := windowInterrupt(w, t.Location())
		if err != nil {
			return err
		}
		if t, err = mmio.New(regs, w.base, line); err != nil {
			return err
		}
	}
	d.add(t, hw.Identity{})
	return nil
}

// probePCI opens the devices on the PCI bus that there are drivers for. ecam is the physical
// address of the memory-mapped configuration space of buses first to last, 0
// when there is none.
func (d *devices) probePCI(ecam uint64, first, last uint8) {
	config := pciByPorts()
	if ecam != 0 {
		regs, err := vm.MapRegisters(ecam, (uint64(last)-uint64(first)+1)<<20)
		if err == nil {
			var c pci.Config
			if c, err = pci.NewECAM(regs, first); err == nil {
				config = c
			}
		}
		if err != nil {
			d.log.Warn("PCI configuration goes by ports", "reason", err)
		}
	}
	var err error
	d.pci, err = pci.Enumerate(config)
	if err != nil {
		d.log.Warn("PCI", "reason", err)
	}
	if err := d.host.assign(d.pci); err != nil {
		d.log.Warn("PCI", "reason", err)
	}
	d.iommus.start()
	for _, f := range d.pci {
		var err error
		known := virtiopci.IsDevice(f) || e1000.IsDevice(f)
		if known && f.Class == classNetwork {
			d.place(location(f))
		}
		switch {
		case virtiopci.IsDevice(f):
			err = d.probeVirtIO(f)
		case e1000.IsDevice(f):
			err = d.probeE1000(f)
		case !f.Bridge:
			// Nobody would ever look after a line that it asserts.
			f.Enable(pci.CommandINTxDisable)
		}
		if err != nil {
			// Whatever it was told before, it neither writes nor interrupts.
			f.Disable(pci.CommandBusMaster)
			f.Enable(pci.CommandINTxDisable)
			d.log.Error("device left out", "device", location(f), "reason", err)
		}
	}
	d.tellBypasses()
	d.iommus.serve()
}

// classNetwork is the base class of network controllers (PCI Code and ID Assignment).
const classNetwork = 0x02

// location is where a function sits, as drivers say it.
func location(f *pci.Function) string { return "pci " + f.Address.String() }

// probeE1000 opens one of Intel's cards.
func (d *devices) probeE1000(f *pci.Function) error {
	bus, err := d.iommus.busOf(f, d.pci)
	if err != nil {
		return err
	}
	interrupt, err := d.interruptOf(f)
	if err != nil {
		return err
	}
	dma := hw.NewDMA(vm.DMA{}, bus)
	card, err := e1000.Open(f, mapRegisters, interrupt, dma, e1000.Config{Log: d.log})
	if err == nil {
		d.cards = append(d.cards, card)
	}
	d.own(location(f), dma, bus)
	return err
}

// interruptOf returns the interrupt of one of Intel's cards: by message when it can, else by
// its line. Where that is not known it is a timer's, a hw.Polled.
func (d *devices) interruptOf(f *pci.Function) (hw.Interrupt, error) {
	if d.host.messages() && e1000.ByMessage(f) {
		return irq.MSI(location(f))
	}
	interrupt, why := d.lineOf(f)
	if why == nil {
		return interrupt, nil
	}
	d.log.Warn("no interrupt of the device is heard: a timer looks after it", "device", location(f), "every", irq.PollEvery, "reason", why)
	return irq.Poll(location(f))
}

// lineOf returns the line that a function's pin goes to.
func (d *devices) lineOf(f *pci.Function) (hw.Interrupt, error) {
	if d.noLines {
		return nil, errors.New("intx=off")
	}
	return d.host.line(f, d.pci)
}

// probeVirtIO opens the virtio device at a function.
func (d *devices) probeVirtIO(f *pci.Function) error {
	bus, err := d.iommus.busOf(f, d.pci)
	if err != nil {
		return err
	}
	t, err := virtiopci.New(f, mapRegisters, virtiopci.Interrupts{})
	if err != nil {
		return err
	}
	if t.DeviceType() == virtio.DeviceNet {
		interrupts, err := d.virtioInterrupts(f)
		if err != nil {
			return err
		}
		if t, err = virtiopci.New(f, mapRegisters, interrupts); err != nil {
			return err
		}
	}
	d.add(t, bus)
	return nil
}

// virtioInterrupts returns the interrupts of a virtio device: messages where the machine has
// any.
func (d *devices) virtioInterrupts(f *pci.Function) (i virtiopci.Interrupts, err error) {
	if !d.host.messages() {
		i.Line, err = d.host.line(f, d.pci)
		return i, err
	}
	if i.Queues, err = irq.MSI(location(f) + " queues"); err == nil {
		i.Config, err = irq.MSI(location(f) + " config")
	}
	return i, err
}

// mapRegisters is vm.MapRegisters as a pci.Mapper.
func mapRegisters(phys, size uint64) (hw.Registers, error) {
	regs, err := vm.MapRegisters(phys, size)
	if err != nil {
		return nil, err
	}
	return regs, nil
}

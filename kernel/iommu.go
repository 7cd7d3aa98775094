package kernel

// The machine's IOMMUs: which device is behind which, and what they block.

import (
	"fmt"
	"log/slog"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/pci"
	"github.com/sluice-os/sluice/drivers/vtd"
	"github.com/sluice-os/sluice/kernel/acpi"
	"github.com/sluice-os/sluice/kernel/host/netinfo"
	"github.com/sluice-os/sluice/kernel/iommu"
	"github.com/sluice-os/sluice/kernel/irq"
	"github.com/sluice-os/sluice/kernel/vm"
)

// iommus are the IOMMUs that firmware's table names. The zero value is none.
type iommus struct {
	table   *acpi.DMAR // nil: there are none
	off     bool       // they are not to be used
	blocked func(vtd.Fault)
	units   []*vtd.Unit // as in the table; nil is one that is not used
}

// start turns the IOMMUs on: from here on no device behind one reaches memory that
// it was not given. It is called before any device is opened.
func (i *iommus) start() {
	switch {
	case i.table == nil:
		slog.Info("devices reach all of memory: the machine has no IOMMU; QEMU's q35 has one with -device intel-iommu")
		return
	case i.off:
		slog.Warn("devices reach all of memory: the IOMMU is off by option")
		i.table = nil
		return
	}
	i.units = make([]*vtd.Unit, len(i.table.Units))
	for n, t := range i.table.Units {
		unit, err := openIOMMU(t.Address, i.blocked)
		if err != nil {
			slog.Error("iommu left out: the devices behind it reach all of memory", "reason", err)
			continue
		}
		i.units[n] = unit
		c := unit.Capability()
		slog.Info("iommu", "registers", fmt.Sprintf("%#x", t.Address), "levels", c.Levels, "address_bits", c.Bits, "fault_records", c.Records)
	}
	for _, r := range i.table.Reserved {
		slog.Info("memory that firmware shares with devices is out of their reach", "first", fmt.Sprintf("%#x", r.First), "last", fmt.Sprintf("%#x", r.Last))
	}
}

func openIOMMU(base uint64, blocked func(vtd.Fault)) (*vtd.Unit, error) {
	faults, err := irq.MSI(fmt.Sprintf("iommu@%08x faults", base))
	if err != nil {
		return nil, err
	}
	return vtd.Open(base, vtd.Config{
		Map: mapRegisters, Tables: vm.Tables{}, Flush: vm.WriteBack,
		Interrupt: faults, Blocked: blocked, Log: slog.Default(),
	})
}

// busOf returns the way to memory of a function; all are those on the buses.
func (i *iommus) busOf(f *pci.Function, all []*pci.Function) (hw.Bus, error) {
	if i.table == nil {
		return hw.Identity{}, nil
	}
	n, err := iommu.Find(i.table, all, f)
	if err != nil {
		return nil, err
	}
	if n == iommu.None {
		slog.Warn("no IOMMU is in front of a device: it reaches all of memory", "device", "pci "+f.Address.String())
		return hw.Identity{}, nil
	}
	if i.units[n] == nil {
		return hw.Identity{}, nil // which start has told
	}
	return i.units[n].Domain(vtd.SourceOf(f.Address.Bus, f.Address.Device, f.Address.Function))
}

// serve takes what the IOMMUs block. It is called when all devices are open.
func (i *iommus) serve() {
	for _, unit := range i.units {
		if unit != nil {
			go unit.Serve()
		}
	}
}

// tellBypasses names the devices that do not go through the IOMMU which they are
// behind.
func (d *devices) tellBypasses() {
	for _, m := range d.memory {
		if m.behind && !m.Translated() {
			d.log.Warn("device goes past the IOMMU and reaches all of memory: give QEMU's -device the option iommu_platform=on", "device", m.location)
		}
	}
}

// blocked resets the card that an IOMMU kept from an access.
func (d *devices) blocked(f vtd.Fault) {
	for _, card := range d.cards {
		if c, ok := card.(interface{ Blocked(error) }); ok && card.Info().Location == f.Source.String() {
			c.Blocked(f)
		}
	}
}

// counters are those of the IOMMUs, and of what devices were given to reach.
func (d *devices) counters() (list []netinfo.Counter) {
	var sum hw.DMACounters
	for _, m := range d.memory {
		c := m.Counters()
		sum.Maps += c.Maps
		sum.Unmaps += c.Unmaps
		sum.Bytes += c.Bytes
		sum.Kept += c.Kept
	}
	list = []netinfo.Counter{
		{Name: "dma_maps", Value: sum.Maps}, {Name: "dma_unmaps", Value: sum.Unmaps},
		{Name: "dma_bytes", Value: sum.Bytes}, {Name: "dma_bytes_kept", Value: sum.Kept},
	}
	first := len(list)
	for _, unit := range d.iommus.units {
		if unit == nil {
			continue
		}
		at := first
		unit.Counters(func(name string, v uint64) {
			if at == len(list) {
				list = append(list, netinfo.Counter{Name: name})
			}
			list[at].Value += v
			at++
		})
	}
	return list
}

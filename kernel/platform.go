package kernel

import (
	"log/slog"
	"time"

	"github.com/sluice-os/sluice/kernel/acpi"
	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/entry"
	"github.com/sluice-os/sluice/kernel/fatal"
	"github.com/sluice-os/sluice/kernel/irq"
	"github.com/sluice-os/sluice/kernel/timebase"
	"github.com/sluice-os/sluice/kernel/vm"
)

// findPlatform reads the ACPI tables: interrupt controllers, power, wall clock.
func (m *machine) findPlatform() {
	m.acpi = acpi.Parse(entry.Info.RSDP, vm.Peek)
	for _, p := range m.acpi.Problems {
		slog.Warn("ACPI", "problem", p)
	}
	m.power = newPower(m.acpi)
	fatal.Reset = func() { m.power.reset() }

	var controllers []irq.Controller
	overrides := map[int]irq.Override{}
	if t := m.acpi.MADT; t != nil {
		for _, c := range t.IOAPICs {
			controllers = append(controllers, irq.Controller{Phys: c.Address, GSIBase: int(c.GSIBase)})
		}
		for _, o := range t.Overrides {
			overrides[int(o.ISA)] = irq.Override{GSI: int(o.GSI), ActiveLow: o.ActiveLow}
		}
	} else {
		slog.Warn("the machine's tables name no interrupt controllers (no MADT): give QEMU acpi=on")
	}
	if err := irq.Init(controllers, overrides); err != nil {
		slog.Error("interrupt controllers", "reason", err)
	}

	century := uint8(0)
	if m.acpi.FADT != nil {
		century = m.acpi.FADT.Century
	}
	now, ok := clock.ReadRTC(century)
	if ok {
		clock.SetWall(now)
	} else {
		slog.Warn("the wall clock is not set: the RTC shows no time")
	}
	c := clock.Calibration()
	if c.Hz == 0 {
		c.Missing(func(s timebase.Source, why string) {
			slog.Warn("the clock is a guess: nothing tells the TSC's frequency", "source", s, "problem", why)
		})
	}
	slog.Info("clock", "tsc_hz", c.Hz, "by", c.Source, "now", now.Format(time.RFC3339))
}

// findDevices opens what is on the board's bus.
func (m *machine) findDevices() {
	m.devices.log = slog.Default()
	switch m.board.Bus {
	case MMIO:
		var windows []window
		for _, d := range m.acpi.VirtIO {
			windows = append(windows, window{d.Address, d.Size, int(d.GSI)})
		}
		if len(windows) == 0 {
			for _, d := range m.options.Devices {
				windows = append(windows, window{d.Base, d.Size, int(d.IRQ)})
			}
		}
		m.devices.probeMMIO(windows)
	case PCI:
		var ecam acpi.PCISegment
		for _, s := range m.acpi.PCI {
			if s.Segment == 0 && s.First == 0 {
				ecam = s
			}
		}
		m.devices.iommus = iommus{table: m.acpi.DMAR, off: m.options.NoIOMMU, blocked: m.devices.blocked}
		m.devices.probePCI(ecam.Address, ecam.First, ecam.Last)
	}
}

package kernel

import (
	"log/slog"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/pci"
	"github.com/sluice-os/sluice/kernel/acpi"
	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/console"
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/entry"
	"github.com/sluice-os/sluice/kernel/fatal"
	"github.com/sluice-os/sluice/kernel/irq"
	"github.com/sluice-os/sluice/kernel/timebase"
	"github.com/sluice-os/sluice/kernel/vm"
)

// platform is what the firmware of a PC tells.
type platform struct{ acpi *acpi.Info }

// firstIOAPIC is where a PC's first I/O APIC is (MultiProcessor Specification, 3.1).
const firstIOAPIC = 0xfec00000

// findPlatform reads the ACPI tables: interrupt controllers, power, wall clock.
func (m *machine) findPlatform() {
	m.platform.acpi = acpi.Parse(entry.Info.RSDP, vm.Peek)
	for _, p := range m.platform.acpi.Problems {
		slog.Warn("ACPI", "problem", p)
	}
	m.power = newPower(m.platform.acpi, m.board.ResetEnds)
	fatal.Reset = func() { m.power.reset() }

	var controllers []irq.Controller
	overrides := map[int]irq.Override{}
	if t := m.platform.acpi.MADT; t != nil {
		for _, c := range t.IOAPICs {
			controllers = append(controllers, irq.Controller{Phys: c.Address, GSIBase: int(c.GSIBase)})
		}
		for _, o := range t.Overrides {
			overrides[int(o.ISA)] = irq.Override{GSI: int(o.GSI), ActiveLow: o.ActiveLow}
		}
	} else if m.board.Bus == MMIO {
		// Monitors that have no ACPI have this one, as every PC has.
		controllers = append(controllers, irq.Controller{Phys: firstIOAPIC})
	} else {
		slog.Warn("the machine's tables name no interrupt controllers (no MADT): give QEMU acpi=on")
	}
	if err := irq.Init(controllers, overrides); err != nil {
		slog.Error("interrupt controllers", "reason", err)
	}

	century := uint8(0)
	if m.platform.acpi.FADT != nil {
		century = m.platform.acpi.FADT.Century
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
		for _, d := range m.platform.acpi.VirtIO {
			windows = append(windows, window{base: d.Address, size: d.Size, line: line(d.GSI)})
		}
		if len(windows) == 0 {
			for _, d := range m.options.Devices {
				windows = append(windows, window{base: d.Base, size: d.Size, line: line(d.IRQ)})
			}
		}
		m.devices.probeMMIO(windows)
	case PCI:
		var ecam acpi.PCISegment
		for _, s := range m.platform.acpi.PCI {
			if s.Segment == 0 && s.First == 0 {
				ecam = s
			}
		}
		m.devices.iommus = iommus{table: m.platform.acpi.DMAR, off: m.options.NoIOMMU, blocked: m.devices.blocked}
		m.devices.host, m.devices.noLines = pciHost{*m.platform.acpi}, m.options.NoLines
		m.devices.probePCI(ecam.Address, ecam.First, ecam.Last)
	}
}

// line is an interrupt by its global system interrupt (ACPI 5.2.13).
type line int

// windowInterrupt returns the interrupt of a virtio-mmio device.
func windowInterrupt(w window, name string) (hw.Interrupt, error) { return irq.Line(int(w.line), name) }

// consoleInterrupt returns that of the serial port.
func consoleInterrupt() (hw.Interrupt, error) { return irq.ISA(console.Line, "console") }

// ports gives package pci the I/O ports.
type ports struct{}

func (ports) In32(port uint16) uint32     { return cpu.In32(port) }
func (ports) Out32(port uint16, v uint32) { cpu.Out32(port, v) }

// pciByPorts is the configuration of PCI that every PC has.
func pciByPorts() pci.Config { return pci.NewPorts(ports{}) }

// gatherProcessor adds what the processor gives.
func (m *machine) gatherProcessor() {
	_, b, _, _ := cpu.CPUID(7, 0)
	_, _, c, _ := cpu.CPUID(1, 0)
	if b&(1<<18) != 0 {
		m.note(m.random.FromRDSEED(cpu.RDSEED))
	}
	if c&(1<<30) != 0 {
		m.note(m.random.FromRDRAND(cpu.RDRAND))
	}
	m.random.FromCounter(cpu.RDTSC) // not credited
}

package kernel

// A machine that a device tree describes: QEMU's virt.

import (
	"errors"
	"log/slog"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/pci"
	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/entry"
	"github.com/sluice-os/sluice/kernel/fatal"
	"github.com/sluice-os/sluice/kernel/fdt"
	"github.com/sluice-os/sluice/kernel/irq"
	"github.com/sluice-os/sluice/kernel/vm"
)

// platform is what the device tree tells.
type platform struct {
	windows []window // of virtio devices
	pci     pciHost
}

// findPlatform reads the device tree: virtio devices, the PCI bus, power, wall clock.
func (m *machine) findPlatform() {
	tree, ok := fdt.Open(vm.Peek(entry.Found.Tree, entry.Found.TreeSize))
	if !ok {
		slog.Error("the device tree cannot be read any more")
	}
	fatal.Reset = func() { m.power.reset() }
	for n, ok := tree.Root(); ok; n, ok = n.Next() {
		if !n.Enabled() {
			continue
		}
		switch {
		case n.Has("compatible", "virtio,mmio"):
			start, size, has := n.Reg(0)
			in, wired := n.Interrupt(0)
			if has && wired {
				m.platform.windows = append(m.platform.windows, window{base: start, size: size, line: line{in.Number, in.Edge}})
			}
		case n.Has("compatible", "pci-host-ecam-generic"):
			host, err := newHost(n)
			if err != nil {
				slog.Warn("PCI is left out", "reason", err)
			} else if m.platform.pci.node == nil {
				m.platform.pci = host
			}
		case n.Has("compatible", "arm,psci-0.2"), n.Has("compatible", "arm,psci-1.0"):
			m.power.call = cpu.SecureCall
			if n.Has("method", "hvc") {
				m.power.call = cpu.HypervisorCall
			}
		case n.Has("compatible", "arm,pl031"):
			start, _, _ := n.Reg(0)
			m.setWall(start)
		}
	}
	slog.Info("clock", "counter_hz", clock.Hz(), "now", time.Unix(0, clock.WallClock()+clock.Nanotime()).UTC().Format(time.RFC3339))
}

// clockBytes is the length of the registers of Arm's PL031, of which the first is the
// time in seconds (PrimeCell RTC, technical reference manual, 3.3.1).
const clockBytes = 0x1000

// setWall takes the time from the clock at a physical address.
func (m *machine) setWall(at uint64) {
	regs, err := vm.MapRegisters(at, clockBytes)
	if err != nil {
		slog.Warn("the wall clock is not set", "reason", err)
		return
	}
	clock.SetWall(time.Unix(int64(regs.Read32(0)), 0))
}

// findDevices opens what is memory-mapped, then what is on the PCI bus.
func (m *machine) findDevices() {
	m.devices.log = slog.Default()
	m.devices.probeMMIO(m.platform.windows)
	if m.devices.host = m.platform.pci; m.devices.host.node != nil {
		m.devices.noLines = m.options.NoLines
		m.devices.probePCI(m.devices.host.config, 0, 0)
	}
}

// line is an interrupt by its number, and how it is triggered.
type line struct {
	number int
	edge   bool
}

// windowInterrupt returns the interrupt of a virtio-mmio device.
func windowInterrupt(w window, name string) (hw.Interrupt, error) {
	return irq.Line(w.line.number, w.line.edge, name)
}

// consoleInterrupt returns that of the serial port.
func consoleInterrupt() (hw.Interrupt, error) {
	in := entry.Found.UARTInterrupt
	return irq.Line(in.Number, in.Edge, "console")
}

// noConfig is the configuration of a PCI bus that has nothing on it: there is no other way to
// one than through memory.
type noConfig struct{}

func (noConfig) Read32(pci.Address, uint16) uint32   { return ^uint32(0) }
func (noConfig) Write32(pci.Address, uint16, uint32) {}

func pciByPorts() pci.Config { return noConfig{} }

// gatherProcessor adds what the processor gives.
func (m *machine) gatherProcessor() {
	m.random.FromCounter(cpu.Counter) // not credited
}

// Functions of the Power State Coordination Interface (Arm DEN0022, 5.1).
const (
	psciOff   = 0x84000008
	psciReset = 0x84000009
)

// power turns the machine off and resets it.
type power struct {
	call func(function, a, b, c uint64) uint64 // nil: there is no way
}

var errNoPSCI = errors.New("the machine has no PSCI")

// off turns the machine off.
func (p *power) off() error {
	if p.call == nil {
		return errNoPSCI
	}
	slog.Info("power off")
	p.call(psciOff, 0, 0, 0)
	return errors.New("the machine is still on")
}

// reboot resets the machine for a person.
func (p *power) reboot() error {
	slog.Info("reboot")
	return p.reset()
}

// reset resets the machine. It neither allocates nor waits.
func (p *power) reset() error {
	if p.call == nil {
		return errNoPSCI
	}
	p.call(psciReset, 0, 0, 0)
	return errors.New("the machine was not reset")
}

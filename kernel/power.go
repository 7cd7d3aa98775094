package kernel

import (
	"errors"
	"log/slog"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/kernel/acpi"
	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/vm"
)

// power turns the machine off and resets it, as ACPI says.
type power struct {
	fadt  *acpi.FADT
	sleep *acpi.SleepType
	// reset and sleepControl are mapped when they are in memory, so that they
	// can be written in the fatal path.
	resetRegs, sleepRegs hw.Registers
}

// Bits of the sleep registers (ACPI 6.4, 4.8.3.2.1 and 4.8.3.7) and ports of
// the PC that reset it.
const (
	sleepTypeShift   = 10
	sleepEnable      = 1 << 13
	acpiEnabled      = 1 << 0
	reducedTypeShift = 2
	reducedEnable    = 1 << 5

	portReset     = 0xcf9 // PCI chipsets
	resetFull     = 0x0e
	portKeyboard  = 0x64 // 8042 controller
	keyboardReset = 0xfe

	// settle is how long a register that turns the machine off may take.
	settle = time.Second
)

func newPower(info *acpi.Info) power {
	p := power{fadt: info.FADT, sleep: info.SoftOff}
	if p.fadt == nil {
		p.fadt = &acpi.FADT{}
	}
	p.resetRegs = mapRegister(p.fadt.Reset)
	p.sleepRegs = mapRegister(p.fadt.SleepControl)
	return p
}

// mapRegister maps a register that lies in memory; nil for others.
func mapRegister(r acpi.Register) hw.Registers {
	if !r.Exists() || r.Space != acpi.SystemMemory {
		return nil
	}
	regs, err := vm.MapRegisters(r.Address, 1)
	if err != nil {
		slog.Warn("power register", "at", r.String(), "reason", err)
		return nil
	}
	return regs
}

// write8 writes a register of eight bits.
func write8(r acpi.Register, regs hw.Registers, v uint8) {
	switch {
	case !r.Exists():
	case regs != nil:
		regs.Write8(0, v)
	case r.Space == acpi.SystemIO:
		cpu.Out8(uint16(r.Address), v)
	}
}

// off turns the machine off.
func (p *power) off() error {
	slog.Info("power off")
	if p.sleep == nil {
		return errors.New("the machine's tables do not say how to turn it off (no _S5_)")
	}
	f := p.fadt
	if f.HardwareReduced {
		write8(f.SleepControl, p.sleepRegs, p.sleep.A<<reducedTypeShift|reducedEnable)
	} else {
		p.enableACPI()
		for _, c := range []struct {
			r    acpi.Register
			kind uint8
		}{{f.PM1aControl, p.sleep.A}, {f.PM1bControl, p.sleep.B}} {
			if c.r.Exists() && c.r.Space == acpi.SystemIO {
				cpu.Out16(uint16(c.r.Address), uint16(c.kind)<<sleepTypeShift|sleepEnable)
			}
		}
	}
	for end := clock.Since() + settle; clock.Since() < end; {
	}
	return errors.New("the machine is still on")
}

// enableACPI leaves the firmware's legacy mode, where the sleep registers
// belong to it (4.8.2.1).
func (p *power) enableACPI() {
	f := p.fadt
	if f.SMICommand == 0 || f.ACPIEnable == 0 || f.PM1aControl.Space != acpi.SystemIO || !f.PM1aControl.Exists() {
		return
	}
	port := uint16(f.PM1aControl.Address)
	if cpu.In16(port)&acpiEnabled != 0 {
		return
	}
	cpu.Out8(f.SMICommand, f.ACPIEnable)
	for end := clock.Since() + settle; clock.Since() < end && cpu.In16(port)&acpiEnabled == 0; {
	}
}

// reboot resets the machine for a person.
func (p *power) reboot() error {
	slog.Info("reboot")
	return p.reset()
}

// reset resets the machine: by ACPI, by the chipset, by the keyboard
// controller. It neither allocates nor waits.
func (p *power) reset() error {
	write8(p.fadt.Reset, p.resetRegs, p.fadt.ResetValue)
	cpu.Out8(portReset, resetFull)
	cpu.Out8(portKeyboard, keyboardReset)
	return errors.New("the machine was not reset: it has no reset register that works")
}

package kernel

import (
	"errors"
	"log/slog"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/kernel/acpi"
	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/entry"
	"github.com/sluice-os/sluice/kernel/vm"
)

// power turns the machine off and resets it by the plans of package acpi. They
// are made at boot, registers in memory mapped, so that a reset works in the
// fatal path.
type power struct {
	plan      acpi.PowerOff
	planErr   error
	resetBy   acpi.Access
	resetErr  error
	registers map[acpi.Register]hw.Registers // those that lie in memory
	firmware  entry.Firmware
	// resetEnds is Board.ResetEnds.
	resetEnds bool
}

// Ports of the PC that reset it when ACPI does not.
const (
	portReset     = 0xcf9 // PCI chipsets
	resetFull     = 0x0e
	portKeyboard  = 0x64 // 8042 controller
	keyboardReset = 0xfe

	// settle is how long a register that turns the machine off may take.
	settle = time.Second
)

func newPower(info *acpi.Info, resetEnds bool) power {
	p := power{registers: map[acpi.Register]hw.Registers{}, firmware: entry.FindFirmware(), resetEnds: resetEnds}
	p.plan, p.planErr = info.PowerOff()
	p.resetBy, p.resetErr = info.Reset()
	for _, a := range p.plan.Writes {
		p.mapRegister(a.Register)
	}
	if e := p.plan.Enable; e != nil {
		p.mapRegister(e.Command.Register)
		p.mapRegister(e.Status)
	}
	if p.resetErr == nil {
		p.mapRegister(p.resetBy.Register)
	}
	return p
}

func (p *power) mapRegister(r acpi.Register) {
	if r.Space != acpi.SystemMemory || p.registers[r] != nil {
		return
	}
	regs, err := vm.MapRegisters(r.Address, uint64(r.Bits/8))
	if err != nil {
		slog.Warn("power register", "at", r.String(), "reason", err)
		return
	}
	p.registers[r] = regs
}

// read returns a register of 8 or 16 bits.
func (p *power) read(r acpi.Register) uint16 {
	regs := p.registers[r]
	switch {
	case r.Space == acpi.SystemIO && r.Bits == 8:
		return uint16(cpu.In8(uint16(r.Address)))
	case r.Space == acpi.SystemIO:
		return cpu.In16(uint16(r.Address))
	case regs == nil:
		return 0
	case r.Bits == 8:
		return uint16(regs.Read8(0))
	}
	return regs.Read16(0)
}

// do carries out one access.
func (p *power) do(a acpi.Access) {
	old := uint16(0)
	if a.Keep != 0 {
		old = p.read(a.Register)
	}
	v, r, regs := a.Value(old), a.Register, p.registers[a.Register]
	switch {
	case r.Space == acpi.SystemIO && r.Bits == 8:
		cpu.Out8(uint16(r.Address), uint8(v))
	case r.Space == acpi.SystemIO:
		cpu.Out16(uint16(r.Address), v)
	case regs == nil:
	case r.Bits == 8:
		regs.Write8(0, uint8(v))
	default:
		regs.Write16(0, v)
	}
}

// off turns the machine off.
func (p *power) off() error {
	if p.planErr != nil && p.resetEnds {
		slog.Info("power off", "by", "reset")
		return p.reset()
	}
	if p.planErr != nil && !p.firmware.Present() {
		return p.planErr
	}
	if p.planErr != nil {
		slog.Info("power off", "by", "UEFI")
		p.firmware.Reset(entry.ResetShutdown)
		return errors.New("the machine is still on")
	}
	slog.Info("power off")
	if e := p.plan.Enable; e != nil && p.read(e.Status)&e.Mask == 0 {
		p.do(e.Command)
		for end := clock.Since() + settle; clock.Since() < end && p.read(e.Status)&e.Mask == 0; {
		}
	}
	flags := cpu.DisableInterrupts()
	for _, a := range p.plan.Writes {
		p.do(a)
	}
	cpu.Restore(flags)
	for end := clock.Since() + settle; clock.Since() < end; {
	}
	return errors.New("the machine is still on")
}

// reboot resets the machine for a person.
func (p *power) reboot() error {
	if p.firmware.Present() {
		slog.Info("reboot", "by", "UEFI")
	} else {
		slog.Info("reboot")
	}
	return p.reset()
}

// reset resets the machine: by UEFI where that has started it, by ACPI, by the chipset,
// by the keyboard controller, by a fault that nothing can take. It neither allocates nor
// waits.
func (p *power) reset() error {
	p.firmware.Reset(entry.ResetCold)
	if p.resetErr == nil {
		p.do(p.resetBy)
	}
	cpu.Out8(portReset, resetFull)
	cpu.Out8(portKeyboard, keyboardReset)
	cpu.TripleFault()
	return nil
}

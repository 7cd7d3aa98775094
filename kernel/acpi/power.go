package acpi

// How to turn the machine off and how to reset it, as data: which registers
// take which values in which order. Who holds the ports and the memory does it.

import "errors"

// Access is one write of a power sequence.
type Access struct {
	// Register is in SystemIO or SystemMemory; Bits is 8 or 16 and all of it
	// lies inside its space. The write is one access of that width.
	Register Register
	// Keep are the bits whose old value stays; with 0 the register need not be
	// read. Set are the bits that become 1; all others become 0.
	Keep, Set uint16
}

// Value returns what to write into the register when it holds old.
func (a Access) Value(old uint16) uint16 { return old&a.Keep | a.Set }

// PowerOff is how to turn the machine off (7.4.2, 16.1). Do it with interrupts
// off: first Enable unless it is nil, then each of Writes in order.
// The machine may take a moment; it is on when nothing happened.
type PowerOff struct {
	Enable *Enable
	Writes []Access // one to four
}

// Enable is how the operating system takes the power registers over from the
// firmware (4.8.2.1): when no bit of Mask is set in Status, do Command and read
// Status until one is. The firmware may take seconds or never do it.
type Enable struct {
	Command Access
	Status  Register // as an Access's
	Mask    uint16
}

// Bits of the power registers.
const (
	sciEnabled   = 1 << 0 // PM1 control (4.8.3.2.1)
	pm1TypeShift = 10
	pm1TypeMask  = 7 << pm1TypeShift
	pm1Enable    = 1 << 13

	reducedTypeShift = 2 // sleep control (4.8.3.7)
	reducedEnable    = 1 << 5
	wakeStatus       = 1 << 7 // sleep status; writing 1 clears it
)

var (
	errNoFADT   = errors.New("the machine's tables do not say how to control its power: there is no FADT")
	errNoSleep  = errors.New("the machine's tables do not say how to turn it off: there is no package _S5_ with constant values")
	errNoPM1    = errors.New("the machine's tables do not say how to turn it off: the FADT has no usable PM1a control register")
	errNoSleeps = errors.New("the machine's tables do not say how to turn it off: the FADT is hardware-reduced and has no usable sleep control register")
	errNoReset  = errors.New("the machine's tables do not say how to reset it: the FADT has no usable reset register")
)

// PowerOff says how to turn the machine off. An error says what is missing.
func (i *Info) PowerOff() (PowerOff, error) {
	switch {
	case i.FADT == nil:
		return PowerOff{}, errNoFADT
	case i.SoftOff == nil:
		return PowerOff{}, errNoSleep
	case i.FADT.HardwareReduced:
		return i.FADT.reducedOff(i.SoftOff.A)
	}
	return i.FADT.pm1Off(*i.SoftOff)
}

// Reset says how to reset the machine: by a write, with nothing to keep. An
// error says what is missing; the machine may have other ways, such as the
// keyboard controller.
func (i *Info) Reset() (Access, error) {
	if i.FADT == nil {
		return Access{}, errNoFADT
	}
	r, ok := i.FADT.Reset.access(8)
	if !ok {
		return Access{}, errNoReset
	}
	return Access{Register: r, Set: uint16(i.FADT.ResetValue)}, nil
}

// reducedOff uses the sleep registers of a hardware-reduced machine: an old
// wake status must not end the sleep at once.
func (f *FADT) reducedOff(kind uint8) (off PowerOff, err error) {
	control, ok := f.SleepControl.access(8)
	if !ok {
		return off, errNoSleeps
	}
	if status, ok := f.SleepStatus.access(8); ok {
		off.Writes = append(off.Writes, Access{Register: status, Set: wakeStatus})
	}
	off.Writes = append(off.Writes, Access{Register: control, Set: uint16(kind)<<reducedTypeShift | reducedEnable})
	return off, nil
}

// pm1Off uses the PM1 control registers: the sleep type in both, and only then
// the bit that begins the sleep.
func (f *FADT) pm1Off(sleep SleepType) (off PowerOff, err error) {
	a, ok := f.PM1aControl.access(16)
	if !ok {
		return off, errNoPM1
	}
	const keep = 0xffff &^ (pm1TypeMask | pm1Enable)
	writes := []Access{{a, keep, uint16(sleep.A) << pm1TypeShift}}
	if b, ok := f.PM1bControl.access(16); ok {
		writes = append(writes, Access{b, keep, uint16(sleep.B) << pm1TypeShift})
	}
	off.Writes = writes
	for _, w := range writes {
		w.Set |= pm1Enable
		off.Writes = append(off.Writes, w)
	}
	if f.SMICommand != 0 && f.ACPIEnable != 0 {
		off.Enable = &Enable{
			Command: Access{Register: Register{SystemIO, 8, uint64(f.SMICommand)}, Set: uint16(f.ACPIEnable)},
			Status:  a, Mask: sciEnabled,
		}
	}
	return off, nil
}

// access returns r with the width that its kind of register is written with,
// whatever width the table gives. It reports false when r is none, is in PCI
// configuration space or does not fit into its space.
func (r Register) access(bits uint8) (Register, bool) {
	end := uint64(1 << 16)
	switch r.Space {
	case SystemIO:
	case SystemMemory:
		end = physEnd
	default:
		return Register{}, false
	}
	if !r.Exists() || r.Address > end-uint64(bits/8) {
		return Register{}, false
	}
	r.Bits = bits
	return r, true
}

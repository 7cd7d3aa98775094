package acpi

// The Fixed ACPI Description Table (5.2.9): timers, power, reset.

import (
	"encoding/binary"
	"fmt"
)

// Space is where a register lies (5.2.3.2, table 5.1).
type Space uint8

const (
	SystemMemory Space = 0
	SystemIO     Space = 1
	PCIConfig    Space = 2
)

// Register is a register's place. The zero Register is none.
type Register struct {
	Space   Space
	Bits    uint8  // width
	Address uint64 // a port number (below 65536) for SystemIO
}

// Exists reports whether there is such a register.
func (r Register) Exists() bool { return r.Address != 0 }

// String returns the register's place, such as "port 0x608".
func (r Register) String() string {
	switch {
	case !r.Exists():
		return "none"
	case r.Space == SystemIO:
		return fmt.Sprintf("port %#x", r.Address)
	case r.Space == SystemMemory:
		return fmt.Sprintf("memory %#x", r.Address)
	}
	return fmt.Sprintf("space %d %#x", r.Space, r.Address)
}

// FADT is the part of the table that the kernel uses. A machine with
// HardwareReduced set has no SCI, PM timer or PM1 blocks: it is turned off
// through SleepControl.
type FADT struct {
	Revision        uint8
	HardwareReduced bool
	SCI             uint16 // interrupt: a global system interrupt, or 8259 input
	// Writing ACPIEnable to the port SMICommand turns ACPI mode on (4.8.2.1);
	// 0 means that it is on already.
	SMICommand  uint16
	ACPIEnable  uint8
	PM1aControl Register // SLP_TYP is bits 10 to 12, SLP_EN bit 13 (4.8.3.2.1)
	PM1bControl Register
	PMTimer     Register // counts at 3.579545 MHz (4.8.2.1)
	PMTimer32   bool     // it has 32 bits, else 24
	// Writing ResetValue to Reset resets the machine (4.8.3.6).
	Reset      Register
	ResetValue uint8
	// SLP_TYP is bits 2 to 4 of SleepControl, SLP_EN bit 5; WAK_STS is bit 7
	// of SleepStatus (4.8.3.7).
	SleepControl, SleepStatus Register
	Century                   uint8  // RTC register that holds the century; 0: none
	DSDT                      uint64 // address
	BootFlags                 uint16 // IAPC_BOOT_ARCH (table 5.11)
}

// Offsets in the table, in bytes (table 5.9).
const (
	fadtDSDT         = 40
	fadtSCI          = 46
	fadtSMICommand   = 48
	fadtACPIEnable   = 52
	fadtPM1aControl  = 64
	fadtPM1bControl  = 68
	fadtPMTimer      = 76
	fadtPM1Length    = 89
	fadtTimerLength  = 91
	fadtCentury      = 108
	fadtBootFlags    = 109
	fadtFlags        = 112
	fadtSize1        = 116 // of revision 1
	fadtReset        = 116
	fadtResetValue   = 128
	fadtXDSDT        = 140
	fadtXPM1aControl = 172
	fadtXPM1bControl = 184
	fadtXPMTimer     = 208
	fadtSleepControl = 244
	fadtSleepStatus  = 256
)

// Flags (table 5.10).
const (
	flagTimer32         = 1 << 8
	flagReset           = 1 << 10
	flagHardwareReduced = 1 << 20
)

const registerSize = 12

func (p *parser) parseFADT(table []byte) {
	if p.FADT != nil {
		p.problem("a second FADT is left out")
		return
	}
	fadt := new(FADT)
	if why := fadt.parse(table); why != "" {
		p.problem("FADT: %s", why)
		return
	}
	p.FADT = fadt
}

// ReadFADT reads the FADT alone. It allocates nothing, so that it can be used
// before there is a heap. It reports false when there is no good FADT.
func ReadFADT(fadt *FADT, rsdp uint64, memory Memory) bool {
	root, why := findRoot(rsdp, memory)
	if why != "" {
		return false
	}
	entries, why := loadTable(memory, root.table, root.signature)
	if why != "" {
		return false
	}
	entries = entries[headerSize:]
	for n := 0; n < tablesMax && len(entries) >= root.entrySize; n++ {
		if table, why := loadTable(memory, root.entry(entries), "FACP"); why == "" {
			return fadt.parse(table) == ""
		}
		entries = entries[root.entrySize:]
	}
	return false
}

func (f *FADT) parse(t []byte) (why string) {
	if len(t) < fadtSize1 {
		return "shorter than 116 bytes"
	}
	flags := binary.LittleEndian.Uint32(t[fadtFlags:])
	*f = FADT{
		Revision:        t[8],
		HardwareReduced: flags&flagHardwareReduced != 0,
		Century:         t[fadtCentury],
		DSDT:            uint64(binary.LittleEndian.Uint32(t[fadtDSDT:])),
		BootFlags:       binary.LittleEndian.Uint16(t[fadtBootFlags:]),
	}
	if len(t) >= fadtXDSDT+8 {
		if x := binary.LittleEndian.Uint64(t[fadtXDSDT:]); x != 0 {
			f.DSDT = x
		}
	}
	if flags&flagReset != 0 && len(t) > fadtResetValue {
		f.Reset, f.ResetValue = register(t, fadtReset), t[fadtResetValue]
	}
	if f.HardwareReduced {
		f.SleepControl, f.SleepStatus = register(t, fadtSleepControl), register(t, fadtSleepStatus)
		return ""
	}
	f.SCI = binary.LittleEndian.Uint16(t[fadtSCI:])
	if port := binary.LittleEndian.Uint32(t[fadtSMICommand:]); port <= 0xffff {
		f.SMICommand, f.ACPIEnable = uint16(port), t[fadtACPIEnable]
	}
	f.PM1aControl = block(t, fadtXPM1aControl, fadtPM1aControl, t[fadtPM1Length])
	f.PM1bControl = block(t, fadtXPM1bControl, fadtPM1bControl, t[fadtPM1Length])
	if t[fadtTimerLength] == 4 { // any other length says that there is none
		f.PMTimer = block(t, fadtXPMTimer, fadtPMTimer, 4)
	}
	f.PMTimer32 = flags&flagTimer32 != 0
	return ""
}

// register reads a generic address structure (5.2.3.2); one that lies behind
// the table's end or in a space that the kernel cannot reach is none.
func register(t []byte, off int) (r Register) {
	if len(t) < off+registerSize {
		return r
	}
	r = Register{Space(t[off]), t[off+1], binary.LittleEndian.Uint64(t[off+4:])}
	if r.Space > PCIConfig || r.Space == SystemIO && r.Address > 0xffff || r.Space == SystemMemory && r.Address >= physEnd {
		return Register{}
	}
	return r
}

// block reads a register block: the extended field when it is there, else the
// port number of ACPI 1.0, for a block of the given length in bytes.
func block(t []byte, extended, legacy int, length uint8) Register {
	if r := register(t, extended); r.Exists() {
		return r
	}
	port := binary.LittleEndian.Uint32(t[legacy:])
	if port == 0 || port > 0xffff {
		return Register{}
	}
	return Register{SystemIO, uint8(min(int(length)*8, 64)), uint64(port)}
}

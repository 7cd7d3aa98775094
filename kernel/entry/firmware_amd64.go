package entry

import (
	"encoding/binary"

	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/vm"
)

// Kinds of UEFI's ResetSystem (UEFI Specification 2.10, section 8.5.1).
const (
	ResetCold     = 0
	ResetShutdown = 2
)

const (
	// runtimeSignature begins the table of runtime services ("RUNTSERV"), in which
	// ResetSystem is at runtimeReset (section 4.5).
	runtimeSignature = 0x56524553544e5552
	runtimeReset     = 104
)

// Firmware is what is left of UEFI when the kernel runs.
type Firmware struct {
	reset uint64 // address of ResetSystem; 0: there is none
}

// FindFirmware looks at the runtime services that the loader has told of.
func FindFirmware() (f Firmware) {
	if Info.Screen.Runtime == 0 {
		return f
	}
	table := vm.Peek(Info.Screen.Runtime, runtimeReset+8)
	if table == nil || binary.LittleEndian.Uint64(table) != runtimeSignature {
		return f
	}
	// It is called through the boot page tables, which have the first 4 GiB.
	if reset := binary.LittleEndian.Uint64(table[runtimeReset:]); reset < 1<<32 {
		f.reset = reset
	}
	return f
}

// Present reports whether there is a firmware to call.
func (f Firmware) Present() bool { return f.reset != 0 }

// Reset has the firmware reset the machine or turn it off. It returns when there is no
// firmware, or when that did not do it. It needs no memory.
func (f Firmware) Reset(kind uint64) {
	if f.reset == 0 {
		return
	}
	flags := cpu.DisableInterrupts()
	callReset(f.reset, kind)
	cpu.Restore(flags)
}

// callReset calls ResetSystem by the calling convention of UEFI (section 2.3.4), on a stack
// of its own and with each address of the first 4 GiB standing for itself. Interrupts
// are off.
//
//go:noescape
func callReset(function, kind uint64)

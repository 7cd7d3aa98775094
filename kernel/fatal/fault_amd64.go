package fatal

import (
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/trap"
)

// exitPort is that of isa-debug-exit.
const exitPort = 0xf4

// leave ends QEMU with the status 2*code+1, if it has the device for it.
func leave(code uint8) { cpu.Out8(exitPort, code) }

// Fault is trap.Fatal.
func Fault(f *trap.Frame) {
	if busy {
		text("\nsluice: another fault while this one was printed\n")
		tail()
		stop(codeFault)
	}
	busy = true
	text("\nsluice: fatal: ")
	text(trap.Name(f.Vector))
	text(" (vector ")
	decimal(f.Vector)
	text(", code ")
	hex(f.Code, 1)
	text(")")
	if f.Vector == 14 {
		text(" at address ")
		hex(f.Addr, 16)
	}
	text("\n")
	registers(f)
	text("trace:\n")
	trace(uintptr(f.IP), uintptr(f.BP))
	tail()
	stop(codeFault)
}

func registers(f *trap.Frame) {
	for i, r := range [...]struct {
		name string
		v    uint64
	}{
		{"RIP", f.IP}, {"RSP", f.SP}, {"RBP", f.BP}, {"RFLAGS", f.Flags},
		{"RAX", f.AX}, {"RBX", f.BX}, {"RCX", f.CX}, {"RDX", f.DX},
		{"RSI", f.SI}, {"RDI", f.DI}, {"R8", f.R8}, {"R9", f.R9},
		{"R10", f.R10}, {"R11", f.R11}, {"R12", f.R12}, {"R13", f.R13},
		{"R14", f.R14}, {"R15", f.R15}, {"CS", f.CS}, {"CR2", f.Addr},
	} {
		for range 7 - len(r.name) {
			text(" ")
		}
		text(r.name)
		text(" ")
		hex(r.v, 16)
		if i%4 == 3 {
			text("\n")
		}
	}
}

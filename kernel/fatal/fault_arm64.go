package fatal

import "github.com/sluice-os/sluice/kernel/trap"

// leave would end QEMU with a status: its virt has no device for it.
func leave(uint8) {}

// Fault is trap.Fatal.
func Fault(f *trap.Fault) {
	if busy {
		text("\nsluice: another fault while this one was printed\n")
		tail()
		stop(codeFault)
	}
	busy = true
	text("\nsluice: fatal: ")
	text(trap.Name(trap.Class(f.Syndrome)))
	text(" (vector ")
	decimal(f.Kind)
	text(", syndrome ")
	hex(f.Syndrome, 8)
	text(") at address ")
	hex(f.Addr, 16)
	text("\n")
	registers(f)
	text("trace:\n")
	trace(uintptr(f.PC), uintptr(f.R[29]))
	tail()
	stop(codeFault)
}

func registers(f *trap.Fault) {
	for i, v := range f.R {
		if i < 10 {
			text(" ")
		}
		text("    R")
		decimal(uint64(i))
		text(" ")
		hex(v, 16)
		if i%4 == 3 {
			text("\n")
		}
	}
	text("\n     PC ")
	hex(f.PC, 16)
	text("     SP ")
	hex(f.SP, 16)
	text("  STATE ")
	hex(f.State, 16)
	text("\n")
}

package console

// The PC's first serial port.

import (
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/usbarmory/tamago/soc/intel/uart"
)

// COM1 and its interrupt line.
const (
	port = 0x3f8
	// Line is the ISA interrupt of the port.
	Line = 4

	ier   = port + uart.IER
	fcr   = port + uart.FCR
	lcr   = port + uart.LCR
	mcr   = port + uart.MCR
	lsr   = port + uart.LSR
	thr   = port + uart.THR
	spins = 100_000 // a byte at 1200 baud takes less
)

// absent says that there is no port: nothing is read from it, and what is written goes to the
// screen alone. Where none answers all bits read as ones, or as zeros.
var absent bool

// Present says that there is a port, once Init has looked for it.
func Present() bool { return !absent }

// find looks for the port, whose interrupts are off: the upper half of its interrupt register
// reads as zeros, and its transmitter becomes free.
func find() bool {
	if cpu.In8(ier)&0xf0 != 0 {
		return false
	}
	for range spins {
		if cpu.In8(lsr)&(1<<uart.LSR_THRE) != 0 {
			return true
		}
	}
	return false
}

// Init sets 115200 baud, 8 data bits, no parity, FIFOs on, and the receive
// interrupt, which needs OUT2 on a PC. Turning the FIFOs on drops what has been
// received: where a byte is waiting, as when QEMU's input is a pipe, they stay
// off, and the sender holds the rest back. A port that is not there is left alone.
func Init() {
	cpu.Out8(ier, 0)
	if absent = !find(); absent {
		return
	}
	cpu.Out8(lcr, 0x80) // divisor latch
	cpu.Out8(port, 1)
	cpu.Out8(ier, 0)
	cpu.Out8(lcr, 0x03)
	if cpu.In8(lsr)&(1<<uart.LSR_DR) == 0 {
		cpu.Out8(fcr, 0x07)
	}
	cpu.Out8(mcr, 0x0b)
	cpu.Out8(ier, 0x01)
}

// send writes one byte when there is room, or after a while.
//
//go:nosplit
func send(c byte) {
	if absent {
		return
	}
	for range spins {
		if cpu.In8(lsr)&(1<<uart.LSR_THRE) != 0 {
			break
		}
	}
	cpu.Out8(thr, c)
}

// waiting reports whether a byte has come, and receive takes it.
func waiting() bool { return !absent && cpu.In8(lsr)&(1<<uart.LSR_DR) != 0 }

func receive() byte { return cpu.In8(port) }

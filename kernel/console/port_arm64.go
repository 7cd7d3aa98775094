package console

// Arm's PL011 (PrimeCell UART, technical reference manual, chapter 3).

import "unsafe"

// Registers, as offsets.
const (
	dr   = 0x000
	fr   = 0x018
	lcrH = 0x02c
	cr   = 0x030
	imsc = 0x038
	icr  = 0x044

	frRXFE = 1 << 4 // nothing has come
	frTXFF = 1 << 5 // no room

	lcrFEN    = 1 << 4
	lcr8      = 3 << 5
	crEnabled = 1<<0 | 1<<8 | 1<<9

	interruptReceive = 1<<4 | 1<<6 // something has come; and lies there

	spins = 100_000 // a byte at 1200 baud takes less
)

// base is where the registers are mapped; 0: nowhere yet.
var base uintptr

// Present says that there is a port: the device tree has one, without which nothing starts.
func Present() bool { return true }

// Init sets 8 data bits, no parity, FIFOs on, and the receive interrupt; the speed stays
// what firmware has set. The registers are mapped at an address.
func Init(at uintptr) {
	base = at
	write(imsc, 0)
	write(icr, 0x7ff)
	write(lcrH, lcr8|lcrFEN)
	write(cr, crEnabled)
	write(imsc, interruptReceive)
}

// Move says that the registers are mapped elsewhere from now on.
func Move(at uintptr) { base = at }

// Safety of both: base is where Init's caller has mapped a page of registers.
//
//go:nosplit
//go:noinline
func read(off uintptr) uint32 { return *(*uint32)(unsafe.Pointer(base + off)) }

//go:nosplit
//go:noinline
func write(off uintptr, v uint32) { *(*uint32)(unsafe.Pointer(base + off)) = v }

// send writes one byte when there is room, or after a while.
//
//go:nosplit
func send(c byte) {
	if base == 0 {
		return
	}
	for range spins {
		if read(fr)&frTXFF == 0 {
			break
		}
	}
	write(dr, uint32(c))
}

// waiting reports whether a byte has come, and receive takes it.
func waiting() bool { return read(fr)&frRXFE == 0 }

func receive() byte { return byte(read(dr)) }

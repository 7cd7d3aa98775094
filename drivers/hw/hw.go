// Package hw names what a driver needs from the machine under it: registers,
// memory that a device can reach, and interrupts. The kernel implements these
// interfaces on real hardware, the drivers' tests on plain memory.
//
// A driver never learns a physical address. It takes memory from a DMA, which
// maps each segment onto the device's bus once and returns the address to
// program into the device.
package hw

// Registers is one window of device registers. Offsets are in bytes from the
// start of the window and must be aligned to the width of the access; one that
// lies outside the window panics, so a driver checks what a device reports
// before using it as an offset. Accesses are neither merged nor reordered.
type Registers interface {
	// Size returns the length of the window in bytes.
	Size() uint64

	Read8(off uint64) uint8
	Read16(off uint64) uint16
	Read32(off uint64) uint32
	Write8(off uint64, v uint8)
	Write16(off uint64, v uint16)
	Write32(off uint64, v uint32)
}

// Interrupt is one interrupt source of a device.
//
// An interrupt is remembered until it is waited for: Wait returns at once when
// Raise (or the hardware) came first, and any number of them collapse into one.
type Interrupt interface {
	// Wait parks the calling goroutine until the interrupt is raised. Only one
	// goroutine may wait at a time.
	Wait()
	// Raise wakes the waiter as the hardware would.
	Raise()
	// MSI returns the address and data that a device writes to raise it
	// (PCI 3.0, 6.8.1). ok is false for a line interrupt.
	MSI() (addr uint64, data uint32, ok bool)
}

// Polled is the Interrupt of a device that nobody hears: it is raised now and then while somebody
// waits for it.
type Polled interface {
	Interrupt
	// Stop has Wait return for Raise alone from now on. The goroutine that waits calls it.
	Stop()
}

package vm

// The accesses to device registers, each one load or store. What was written to memory
// before a store is there for the device first, and what is read from memory behind a load
// was not read before it.

func load8(a uintptr) uint8

func load16(a uintptr) uint16

// Load32 and those below access a register at an address that MapFixed or MapEarly has
// mapped.
func Load32(a uintptr) uint32

func store8(a uintptr, v uint8)

func store16(a uintptr, v uint16)

func Store32(a uintptr, v uint32)

func Load64(a uintptr) uint64

func Store64(a uintptr, v uint64)

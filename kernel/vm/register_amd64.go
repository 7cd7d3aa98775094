package vm

import "unsafe"

// The accesses to device registers. Each is one load or store in a function that is not
// inlined; the processor keeps them in order with those to memory.

//go:noinline
func load8(a uintptr) uint8 { return *(*uint8)(unsafe.Pointer(a)) }

//go:noinline
func load16(a uintptr) uint16 { return *(*uint16)(unsafe.Pointer(a)) }

// Load32 and Store32 access a register at an address that MapFixed has mapped.
//
//go:noinline
func Load32(a uintptr) uint32 { return *(*uint32)(unsafe.Pointer(a)) }

//go:noinline
func store8(a uintptr, v uint8) { *(*uint8)(unsafe.Pointer(a)) = v }

//go:noinline
func store16(a uintptr, v uint16) { *(*uint16)(unsafe.Pointer(a)) = v }

//go:noinline
func Store32(a uintptr, v uint32) { *(*uint32)(unsafe.Pointer(a)) = v }

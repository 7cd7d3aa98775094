// Package layout says what lies where in the kernel's address space.
//
// On x86-64:
//
//	0                      page 0: never mapped
//	0x001f_0000            registers of the interrupt controllers (uncached)
//	0x0020_0000            kernel image, at its physical address
//	end of image - 1 GiB   the Go heap, backed by frames on demand
//	1 GiB - 96 GiB         domains
//	0xffff_8000_0000_0000  direct map: all of RAM, not executable
//	0xffff_8080_0000_0000  window: device registers and guarded stacks
//
// On arm64 RAM begins at 1 GiB, and so the image and the heap lie between 1 and 2 GiB.
package layout

const (
	// PageSize is the unit of mapping in bytes.
	PageSize = 4096

	// DirectMap is where physical address 0 is mapped.
	DirectMap = 0xffff_8000_0000_0000
	// DirectMapSize bounds the physical memory that the kernel uses.
	DirectMapSize = 1 << 39

	// Window and WindowEnd bound the addresses of device registers and stacks.
	Window    = 0xffff_8080_0000_0000
	WindowEnd = Window + 1<<30
)

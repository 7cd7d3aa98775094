// Package layout says what lies where in the kernel's address space.
//
//	0                      page 0: never mapped
//	0x001f_0000            registers of the interrupt controllers (uncached)
//	0x0020_0000            kernel image, at its physical address
//	end of image - 1 GiB   the Go heap, backed by frames on demand
//	1 GiB - 96 GiB         domains
//	0xffff_8000_0000_0000  direct map: all of RAM, not executable
//	0xffff_8080_0000_0000  window: device registers and guarded stacks
package layout

const (
	// PageSize is the unit of mapping in bytes.
	PageSize = 4096

	// LocalAPIC is where the local APIC's register page is mapped. It is a
	// constant so that interrupt handlers need not look it up.
	LocalAPIC = 0x1ff000
	// IOAPICs is where the pages of up to IOAPICMax I/O APICs are mapped.
	IOAPICs   = 0x1f0000
	IOAPICMax = 8

	// Image is where the kernel's ELF header is loaded, a page before its text.
	Image = 0x200000
	// HeapEnd bounds the Go heap.
	HeapEnd = 1 << 30

	// DirectMap is where physical address 0 is mapped.
	DirectMap = 0xffff_8000_0000_0000
	// DirectMapSize bounds the physical memory that the kernel uses.
	DirectMapSize = 1 << 39

	// Window and WindowEnd bound the addresses of device registers and stacks.
	Window    = 0xffff_8080_0000_0000
	WindowEnd = Window + 1<<30
)

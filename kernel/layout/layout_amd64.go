package layout

const (
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
)

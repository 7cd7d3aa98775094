package layout

const (
	// RAM is where memory begins on QEMU's virt, and with it what boot loaders leave there.
	RAM = 1 << 30

	// GICDistributor and GICInterface are where the pages of the interrupt controller are
	// mapped, UART that of the console. They are constants so that handlers need not look
	// them up.
	GICDistributor = 0x1ff000
	GICInterface   = 0x1fe000
	UART           = 0x1fd000

	// Image is where the kernel's ELF header is loaded, a page before its text.
	Image = RAM + 0x200000
	// HeapEnd bounds the Go heap.
	HeapEnd = 2 << 30
)

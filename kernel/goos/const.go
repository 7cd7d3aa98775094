package goos

// Constants of the runtime's memory layout.
const (
	// ArenaBaseOffset is the address of index 0 in the arena map.
	ArenaBaseOffset = 0
	// HeapAddrBits is the number of bits in a heap address: enough for
	// heaps of domains, which end at 64 GiB.
	HeapAddrBits = 40
	// LogHeapArenaBytes is the log2 of an arena's size: 4 MiB.
	LogHeapArenaBytes = 2 + 20
	// LogPallocChunkPages is the log2 of the pages in a bitmap chunk.
	LogPallocChunkPages = 9
	// MinPhysPageSize is the smallest page that memory is mapped by.
	MinPhysPageSize = 4096
	// StackSystem is the room in bytes kept free below every stack's guard.
	StackSystem = 0
)

// Package bootinfo reads what a PVH boot loader leaves in memory: the memory
// map, the command line and where the ACPI tables begin. It runs before there
// is a heap, so nothing here allocates, panics or keeps what it reads from.
package bootinfo

import "encoding/binary"

// The start info of the PVH boot protocol (Xen public/arch-x86/hvm/start_info.h,
// struct hvm_start_info), little endian: its sizes in versions 0 and 1, and
// those of what it points to.
const (
	magic       = 0x336ec578
	startSize0  = 40
	startSize1  = 56
	entrySize   = 24
	commandMost = 4096
)

// Problem says why the start info cannot be used; "" means that it can.
type Problem string

// Info is what the boot loader said. All of it is fixed in size.
type Info struct {
	RSDP    uint64 // physical address of the ACPI root pointer; 0: not told
	Modules uint32 // entries of the module list
	Memory  MemoryMap
	// Truncated says that the command line was longer than what is kept.
	Truncated bool

	command    [commandMost]byte
	commandLen int
}

// CommandLine returns the kernel command line as it was given.
func (info *Info) CommandLine() string { return string(info.command[:info.commandLen]) }

// Parse fills info from the start info at physical address start. view returns
// n bytes of physical memory, or nil when there are none to be had.
func Parse(info *Info, start uint64, view func(phys uint64, n int) []byte) Problem {
	*info = Info{}
	b := view(start, startSize0)
	if b == nil || binary.LittleEndian.Uint32(b) != magic {
		return "no PVH start info: boot this image with a loader that knows the PVH note (QEMU -kernel)"
	}
	if binary.LittleEndian.Uint32(b[4:]) == 0 {
		return "the PVH start info is of version 0 and has no memory map: version 1 is needed"
	}
	if b = view(start, startSize1); b == nil {
		return "the PVH start info is cut off"
	}
	info.Modules = binary.LittleEndian.Uint32(b[12:])
	info.RSDP = binary.LittleEndian.Uint64(b[32:])
	info.readCommand(binary.LittleEndian.Uint64(b[24:]), view)
	table, count := binary.LittleEndian.Uint64(b[40:]), binary.LittleEndian.Uint32(b[48:])
	if count > rangesMost {
		info.Memory.Dropped = count - rangesMost
		count = rangesMost
	}
	for i := range uint64(count) {
		e := view(table+i*entrySize, entrySize)
		if e == nil || table+i*entrySize < table {
			info.Memory.Dropped++
			continue
		}
		info.Memory.add(binary.LittleEndian.Uint64(e), binary.LittleEndian.Uint64(e[8:]), Type(binary.LittleEndian.Uint32(e[16:])))
	}
	info.Memory.settle()
	if info.Memory.Total() == 0 {
		return "the boot loader's memory map names no RAM"
	}
	return ""
}

// readCommand copies the NUL-terminated string at phys, up to the end of a page
// at a time: the string may end where memory does.
func (info *Info) readCommand(phys uint64, view func(phys uint64, n int) []byte) {
	for phys != 0 && info.commandLen < commandMost {
		n := min(int(pageSize-phys%pageSize), commandMost-info.commandLen)
		b := view(phys, n)
		for _, c := range b {
			if c == 0 {
				return
			}
			info.command[info.commandLen] = c
			info.commandLen++
		}
		if b == nil {
			return
		}
		phys += uint64(n)
	}
	info.Truncated = phys != 0
}

// Package bootinfo reads what a PVH boot loader leaves in memory: the memory
// map, the command line and where the ACPI tables begin. It runs before there
// is a heap, so nothing here allocates, panics or keeps what it reads from.
package bootinfo

import "encoding/binary"

// The start info of the PVH boot protocol (Xen public/arch-x86/hvm/start_info.h,
// struct hvm_start_info), little endian: its sizes in versions 0 and 1, and
// those of what it points to.
const (
	magic      = 0x336ec578
	startSize0 = 40
	startSize1 = 56
	entrySize  = 24

	// commandMost is how much of a command line is kept, in bytes.
	commandMost = 4096
)

// Offsets of the start info's fields.
const (
	offVersion  = 4
	offModules  = 12
	offList     = 16
	offCommand  = 24
	offRSDP     = 32
	offTable    = 40
	offTableLen = 48
)

// Problem says why the start info cannot be used; "" means that it can.
type Problem string

// Info is what the boot loader said. All of it is fixed in size.
type Info struct {
	RSDP    uint64 // physical address of the ACPI root pointer; 0: not told
	Modules uint32 // entries of the module list
	Memory  MemoryMap
	Screen  Screen // zero when the loader said nothing of it
	// Truncated says that the command line was longer than what is kept, 4096
	// bytes, or that a part of it could not be read.
	Truncated bool
	// OptionsLong says that the text of the options on a disk is longer than what the
	// loader reads, 4095 bytes, and OptionsDamaged that it is no text, or could not be
	// read. The command line has the words before that.
	OptionsLong, OptionsDamaged bool

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
	if len(b) < startSize0 || binary.LittleEndian.Uint32(b) != magic {
		return "no PVH start info: boot this image with a loader that knows the PVH note (QEMU -kernel)"
	}
	if binary.LittleEndian.Uint32(b[offVersion:]) == 0 {
		return "the PVH start info is of version 0 and has no memory map: version 1 is needed"
	}
	if b = view(start, startSize1); len(b) < startSize1 {
		return "the PVH start info is cut off"
	}
	info.Modules = binary.LittleEndian.Uint32(b[offModules:])
	info.RSDP = binary.LittleEndian.Uint64(b[offRSDP:])
	info.readScreen(binary.LittleEndian.Uint64(b[offList:]), view)
	info.readCommand(binary.LittleEndian.Uint64(b[offCommand:]), view)
	info.Memory.parse(binary.LittleEndian.Uint64(b[offTable:]), binary.LittleEndian.Uint32(b[offTableLen:]), view)
	if info.Memory.Total() == 0 {
		return "the boot loader's memory map names no RAM"
	}
	return ""
}

// readCommand copies the NUL-terminated string at phys, up to the end of a page
// at a time: the string may end where memory does.
func (info *Info) readCommand(phys uint64, view func(phys uint64, n int) []byte) {
	if phys == 0 {
		return // there is none
	}
	for info.commandLen < commandMost {
		n := min(int(pageSize-phys%pageSize), commandMost-info.commandLen)
		b := view(phys, n)
		if len(b) < n {
			break
		}
		for _, c := range b[:n] {
			if c == 0 {
				return
			}
			info.command[info.commandLen] = c
			info.commandLen++
		}
		phys += uint64(n)
	}
	// Nothing is lost if the string ends right here.
	end := view(phys, 1)
	info.Truncated = len(end) == 0 || end[0] != 0
}

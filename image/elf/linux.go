package elf

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
)

// The form of a kernel that boot loaders of arm64 know ("Booting AArch64 Linux", section 4):
// what lies in memory, behind a header of 64 bytes. Ours has a page of its own, so that the
// ELF header is where the kernel looks for it.
const (
	// linuxAlign is what the place that a boot loader chooses is a multiple of.
	linuxAlign   = 2 << 20
	linuxPage    = pageSize
	linuxMagic   = 0x644d5241 // "ARM\x64"
	linuxMagicAt = 56
	// linuxFlags: little endian, pages of 4 KiB, as near to the beginning of RAM as can be.
	linuxFlags = 1 << 1

	branch = 0x14000000 // B, of which the lower 26 bits are the distance in words
)

// LinuxImage returns an ELF file of arm64 as such a kernel. It is for memory that begins
// linuxAlign below the file's first segment.
func LinuxImage(file []byte) ([]byte, error) {
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("the linker's output: %w", err)
	}
	defer f.Close()
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_AARCH64 || f.Type != elf.ET_EXEC {
		return nil, fmt.Errorf("the linker's output is %v %v %v, not an arm64 executable", f.Class, f.Machine, f.Type)
	}
	var base, end, size uint64
	for i, p := range f.Progs {
		switch {
		case p.Type != elf.PT_LOAD:
			continue
		case base == 0 && p.Off == 0:
			base = p.Vaddr
		}
		if base == 0 || p.Vaddr-p.Off != base || p.Off+p.Filesz > uint64(len(file)) {
			return nil, fmt.Errorf("segment %d at %#x does not lie in memory as it does in the file", i, p.Vaddr)
		}
		end, size = max(end, p.Off+p.Filesz), max(size, p.Off+p.Memsz)
	}
	if base%linuxAlign != 0 || f.Entry < base || f.Entry >= base+end {
		return nil, fmt.Errorf("the first segment is at %#x and the entry point at %#x: want a multiple of %#x, and one behind it", base, f.Entry, linuxAlign)
	}
	out := make([]byte, linuxPage, linuxPage+len(file))
	binary.LittleEndian.PutUint32(out, branch|uint32(f.Entry-base+linuxPage)/4)
	binary.LittleEndian.PutUint64(out[8:], linuxAlign-linuxPage)
	binary.LittleEndian.PutUint64(out[16:], linuxPage+size)
	binary.LittleEndian.PutUint64(out[24:], linuxFlags)
	binary.LittleEndian.PutUint32(out[linuxMagicAt:], linuxMagic)
	// What follows the segments says what is in them, and lies where the kernel makes zeros
	// at its start.
	return append(out, file...), nil
}

// Plain returns the ELF file that is in an image, which may be one that LinuxImage has made.
func Plain(image []byte) []byte {
	if len(image) > linuxPage && binary.LittleEndian.Uint32(image[linuxMagicAt:]) == linuxMagic {
		return image[linuxPage:]
	}
	return image
}

package elf

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
)

const pageSize = 4096

// flagArchive marks the segment that holds the domains (kernel/vm reads it). It
// is one of the bits that are left to the operating system (PF_MASKOS).
const flagArchive = 1 << 20

// AddArchive appends an archive to a kernel as a read-only segment of its own,
// at the first page behind the others, and returns the new file. It takes the
// place of the PT_PHDR program header, which nothing on a bare machine reads.
func AddArchive(file, archive []byte) ([]byte, error) {
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("the linker's output: %w", err)
	}
	defer f.Close()
	slot, end := -1, uint64(0)
	for i, p := range f.Progs {
		switch p.Type {
		case elf.PT_PHDR:
			slot = i
		case elf.PT_LOAD:
			end = max(end, p.Vaddr+p.Memsz)
		}
	}
	if slot < 0 || end == 0 {
		return nil, fmt.Errorf("the linker's output has no PT_PHDR header or no segments")
	}
	end = (end + pageSize - 1) &^ (pageSize - 1)
	out := append(file[:len(file):len(file)], make([]byte, -len(file)&(pageSize-1))...)
	var header bytes.Buffer
	binary.Write(&header, binary.LittleEndian, elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R) | flagArchive, Off: uint64(len(out)),
		Vaddr: end, Paddr: end, Filesz: uint64(len(archive)), Memsz: uint64(len(archive)), Align: pageSize,
	})
	copy(out[binary.LittleEndian.Uint64(file[32:])+uint64(slot)*phdrSize:], header.Bytes())
	return append(out, archive...), nil
}

// Archive returns the archive that AddArchive has added; nil when there is none.
func Archive(file []byte) []byte {
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		return nil
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&flagArchive != 0 && p.Off+p.Filesz <= uint64(len(file)) && p.Off <= p.Off+p.Filesz {
			return file[p.Off:][:p.Filesz]
		}
	}
	return nil
}

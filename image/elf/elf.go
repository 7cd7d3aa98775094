// Package elf finishes the ELF file that the Go linker writes: it adds the
// note by which QEMU (-kernel), Firecracker and Cloud Hypervisor find the
// 32-bit entry point, and stamps the build id.
package elf

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

const (
	// headerRoom is how many bytes the Go linker keeps for the headers at the
	// start of the file.
	headerRoom = 4096
	// noteOffset is where the note goes: behind the section headers and
	// before the Go build id, which ends the header page.
	noteOffset = 0xe00
	// noteType is XEN_ELFNOTE_PHYS32_ENTRY ("x86/HVM direct boot ABI").
	noteType = 18

	phdrSize = 56
)

// AddPVHNote turns the file's PT_GNU_STACK program header, which nothing on a
// bare machine reads, into a PT_NOTE that names the entry point. It changes
// file in place.
func AddPVHNote(file []byte) error {
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		return fmt.Errorf("the linker's output: %w", err)
	}
	defer f.Close()
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC {
		return fmt.Errorf("the linker's output is %v %v %v, not an x86-64 executable", f.Class, f.Machine, f.Type)
	}
	if f.Entry >= 1<<32 {
		return fmt.Errorf("the entry point %#x lies above 4 GiB", f.Entry)
	}

	if len(file) < headerRoom {
		return fmt.Errorf("the linker's output has %d bytes, less than its header page", len(file))
	}

	var note bytes.Buffer
	for _, v := range []any{uint32(4), uint32(4), uint32(noteType), []byte("Xen\x00"), uint32(f.Entry)} {
		binary.Write(&note, binary.LittleEndian, v)
	}
	room := file[noteOffset : noteOffset+note.Len()]
	if len(bytes.Trim(room, "\x00")) != 0 {
		return fmt.Errorf("no room for the PVH note: the header page is in use at %#x", noteOffset)
	}
	var base uint64
	stack := -1
	for i, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Off == 0 && p.Filesz >= headerRoom {
			base = p.Vaddr
		}
		if p.Type == elf.PT_GNU_STACK {
			stack = i
		}
	}
	if base == 0 || stack < 0 {
		return fmt.Errorf("the linker's output has no loaded header page or no PT_GNU_STACK header")
	}
	copy(room, note.Bytes())
	phoff := binary.LittleEndian.Uint64(file[32:])
	var header bytes.Buffer
	binary.Write(&header, binary.LittleEndian, elf.Prog64{
		Type: uint32(elf.PT_NOTE), Flags: uint32(elf.PF_R), Off: noteOffset,
		Vaddr: base + noteOffset, Paddr: base + noteOffset,
		Filesz: uint64(note.Len()), Memsz: uint64(note.Len()), Align: 4,
	})
	copy(file[phoff+uint64(stack)*phdrSize:], header.Bytes())
	return nil
}

// idMark is how the kernel's package build holds the place of the build id.
const idMark = "sluice-build-id:"

// idLen is the length of a build id: hexadecimal digits.
const idLen = 16

// StampBuildID writes the hash of the file into the place that the kernel
// keeps for it, and returns it. Equal input gives an equal id.
func StampBuildID(file []byte) (string, error) {
	mark := []byte(idMark + string(bytes.Repeat([]byte{'0'}, idLen)))
	if n := bytes.Count(file, mark); n != 1 {
		return "", fmt.Errorf("the place for the build id is in the image %d times, not once", n)
	}
	sum := sha256.Sum256(file)
	id := hex.EncodeToString(sum[:])[:idLen]
	copy(file[bytes.Index(file, mark)+len(idMark):], id)
	return id, nil
}

// BuildID returns the id that StampBuildID wrote; "" when there is none.
func BuildID(file []byte) string {
	i := bytes.Index(file, []byte(idMark))
	if i < 0 || len(file) < i+len(idMark)+idLen {
		return ""
	}
	return string(file[i+len(idMark) : i+len(idMark)+idLen])
}

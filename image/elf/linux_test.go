package elf

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"
)

// armFile is an ELF file with two segments, of which the second has BSS.
func armFile(change func(h *elf.Header64, p []elf.Prog64)) []byte {
	const base = 0x40200000
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_AARCH64), Version: 1,
		Entry: base + 0x1234, Phoff: 64, Ehsize: 64, Phentsize: phdrSize, Phnum: 2, Shentsize: 64,
	}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	p := []elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Vaddr: base, Filesz: 0x2000, Memsz: 0x2000},
		{Type: uint32(elf.PT_LOAD), Off: 0x2000, Vaddr: base + 0x2000, Filesz: 0x100, Memsz: 0x5000},
	}
	if change != nil {
		change(&h, p)
	}
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, h)
	binary.Write(&b, binary.LittleEndian, p)
	return append(b.Bytes(), make([]byte, 0x2200-b.Len())...)
}

func TestLinuxImage(t *testing.T) {
	file := armFile(nil)
	got, err := LinuxImage(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[0x1000:], file) || !bytes.Equal(Plain(got), file) {
		t.Errorf("%d bytes, or others than the file's", len(got))
	}
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(got[at:]) }
	if code := binary.LittleEndian.Uint32(got); code != 0x14000000+0x2234/4 {
		t.Errorf("it begins with %#x", code)
	}
	if word(8) != 0x1ff000 || word(16) != 0x1000+0x7000 || word(24) != 2 || string(got[56:60]) != "ARM\x64" {
		t.Errorf("offset %#x, size %#x, flags %#x", word(8), word(16), word(24))
	}
	if !bytes.Equal(Plain(file), file) {
		t.Error("an ELF file is not itself")
	}
}

func TestLinuxImageRefusals(t *testing.T) {
	for want, change := range map[string]func(h *elf.Header64, p []elf.Prog64){
		"not an arm64 executable": func(h *elf.Header64, _ []elf.Prog64) { h.Machine = uint16(elf.EM_X86_64) },
		"segment 1 at 0x40203000": func(_ *elf.Header64, p []elf.Prog64) { p[1].Vaddr += 0x1000 },
		"segment 1 at 0x40202000": func(_ *elf.Header64, p []elf.Prog64) { p[1].Filesz = 1 << 40 },
		"entry point at 0x1000":   func(h *elf.Header64, _ []elf.Prog64) { h.Entry = 0x1000 },
	} {
		if _, err := LinuxImage(armFile(change)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := LinuxImage(nil); err == nil {
		t.Error("nothing is taken for a file")
	}
}

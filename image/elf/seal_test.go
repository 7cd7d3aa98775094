package elf

import (
	"bytes"
	"debug/elf"
	"testing"

	"github.com/sluice-os/sluice/kernel/seal"
)

// TestSeal: the sums are of what the kernel finds in memory, and depend on nothing else.
func TestSeal(t *testing.T) {
	file, err := AddArchive(linked(t), []byte("an archive"))
	if err != nil {
		t.Fatal(err)
	}
	if err := AddPVHNote(file); err != nil {
		t.Fatal(err)
	}
	if err := Seal(file); err != nil {
		t.Fatal(err)
	}
	sealed := bytes.Clone(file)
	if err := Seal(file); err != nil || !bytes.Equal(file, sealed) {
		t.Errorf("%v: a second seal is another one", err)
	}
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var content, header seal.Sum
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		data := file[p.Off:][:p.Filesz]
		if p.Off == 0 {
			data = data[headerRoom:]
		}
		if p.Flags&elf.PF_W == 0 {
			content.Add(data)
		}
		changed := bytes.Clone(file)
		changed[p.Off+p.Filesz-1] ^= 1
		if err := Seal(changed); err != nil {
			t.Fatal(err)
		}
		if same := bytes.Equal(changed[:headerRoom], file[:headerRoom]); same != (p.Flags&elf.PF_W != 0) {
			t.Errorf("a change in the segment at %#x with rights %v leaves the sum: %v", p.Vaddr, p.Flags, same)
		}
	}
	header.Add(file[:seal.HeaderAt])
	if !content.Is(file[seal.ContentAt:]) || !header.Is(file[seal.HeaderAt:]) {
		t.Error("the sums are others, or elsewhere")
	}
}

func TestNothingToSeal(t *testing.T) {
	for _, file := range [][]byte{nil, []byte("text"), make([]byte, 8192)} {
		if err := Seal(file); err == nil {
			t.Errorf("%d bytes of nonsense are sealed", len(file))
		}
	}
	if err := Seal(armFile(nil)); err != nil {
		t.Error(err)
	}
	cut := armFile(func(_ *elf.Header64, p []elf.Prog64) { p[1].Filesz = 1 << 40 })
	if err := Seal(cut); err == nil {
		t.Error("a segment that is not in the file is sealed")
	}
}

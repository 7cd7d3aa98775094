package elf

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// linked returns what the Go linker makes of a small program.
func linked(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	source := "package main\nvar stamp = \"sluice-build-id:0000000000000000\"\nfunc main() { println(stamp) }\n"
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", "out", "-ldflags", "-s -w -buildid= -T 0x201000 -R 0x1000", "main.go")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPVHNoteNamesTheEntryPoint(t *testing.T) {
	file := linked(t)
	before := bytes.Clone(file)
	if err := AddPVHNote(file); err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var entries []uint32
	for _, p := range f.Progs {
		note := make([]byte, p.Filesz)
		if p.Type != elf.PT_NOTE {
			continue
		}
		if _, err := p.ReadAt(note, 0); err != nil {
			t.Fatal(err)
		}
		if len(note) == 20 && binary.LittleEndian.Uint32(note[8:]) == 18 && string(note[12:16]) == "Xen\x00" {
			entries = append(entries, binary.LittleEndian.Uint32(note[16:]))
		}
	}
	if len(entries) != 1 || uint64(entries[0]) != f.Entry {
		t.Errorf("notes name %#x, the entry point is %#x", entries, f.Entry)
	}
	if !bytes.Equal(before[headerRoom:], file[headerRoom:]) {
		t.Error("the note changed more than the header page")
	}
	if err := AddPVHNote(file); err == nil {
		t.Error("a second note was added")
	}
}

func TestBuildIDIsTheContent(t *testing.T) {
	file := linked(t)
	other := bytes.Clone(file)
	other[len(other)-1] ^= 1
	same := bytes.Clone(file)
	ids := map[string]bool{}
	for _, f := range [][]byte{file, same, other} {
		id, err := StampBuildID(f)
		if err != nil {
			t.Fatal(err)
		}
		if BuildID(f) != id || len(id) != idLen {
			t.Errorf("wrote %q, read %q", id, BuildID(f))
		}
		ids[id] = true
	}
	if len(ids) != 2 || !bytes.Equal(file, same) {
		t.Errorf("two equal files and one other have the ids %v", ids)
	}
	if _, err := StampBuildID(file); err == nil {
		t.Error("a stamped file was stamped again")
	}
}

func TestNoELF(t *testing.T) {
	for _, file := range [][]byte{nil, []byte("text"), make([]byte, 8192)} {
		if err := AddPVHNote(file); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%d bytes of nonsense: %v", len(file), err)
		}
	}
}

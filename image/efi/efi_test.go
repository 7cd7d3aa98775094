package efi

import (
	"bytes"
	"debug/pe"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestAssembled: the bytes in the repository are what the source beside them gives.
func TestAssembled(t *testing.T) {
	for _, tool := range []string{"as", "ld"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%v: install binutils", err)
		}
	}
	object, code := filepath.Join(t.TempDir(), "o"), filepath.Join(t.TempDir(), "bin")
	for _, args := range [][]string{
		{"as", "--64", "stub.gas", "-o", object},
		{"ld", "-m", "elf_x86_64", "-Ttext", "0", "--oformat", "binary", object, "-o", code},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	if got, err := os.ReadFile(code); err != nil || !bytes.Equal(got, stub) {
		t.Errorf("%v: stub.bin is not what stub.gas gives: assemble it as its first lines say", err)
	}
}

// TestApplication reads the file as others do.
func TestApplication(t *testing.T) {
	f, err := pe.NewFile(bytes.NewReader(Application()))
	if err != nil {
		t.Fatal(err)
	}
	h := f.OptionalHeader.(*pe.OptionalHeader64)
	if f.Machine != pe.IMAGE_FILE_MACHINE_AMD64 || h.Subsystem != pe.IMAGE_SUBSYSTEM_EFI_APPLICATION || len(f.Sections) != 1 {
		t.Errorf("machine %#x, subsystem %d, %d sections", f.Machine, h.Subsystem, len(f.Sections))
	}
	code, err := f.Sections[0].Data()
	if err != nil || !bytes.HasPrefix(code, stub) || h.AddressOfEntryPoint != f.Sections[0].VirtualAddress {
		t.Errorf("%v, %d bytes of code, entry point %#x", err, len(code), h.AddressOfEntryPoint)
	}
	if end := f.Sections[0].VirtualAddress + f.Sections[0].VirtualSize; h.SizeOfImage < end {
		t.Errorf("the image ends at %#x and its section at %#x", h.SizeOfImage, end)
	}
}

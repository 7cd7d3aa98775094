package bios

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestAssembled: the bytes in the repository are what the sources beside them give.
func TestAssembled(t *testing.T) {
	for _, tool := range []string{"as", "ld"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%v: install binutils", err)
		}
	}
	for _, c := range []struct {
		name, address string
		want          []byte
	}{{"mbr", "0x7c00", mbr}, {"loader", "0x8000", loader}} {
		object, binary := filepath.Join(t.TempDir(), "o"), filepath.Join(t.TempDir(), "bin")
		for _, args := range [][]string{
			{"as", "--32", c.name + ".gas", "-o", object},
			{"ld", "-m", "elf_i386", "-Ttext", c.address, "--oformat", "binary", object, "-o", binary},
		} {
			if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, out)
			}
		}
		got, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, c.want) {
			t.Errorf("%s.bin is not what %s.gas gives: assemble it as its first lines say", c.name, c.name)
		}
	}
}

func TestFilledIn(t *testing.T) {
	code := MBR(0x1234567890)
	if len(code) != codeSize || bytes.Count(code, []byte{0x90, 0x78, 0x56, 0x34, 0x12, 0, 0, 0}) != 1 {
		t.Errorf("%d bytes of code, without the loader's sector", len(code))
	}
	code, err := Loader(4096)
	if err != nil || len(code) != LoaderSectors*SectorSize || binary.LittleEndian.Uint32(code[partitionAt:]) != 4096 {
		t.Errorf("%v, %d bytes", err, len(code))
	}
	if _, err := Loader(1 << 32); err == nil {
		t.Error("a partition beyond 2 TiB is taken")
	}
}

package disk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRead reads back what each function writes.
func TestRead(t *testing.T) {
	for format, write := range map[string]func(string, Contents) (int64, error){"raw": Write, "qcow2": WriteQCOW2, "iso": WriteISO} {
		t.Run(format, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "disk")
			want := Contents{Kernel: kernel(3<<20 + 1), Options: "ip6=off # no more\n"}
			if _, err := write(name, want); err != nil {
				t.Fatal(err)
			}
			got, found, err := Read(name)
			if err != nil || found != format || !bytes.Equal(got.Kernel, want.Kernel) || got.Options != want.Options {
				t.Errorf("%v: format %s, %d bytes of %d, options %q", err, found, len(got.Kernel), len(want.Kernel), got.Options)
			}
		})
	}
}

// TestReadDamaged: what is missing is named, and what is no disk is none.
func TestReadDamaged(t *testing.T) {
	dir := t.TempDir()
	raw, packed := filepath.Join(dir, "raw"), filepath.Join(dir, "qcow2")
	c := Contents{Kernel: kernel(1 << 20)}
	if _, err := Write(raw, c); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteQCOW2(packed, c); err != nil {
		t.Fatal(err)
	}
	replaced := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte {
			at := bytes.Index(b[fatAt:], []byte(old))
			if at < 0 {
				t.Fatalf("%q is not on the disk", old)
			}
			copy(b[fatAt+at:], new)
			return b
		}
	}
	for _, test := range []struct {
		name, file, want string
		change           func([]byte) []byte
	}{
		{"no kernel", raw, "SLUICE.ELF", replaced("SLUICE  ELF", "SLUICE  OLD")},
		{"no options", raw, "", replaced("SLUICE  TXT", "SLUICE  OLD")},
		{"no file system", raw, "partition 2", func(b []byte) []byte { clear(b[fatAt:][:512]); return b }},
		{"another qcow2", packed, "qemu-img convert", func(b []byte) []byte { b[7] = 3; return b }},
		{"a compressed cluster", packed, "a cluster at", func(b []byte) []byte { b[2*clusterSize] = 0x40; return b }},
		{"cut short", packed, "EOF", func(b []byte) []byte { return b[:5*clusterSize] }},
		{"a header alone", packed, "EOF", func(b []byte) []byte { return b[:8] }},
		{"text", raw, ErrNoDisk.Error(), func([]byte) []byte { return []byte("not a disk") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, err := os.ReadFile(test.file)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(t.TempDir(), "disk")
			if err := os.WriteFile(name, test.change(b), 0o644); err != nil {
				t.Fatal(err)
			}
			got, _, err := Read(name)
			if test.want == "" {
				if err != nil || got.Options != "" || !bytes.Equal(got.Kernel, c.Kernel) {
					t.Errorf("%v, options %q", err, got.Options)
				}
			} else if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if errors.Is(err, ErrNoDisk) != (test.name == "text") {
				t.Errorf("it is no disk: %v", err)
			}
		})
	}
	if _, _, err := Read(filepath.Join(dir, "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

package main

import (
	"github.com/sluice-os/sluice/image/archive"
	"github.com/sluice-os/sluice/image/elf"
	"os"
	"strings"
	"testing"
)

func TestZZ(t *testing.T) {
	if os.Getenv("ZZ") == "" {
		t.Skip()
	}
	f := strings.Fields(os.Getenv("ZZ"))
	k, _ := os.ReadFile(f[0])
	var names []string
	var files []archive.File
	for _, kv := range f[2:] {
		n, p, _ := strings.Cut(kv, "=")
		d, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, n)
		files = append(files, archive.File{Name: n, Data: d, Mode: 0o755})
	}
	files = append(files, archive.File{Name: "domains", Data: []byte(strings.Join(names, " "))})
	a, err := archive.Pack(files)
	if err != nil {
		t.Fatal(err)
	}
	out, err := elf.AddArchive(k, a)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(f[1], out, 0o755)
}

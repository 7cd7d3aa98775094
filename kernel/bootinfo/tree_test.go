package bootinfo

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"
)

func virtTree(t testing.TB) []byte {
	b, err := os.ReadFile("../fdt/testdata/virt.dtb")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTree reads QEMU's tree, which lies in RAM itself.
func TestTree(t *testing.T) {
	const base, size = 1 << 30, 256 << 20
	b := virtTree(t)
	end := uint64(base+len(b)+pageSize-1) &^ (pageSize - 1)
	var info Info
	if problem := ParseTree(&info, b, base); problem != "" {
		t.Fatal(problem)
	}
	m := &info.Memory
	want := []Range{{base, end, Reserved}, {end, base + size, RAM}}
	if m.Len() != len(want) || m.At(0) != want[0] || m.At(1) != want[1] {
		t.Errorf("%d ranges: %+v, %+v", m.Len(), m.At(0), m.At(1))
	}
	if m.Base != base || m.Installed() != size || m.Total() != base+size-end {
		t.Errorf("RAM from %#x, %d bytes, of which %d are usable", m.Base, m.Installed(), m.Total())
	}
	if info.CommandLine() != "ip=dhcp log=debug" || info.Truncated {
		t.Errorf("command line %q", info.CommandLine())
	}
}

func TestBadTree(t *testing.T) {
	var info Info
	if problem := ParseTree(&info, nil, 0); !strings.Contains(string(problem), "no device tree") {
		t.Errorf("no tree: %q", problem)
	}
	b := bytes.Replace(virtTree(t), []byte("memory\x00"), []byte("mammal\x00"), -1)
	if problem := ParseTree(&info, b, 1<<30); !strings.Contains(string(problem), "no RAM") {
		t.Errorf("no memory: %q", problem)
	}
	// A reservation of all there is.
	b = virtTree(t)
	at := binary.BigEndian.Uint32(b[16:])
	binary.BigEndian.PutUint64(b[at:], 1<<30)
	binary.BigEndian.PutUint64(b[at+8:], 1<<50)
	if problem := ParseTree(&info, b, 1<<30); !strings.Contains(string(problem), "no RAM") {
		t.Errorf("all is reserved: %q", problem)
	}
}

// TestTreeAllocatesNothing: there is no heap yet.
func TestTreeAllocatesNothing(t *testing.T) {
	b := virtTree(t)
	info := new(Info)
	if n := testing.AllocsPerRun(10, func() { ParseTree(info, b, 1<<30) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzTree(f *testing.F) {
	f.Add(virtTree(f), uint64(1<<30))
	f.Fuzz(func(t *testing.T, b []byte, phys uint64) {
		var info Info
		ParseTree(&info, b, phys)
		last := uint64(0)
		for i := range info.Memory.Len() {
			r := info.Memory.At(i)
			if r.Start < last || r.End <= r.Start {
				t.Fatalf("range %d is %+v, the one before ends at %#x", i, r, last)
			}
			last = r.End
		}
	})
}

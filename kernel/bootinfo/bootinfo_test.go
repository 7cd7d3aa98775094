package bootinfo

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// machine is memory that starts at base.
type machine struct {
	base uint64
	mem  []byte
}

func (m *machine) view(phys uint64, n int) []byte {
	if phys < m.base || n < 0 || phys-m.base > uint64(len(m.mem)) || uint64(n) > uint64(len(m.mem))-(phys-m.base) {
		return nil
	}
	return m.mem[phys-m.base:][:n]
}

const base, tableAt, commandAt = 0x1000, 0x2000, 0x6000

func start(command string, ranges ...Range) *machine {
	m := &machine{base, make([]byte, 0x8000)}
	le := binary.LittleEndian
	le.PutUint32(m.mem[0:], magic)
	le.PutUint32(m.mem[4:], 1)
	le.PutUint32(m.mem[12:], 2)
	le.PutUint64(m.mem[24:], commandAt)
	le.PutUint64(m.mem[32:], 0xf5a00)
	le.PutUint64(m.mem[40:], tableAt)
	le.PutUint32(m.mem[48:], uint32(len(ranges)))
	for i, r := range ranges {
		e := m.mem[tableAt-base+i*entrySize:]
		le.PutUint64(e, r.Start)
		le.PutUint64(e[8:], r.End-r.Start)
		le.PutUint32(e[16:], uint32(r.Type))
	}
	copy(m.mem[commandAt-base:], command)
	return m
}

func parse(t *testing.T, m *machine) *Info {
	t.Helper()
	info := new(Info)
	if p := Parse(info, base, m.view); p != "" {
		t.Fatal(p)
	}
	return info
}

func ranges(m *MemoryMap) string {
	var b strings.Builder
	for i := range m.Len() {
		r := m.At(i)
		fmt.Fprintf(&b, "%x-%x:%d ", r.Start, r.End, r.Type)
	}
	return strings.TrimSpace(b.String())
}

func TestMemoryMap(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []Range
		want string
	}{
		{"as QEMU gives it", []Range{{0, 0x9fc00, RAM}, {0x9fc00, 0xa0000, Reserved}, {0x100000, 0x4000000, RAM}},
			"0-9f000:1 9f000-a0000:2 100000-4000000:1"},
		{"unsorted", []Range{{0x200000, 0x300000, RAM}, {0, 0x1000, RAM}}, "0-1000:1 200000-300000:1"},
		{"a hole in the middle", []Range{{0, 0x10000, RAM}, {0x4000, 0x5000, NVS}}, "0-4000:1 4000-5000:4 5000-10000:1"},
		{"a hole at the start", []Range{{0, 0x10000, RAM}, {0, 0x1000, Reserved}}, "0-1000:2 1000-10000:1"},
		{"a hole over the end", []Range{{0, 0x10000, RAM}, {0xf000, 0x20000, Reserved}}, "0-f000:1 f000-20000:2"},
		{"RAM within reserved", []Range{{0, 0x10000, Reserved}, {0x1000, 0x2000, RAM}, {0x20000, 0x21000, RAM}}, "0-10000:2 20000-21000:1"},
		{"RAM twice", []Range{{0, 0x10000, RAM}, {0x8000, 0x20000, RAM}}, "0-10000:1 10000-20000:1"},
		{"less than a page", []Range{{0x1100, 0x1f00, RAM}, {0x2000, 0x3000, RAM}}, "2000-3000:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			info := parse(t, start("", c.in...))
			if got := ranges(&info.Memory); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	m := start("ip=dhcp log=debug", Range{0x100000, 0x500000, RAM})
	info := parse(t, m)
	if info.CommandLine() != "ip=dhcp log=debug" || info.RSDP != 0xf5a00 || info.Modules != 2 {
		t.Errorf("got %q, RSDP %#x, %d modules", info.CommandLine(), info.RSDP, info.Modules)
	}
	if info.Memory.Total() != 0x400000 || info.Memory.Highest() != 0x500000 {
		t.Errorf("total %#x, highest %#x", info.Memory.Total(), info.Memory.Highest())
	}
	if n := testing.AllocsPerRun(10, func() { Parse(info, base, m.view) }); n != 0 {
		t.Errorf("Parse allocates %v times", n)
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	ram := Range{0x100000, 0x500000, RAM}
	for _, c := range []struct {
		name string
		edit func(*machine)
		want string
	}{
		{"no magic", func(m *machine) { m.mem[0] = 0 }, "no PVH start info"},
		{"version 0", func(m *machine) { m.mem[4] = 0 }, "no memory map"},
		{"cut off", func(m *machine) { m.mem = m.mem[:50] }, "cut off"},
		{"no entries", func(m *machine) { m.mem[48] = 0 }, "names no RAM"},
		{"table out of sight", func(m *machine) { m.mem[47] = 0xff }, "names no RAM"},
	} {
		m := start("", ram)
		c.edit(m)
		if p := Parse(new(Info), base, m.view); !strings.Contains(string(p), c.want) {
			t.Errorf("%s: got %q, want %q", c.name, p, c.want)
		}
	}
}

func TestLongCommandLineIsCut(t *testing.T) {
	m := start(strings.Repeat("x", 0x2000), Range{0x100000, 0x500000, RAM})
	if info := parse(t, m); !info.Truncated || len(info.CommandLine()) != commandMost {
		t.Errorf("%d bytes, truncated %v", len(info.CommandLine()), info.Truncated)
	}
}

// check reports what a settled map must never be.
func check(t *testing.T, m *MemoryMap, in []Range) {
	t.Helper()
	for i := range m.Len() {
		r := m.At(i)
		if r.Start >= r.End || r.Start%pageSize != 0 || r.End%pageSize != 0 {
			t.Fatalf("range %x-%x of %s", r.Start, r.End, ranges(m))
		}
		if i > 0 && m.At(i-1).End > r.Start {
			t.Fatalf("overlap in %s", ranges(m))
		}
	}
	if m.Dropped > 0 {
		return
	}
	// Page by page: RAM is what some range calls RAM and none calls anything else.
	for page := uint64(0); page < 64*pageSize; page += pageSize {
		some, none := false, true
		for _, r := range in {
			if r.Type == RAM && r.Start <= page && page+pageSize <= r.End {
				some = true
			}
			if r.Type != RAM && r.Start < page+pageSize && page < r.End {
				none = false
			}
		}
		got := false
		for i := range m.Len() {
			r := m.At(i)
			got = got || r.Type == RAM && r.Start <= page && page < r.End
		}
		if got != (some && none) {
			t.Fatalf("page %x: RAM %v, want %v, in %s from %v", page, got, some && none, ranges(m), in)
		}
	}
}

func TestRandomMaps(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		in := []Range{{40 * pageSize, 41 * pageSize, RAM}}
		for range rng.IntN(12) {
			a := rng.Uint64N(60) * pageSize
			b := a + (1+rng.Uint64N(20))*pageSize
			in = append(in, Range{a, b, Type(1 + rng.IntN(4))})
		}
		var m MemoryMap
		for _, r := range in {
			m.add(r.Start, r.End-r.Start, r.Type)
		}
		m.settle()
		check(t, &m, in)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(start("ip=dhcp", Range{0, 0x9fc00, RAM}, Range{0x100000, 0x4000000, RAM}).mem)
	f.Fuzz(func(t *testing.T, mem []byte) {
		m := &machine{base, mem}
		info := new(Info)
		Parse(info, base, m.view)
		check(t, &MemoryMap{Dropped: 1, n: info.Memory.n, ranges: info.Memory.ranges}, nil)
		if len(info.CommandLine()) > commandMost {
			t.Error("command line too long")
		}
	})
}

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

const base, commandAt, tableAt = 0x1000, 0x2000, 0x6000

func start(command string, ranges ...Range) *machine {
	m := &machine{base, make([]byte, 0x10000)}
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
		{"RAM twice", []Range{{0, 0x10000, RAM}, {0x8000, 0x20000, RAM}}, "0-20000:1"},
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

func TestCommandLineThatJustFits(t *testing.T) {
	m := start(strings.Repeat("x", commandMost), Range{0x100000, 0x500000, RAM})
	if info := parse(t, m); info.Truncated || len(info.CommandLine()) != commandMost {
		t.Errorf("%d bytes, truncated %v", len(info.CommandLine()), info.Truncated)
	}
}

func TestCommandLineOutOfSight(t *testing.T) {
	m := start("", Range{0x100000, 0x500000, RAM})
	binary.LittleEndian.PutUint64(m.mem[24:], 1<<40)
	if info := parse(t, m); !info.Truncated || info.CommandLine() != "" {
		t.Errorf("%q, truncated %v", info.CommandLine(), info.Truncated)
	}
}

// settled fails when m is not what a map must be: sorted pages, no overlap, and
// RAM where some range says RAM and none says anything else.
func settled(t *testing.T, m *MemoryMap, in []Range) {
	t.Helper()
	var total, highest uint64
	for i := range m.Len() {
		r := m.At(i)
		if r.Start >= r.End || r.Start%pageSize != 0 || r.End%pageSize != 0 {
			t.Fatalf("range %x-%x of %s", r.Start, r.End, ranges(m))
		}
		if i > 0 && m.At(i-1).End > r.Start {
			t.Fatalf("overlap in %s", ranges(m))
		}
		if r.Type != RAM {
			continue
		}
		total, highest = total+r.End-r.Start, r.End
		for _, x := range in {
			if x.Type != RAM && x.Start < x.End && x.Start < r.End && r.Start < x.End {
				t.Fatalf("%x-%x is RAM in %s, and %x-%x of the table is not", r.Start, r.End, ranges(m), x.Start, x.End)
			}
		}
	}
	if m.Total() != total || m.Highest() != highest {
		t.Fatalf("total %#x, highest %#x of %s", m.Total(), m.Highest(), ranges(m))
	}
	if (m.At(-1) != Range{}) || (m.At(m.Len()) != Range{}) {
		t.Fatal("there are ranges outside of the map")
	}
}

// complete fails when a page that is RAM in the table is not in the map.
func complete(t *testing.T, m *MemoryMap, in []Range, pages uint64) {
	t.Helper()
	for page := uint64(0); page < pages*pageSize; page += pageSize {
		want := false
		for _, r := range in {
			want = want || r.Type == RAM && r.Start <= page && page+pageSize <= r.End
		}
		for _, r := range in {
			want = want && (r.Type == RAM || r.Start >= page+pageSize || page >= r.End)
		}
		got := false
		for i := range m.Len() {
			r := m.At(i)
			got = got || r.Type == RAM && r.Start <= page && page < r.End
		}
		if got != want {
			t.Fatalf("page %x: RAM %v, want %v, in %s from %v", page, got, want, ranges(m), in)
		}
	}
}

func TestRandomMaps(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		in := []Range{{70 * pageSize, 71 * pageSize, RAM}}
		for range rng.IntN(12) {
			a := rng.Uint64N(60 * pageSize)
			b := a + 1 + rng.Uint64N(8*pageSize)
			if rng.IntN(2) == 0 {
				a, b = a&^(pageSize-1), (b+pageSize-1)&^(pageSize-1)
			}
			in = append(in, Range{a, b, Type(rng.IntN(9))})
		}
		info := parse(t, start("", in...))
		settled(t, &info.Memory, in)
		complete(t, &info.Memory, in, 72)
	}
}

func TestOddEntries(t *testing.T) {
	info := parse(t, start("",
		Range{0x1000, 0x5000, RAM},
		Range{0x9000, 0x9000, RAM},                 // empty
		Range{1<<52 - 0x2000, 1<<52 + 0x5000, RAM}, // beyond 52 bits
		Range{1 << 53, 1<<53 + 0x1000, RAM},        // all of it
		Range{1<<64 - 0x1000, 0x1000, Reserved},    // past the end of all addresses
	))
	if got, want := ranges(&info.Memory), "1000-5000:1 fffffffffe000-10000000000000:1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if p := info.Memory.Problems; p != (Problems{Bad: 4}) {
		t.Errorf("%+v", p)
	}
}

// TestReservedOverflow fills the map with holes: none may become RAM.
func TestReservedOverflow(t *testing.T) {
	in := []Range{{0, 4000 * pageSize, RAM}}
	for i := range uint64(300) {
		in = append(in, Range{(10 + 7*i) * pageSize, (11 + 7*i) * pageSize, Reserved})
	}
	info := parse(t, start("", in...))
	settled(t, &info.Memory, in)
	if p := info.Memory.Problems; p.Merged != 300-reservedMost || p.Dropped != 0 {
		t.Errorf("%+v", p)
	}
	if info.Memory.Highest() != 4000*pageSize {
		t.Errorf("the RAM behind the holes is lost: %s", ranges(&info.Memory))
	}
}

// TestRAMOverflow has more pieces of RAM than the map holds.
func TestRAMOverflow(t *testing.T) {
	var in []Range
	for i := range uint64(200) {
		in = append(in, Range{2 * i * pageSize, (2*i + 1) * pageSize, RAM})
	}
	info := parse(t, start("", in...))
	settled(t, &info.Memory, in)
	if p := info.Memory.Problems; p.Dropped != 200-rangesMost || info.Memory.Len() != rangesMost {
		t.Errorf("%+v, %d ranges", p, info.Memory.Len())
	}
}

// TestManyEntries has the long map of an UEFI machine, whose entries touch.
func TestManyEntries(t *testing.T) {
	var in []Range
	for i := range uint64(entriesMost + 10) {
		in = append(in, Range{i * pageSize, (i + 1) * pageSize, RAM})
	}
	info := parse(t, start("", in...))
	if got, want := ranges(&info.Memory), fmt.Sprintf("0-%x:1", entriesMost*pageSize); got != want || info.Memory.Problems.Excess != 10 {
		t.Errorf("got %s, want %s; %+v", got, want, info.Memory.Problems)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(start("ip=dhcp", Range{0, 0x9fc00, RAM}, Range{0x100000, 0x4000000, RAM}).mem)
	f.Fuzz(func(t *testing.T, mem []byte) {
		m := &machine{base, mem}
		info := new(Info)
		Parse(info, base, m.view)
		settled(t, &info.Memory, nil)
		if len(info.CommandLine()) > commandMost {
			t.Error("command line too long")
		}
	})
}

// FuzzMap gives the map entries of 6 bytes each: page, offset, length, type.
func FuzzMap(f *testing.F) {
	f.Add([]byte{0, 0, 0, 200, 0, 1, 5, 9, 1, 1, 9, 2})
	f.Fuzz(func(t *testing.T, code []byte) {
		in := []Range{{300 * pageSize, 301 * pageSize, RAM}}
		for ; len(code) >= 6 && len(in) < 400; code = code[6:] {
			a := uint64(code[0])*pageSize + uint64(code[1])*16
			b := a + uint64(code[3])*pageSize + uint64(code[4])*16
			if b > a && b <= 300*pageSize {
				in = append(in, Range{a, b, Type(code[5] % 9)})
			}
		}
		info := parse(t, start("", in...))
		settled(t, &info.Memory, in)
		if p := info.Memory.Problems; p == (Problems{}) {
			complete(t, &info.Memory, in, 302)
		}
	})
}

// TestInstalled: maps as QEMU's machines and their firmware give them.
func TestInstalled(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	for _, c := range []struct {
		name string
		in   []Range
		want uint64
	}{
		{"microvm", []Range{{0, 0x9fc00, RAM}, {0x9fc00, 0xa0000, Reserved}, {0xf0000, mib, Reserved}, {mib, 64 * mib, RAM}}, 64 * mib},
		{"tables at the end of RAM", []Range{{0, 0x9fc00, RAM}, {mib, 0x3fe0000, RAM}, {0x3fe0000, 64 * mib, Reserved}, {0xfffc0000, 4 * gib, Reserved}}, 64 * mib},
		{"a hole below 4 GiB", []Range{{0, 0x9fc00, RAM}, {mib, 0x7ffe0000, RAM}, {0x7ffe0000, 2 * gib, Reserved}, {0xb0000000, 0xc0000000, Reserved}, {4 * gib, 6 * gib, RAM}}, 4 * gib},
		{"RAM across 4 GiB", []Range{{mib, 5 * gib, RAM}}, 5 * gib},
		{"several ranges behind RAM", []Range{{mib, 100 * mib, RAM}, {100 * mib, 101 * mib, Reclaimable}, {101 * mib, 102 * mib, NVS}, {103 * mib, 104 * mib, Reserved}}, 102 * mib},
	} {
		if got := parse(t, start("", c.in...)).Memory.Installed(); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
}

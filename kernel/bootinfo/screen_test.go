package bootinfo

import (
	"encoding/binary"
	"testing"
)

// TestScreen: the description is found among the modules, and only a whole one counts.
func TestScreen(t *testing.T) {
	const list, at = 0x3000, 0x3100
	le := binary.LittleEndian
	described := func() *machine {
		m := start("", Range{0x100000, 0x200000, RAM})
		le.PutUint64(m.mem[16:], list)
		second := m.mem[list-base+moduleSize:]
		le.PutUint64(second, at)
		le.PutUint64(second[8:], screenSize)
		b := m.mem[at-base:]
		le.PutUint32(b, screenMagic)
		le.PutUint64(b[8:], 0xc0000000)
		le.PutUint64(b[16:], 4096000)
		for i, v := range []uint32{1280, 800, 1, 1288} {
			le.PutUint32(b[24+4*i:], v)
		}
		le.PutUint64(b[40:], 0x7f000000)
		return m
	}
	want := Screen{Base: 0xc0000000, Size: 4096000, Width: 1280, Height: 800, Stride: 1288, Format: 1, Runtime: 0x7f000000}
	if got := parse(t, described()).Screen; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for wrong := range byte(4) {
		m := described()
		m.mem[at-base+wrongAt] = wrong
		info := parse(t, m)
		if info.OptionsLong != (wrong&1 != 0) || info.OptionsDamaged != (wrong&2 != 0) || info.Screen != want {
			t.Errorf("%d: options long %v, damaged %v, %+v", wrong, info.OptionsLong, info.OptionsDamaged, info.Screen)
		}
	}
	for name, change := range map[string]func(m *machine){
		"no modules":      func(m *machine) { le.PutUint32(m.mem[12:], 0) },
		"one module":      func(m *machine) { le.PutUint32(m.mem[12:], 1) },
		"another module":  func(m *machine) { m.mem[at-base]++ },
		"another length":  func(m *machine) { m.mem[list-base+moduleSize+8]++ },
		"out of memory":   func(m *machine) { le.PutUint64(m.mem[list-base+moduleSize:], 1<<63) },
		"list of nothing": func(m *machine) { le.PutUint64(m.mem[16:], 1<<63) },
		"list at the end": func(m *machine) { le.PutUint64(m.mem[16:], ^uint64(0)-8) },
	} {
		m := described()
		if change(m); parse(t, m).Screen != (Screen{}) {
			t.Errorf("%s: %+v", name, parse(t, m).Screen)
		}
	}
}

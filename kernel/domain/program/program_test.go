package program

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
)

// header is one program header of a test's file.
type header struct {
	kind, flags               uint32
	off, addr, file, inMemory uint64
}

const (
	text = abi.ImageStart
	data = abi.ImageStart + 0x3000
)

// program makes an ELF file of 8 KiB.
func program(headers ...header) []byte {
	f := make([]byte, 0x2000)
	copy(f[0x1f00:], fmt.Sprintf("%s%04d", abi.Mark, abi.Version))
	le := binary.LittleEndian
	copy(f, ident)
	le.PutUint16(f[offType:], typeExec)
	le.PutUint16(f[offMachine:], machine)
	le.PutUint64(f[offEntry:], text+0x100)
	le.PutUint64(f[offProgramHeaders:], headerSize)
	le.PutUint16(f[offHeaderSize:], programHeaderSize)
	le.PutUint16(f[offHeaderCount:], uint16(len(headers)))
	for i, h := range headers {
		b := f[headerSize+i*programHeaderSize:]
		le.PutUint32(b, h.kind)
		le.PutUint32(b[4:], h.flags)
		le.PutUint64(b[8:], h.off)
		le.PutUint64(b[16:], h.addr)
		le.PutUint64(b[32:], h.file)
		le.PutUint64(b[40:], h.inMemory)
	}
	return f
}

var (
	code = header{typeLoad, flagExec, 0, text, 0x1000, 0x1000}
	bss  = header{typeLoad, flagWrite, 0x1000, data + 8, 0x800, 0x2000}
)

func TestParse(t *testing.T) {
	img, err := Parse(program(code, header{kind: 4, addr: 1}, bss, header{kind: typeLoad}))
	if err != nil {
		t.Fatal(err)
	}
	if len(img.Segments) != 2 || img.Entry != text+0x100 || img.End != data+0x3000 {
		t.Fatalf("got %+v", img)
	}
	if s := img.Segments[1]; s.Start != data || s.End != data+0x3000 || s.Address != data+8 || len(s.Data) != 0x800 || !s.Write || s.Exec {
		t.Errorf("data segment %+v", s)
	}
}

func TestParseRefuses(t *testing.T) {
	change := func(h header, f func(*header)) header {
		f(&h)
		return h
	}
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"nothing", nil, "0 bytes that are no 64-bit ELF file"},
		{"text", bytes.Repeat([]byte("text"), 100), "no 64-bit ELF file"},
		{"32 bits", func() []byte { f := program(code); f[4] = 1; return f }(), "no 64-bit ELF file"},
		{"another machine", func() []byte { f := program(code); f[offMachine] = 183; return f }(), "for machine 183"},
		{"a library", func() []byte { f := program(code); f[offType] = 3; return f }(), "ELF type 3"},
		{"headers outside", func() []byte { f := program(code); f[offProgramHeaders+5] = 1; return f }(), "do not fit"},
		{"many headers", func() []byte { f := program(code); f[offHeaderCount] = 200; return f }(), "200 program headers"},
		{"in the kernel", program(change(code, func(h *header) { h.addr = 0x201000 })), "lies outside"},
		{"in shared pages", program(code, change(bss, func(h *header) { h.addr = abi.BootPage })), "lies outside"},
		{"over the stack", program(code, change(bss, func(h *header) { h.inMemory = 63 << 30 })), "lies outside"},
		{"length that wraps", program(code, change(bss, func(h *header) { h.inMemory = ^uint64(0) })), "lies outside"},
		{"more file than memory", program(code, change(bss, func(h *header) { h.file = 0x2001 })), "do not fit"},
		{"behind the file", program(code, change(bss, func(h *header) { h.off = 0x1900 })), "do not fit"},
		{"offset that wraps", program(code, change(bss, func(h *header) { h.off = ^uint64(0) - 8 })), "do not fit"},
		{"written and executed", program(change(code, func(h *header) { h.flags |= flagWrite })), "both written and executed"},
		{"a page twice", program(code, change(bss, func(h *header) { h.addr = text + 0xfff })), "share a page"},
		{"entry in data", program(bss), "is in no executable segment"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.file)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(program(code, bss))
	f.Fuzz(func(t *testing.T, file []byte) {
		img, err := Parse(file)
		if err != nil {
			return
		}
		for i, s := range img.Segments {
			if s.Start < abi.Start || s.End > abi.StackTop-abi.StackSize || s.Start >= s.End || s.Write && s.Exec ||
				s.Address < s.Start || s.Address+uint64(len(s.Data)) > s.End {
				t.Errorf("segment %+v", s)
			}
			for _, o := range img.Segments[:i] {
				if s.Start < o.End && o.Start < s.End {
					t.Errorf("segments %+v and %+v overlap", s, o)
				}
			}
		}
	})
}

func TestVersions(t *testing.T) {
	for mark, want := range map[string]string{
		"":                "was not built for a domain",
		abi.Mark:          `version "\x00\x00\x00\x00"`,
		abi.Mark + "0999": fmt.Sprintf(`version "0999" of the ABI, the kernel has %d`, abi.Version),
		abi.Mark + "000x": `version "000x"`,
	} {
		f := program(code)
		clear(f[0x1f00:])
		copy(f[0x1f00:], mark)
		if _, err := Parse(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", mark, err, want)
		}
	}
	short := append(program(code)[:0x1f00:0x1f00], abi.Mark+"00"...)
	if _, err := Parse(short); err == nil {
		t.Error("half a version was taken")
	}
}

// TestForeignLineTables: a table of another byte order says one number of functions
// here and another to package debug/gosym, which would make room for all of them.
func TestForeignLineTables(t *testing.T) {
	table := make([]byte, 1<<20)
	copy(table, []byte{0xff, 0xff, 0xff, 0xf1, 0, 0, 1, 4, 0, 0x20, 0, 0})
	before := testing.AllocsPerRun(1, func() {
		img := &Image{Lines: table, Text: 0x40011000}
		if got := img.Symbols().Name(0x40011000); got != "0x40011000" {
			t.Errorf("named %q", got)
		}
	})
	if before > 20 {
		t.Errorf("%v allocations", before)
	}
	good := append([]byte{0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8}, make([]byte, 64)...)
	good[8] = 7
	if n := functions(good); n != 7 {
		t.Errorf("%d functions of 7", n)
	}
	if n := functions(table); n != 0 {
		t.Errorf("a foreign table has %d functions", n)
	}
}

package program

import (
	"bytes"
	"debug/gosym"
	"encoding/binary"
	"fmt"
	"path"
	"slices"
)

// Offsets in the ELF header and in section headers (System V ABI, chapter 4).
const (
	offSectionHeaders = 40
	offSectionSize    = 58
	offSectionCount   = 60
	offSectionNames   = 62
	sectionHeaderSize = 64
	sectionsMax       = 64
)

// findLines returns the section .gopclntab and the address of .text. A file
// without them, or with headers that do not fit, has none.
func findLines(file []byte) (lines []byte, text uint64) {
	le := binary.LittleEndian
	at, size := le.Uint64(file[offSectionHeaders:]), le.Uint16(file[offSectionSize:])
	count, names := uint64(le.Uint16(file[offSectionCount:])), uint64(le.Uint16(file[offSectionNames:]))
	if size != sectionHeaderSize || count > sectionsMax || names >= count ||
		at > uint64(len(file)) || count*sectionHeaderSize > uint64(len(file))-at {
		return nil, 0
	}
	header := func(i uint64) []byte { return file[at+i*sectionHeaderSize:][:sectionHeaderSize] }
	content := func(i uint64) []byte {
		off, n := le.Uint64(header(i)[24:]), le.Uint64(header(i)[32:])
		if off > uint64(len(file)) || n > uint64(len(file))-off {
			return nil
		}
		return file[off:][:n]
	}
	table := content(names)
	for i := range count {
		name := uint64(le.Uint32(header(i)))
		if name >= uint64(len(table)) {
			continue
		}
		switch n, _, _ := bytes.Cut(table[name:], []byte{0}); string(n) {
		case ".gopclntab":
			lines = content(i)
		case ".text":
			text = le.Uint64(header(i)[16:])
		}
	}
	return lines, text
}

// Symbols names addresses of a program's text.
type Symbols struct{ table *gosym.Table }

// functionsMax bounds the functions of a line table that is read: each takes some
// 200 bytes of the kernel's memory while it is looked at.
const functionsMax = 30_000

// lineHeader begins the line tables of Go 1.20 and later on this processor. Package
// debug/gosym knows others, of another byte order too, whose counts would not be
// what they seem here.
var lineHeader = []byte{0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8}

// functions returns how many functions a line table says that it has: the word
// behind its header; 0 for a table of another kind.
func functions(lines []byte) uint64 {
	if len(lines) < 16 || !bytes.HasPrefix(lines, lineHeader) {
		return 0
	}
	return binary.LittleEndian.Uint64(lines[8:])
}

// Symbols reads the line table. Without one, or with one that is broken or very
// large, it names nothing. It takes much memory and time: it is for a program
// that has died.
func (img *Image) Symbols() (s Symbols) {
	defer func() {
		if recover() != nil {
			s = Symbols{} // the table is the program's own and may be anything
		}
	}()
	if n := functions(img.Lines); n > 0 && n <= functionsMax {
		if t, err := gosym.NewTable(nil, gosym.NewLineTable(slices.Clip(img.Lines), img.Text)); err == nil {
			s.table = t
		}
	}
	return s
}

// Name returns function, file and line of an address, or the address.
func (s Symbols) Name(pc uint64) (name string) {
	name = fmt.Sprintf("%#x", pc)
	if s.table == nil {
		return name
	}
	defer func() { _ = recover() }()
	if file, line, fn := s.table.PCToLine(pc); fn != nil {
		return fmt.Sprintf("%s(%s:%d)", fn.Name, path.Base(file), line)
	}
	return name
}

// Package program reads the ELF files of programs that run in domains. It
// believes nothing that they say.
package program

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/sluice-os/sluice/nexus/abi"
)

const pageSize = 4096

// Segment is a loaded piece of a program.
type Segment struct {
	Start, End  uint64 // addresses, multiples of 4096
	Address     uint64 // where Data begins; the rest is zeros
	Data        []byte // part of the file
	Write, Exec bool
}

// Image is a checked program.
type Image struct {
	Entry    uint64
	Segments []Segment
	End      uint64 // first address behind the last segment, a multiple of 4096
	// Lines is the Go line table (section .gopclntab) and Text the address of
	// the text that it is about; Lines is nil when the program has none.
	Lines []byte
	Text  uint64
}

// Offsets and values of a 64-bit ELF file (System V ABI, chapters 4 and 5).
// Package debug/elf would bring half a megabyte into the kernel.
const (
	headerSize        = 64
	programHeaderSize = 56
	offType           = 16
	offMachine        = 18
	offEntry          = 24
	offProgramHeaders = 32
	offHeaderSize     = 54
	offHeaderCount    = 56

	ident     = "\x7fELF\x02\x01\x01" // 64 bits, little endian, version 1
	typeExec  = 2
	machine   = 62 // x86-64
	typeLoad  = 1
	flagExec  = 1
	flagWrite = 2

	headersMax = 32
)

// Parse checks that file is a program that a domain can run: x86-64, all
// segments inside the domain's range, none sharing a page with another, none
// that is both written and executed. Segments refer to file.
func Parse(file []byte) (*Image, error) {
	if len(file) < headerSize || string(file[:len(ident)]) != ident {
		return nil, fmt.Errorf("%d bytes that are no 64-bit ELF file", len(file))
	}
	le := binary.LittleEndian
	if t, m := le.Uint16(file[offType:]), le.Uint16(file[offMachine:]); t != typeExec || m != machine {
		return nil, fmt.Errorf("ELF type %d for machine %d, want %d (executable) for %d (x86-64)", t, m, typeExec, machine)
	}
	if err := checkVersion(file); err != nil {
		return nil, err
	}
	img := &Image{Entry: le.Uint64(file[offEntry:])}
	at, size, count := le.Uint64(file[offProgramHeaders:]), le.Uint16(file[offHeaderSize:]), uint64(le.Uint16(file[offHeaderCount:]))
	if size != programHeaderSize || count > headersMax || at > uint64(len(file)) || count*programHeaderSize > uint64(len(file))-at {
		return nil, fmt.Errorf("%d program headers of %d bytes at %d do not fit", count, size, at)
	}
	entry := false
	for i := range count {
		h := file[at+i*programHeaderSize:][:programHeaderSize]
		if le.Uint32(h) != typeLoad || le.Uint64(h[40:]) == 0 {
			continue
		}
		s, err := parseSegment(file, h)
		if err != nil {
			return nil, err
		}
		for _, o := range img.Segments {
			if s.Start < o.End && o.Start < s.End {
				return nil, fmt.Errorf("segments %#x and %#x share a page", o.Address, s.Address)
			}
		}
		entry = entry || s.Exec && s.Start <= img.Entry && img.Entry < s.End
		img.Segments = append(img.Segments, s)
		img.End = max(img.End, s.End)
	}
	if !entry {
		return nil, fmt.Errorf("the entry point %#x is in no executable segment", img.Entry)
	}
	img.Lines, img.Text = findLines(file)
	return img, nil
}

// checkVersion looks for the version of the ABI that the program was built for.
func checkVersion(file []byte) error {
	i := bytes.Index(file, []byte(abi.Mark))
	if i < 0 {
		return errors.New("the program was not built for a domain: build it with image build")
	}
	digits := file[i+len(abi.Mark):]
	version, err := strconv.ParseUint(string(digits[:min(4, len(digits))]), 10, 16)
	if err != nil || version != abi.Version {
		return fmt.Errorf("the program is for version %q of the ABI, the kernel has %d: build both with one release", digits[:min(4, len(digits))], abi.Version)
	}
	return nil
}

// imageEnd bounds images from above: the stack and its guard page follow.
const imageEnd = abi.StackTop - abi.StackSize - pageSize

// parseSegment checks one program header.
func parseSegment(file, h []byte) (s Segment, err error) {
	le := binary.LittleEndian
	flags, off := le.Uint32(h[4:]), le.Uint64(h[8:])
	addr, inFile, inMemory := le.Uint64(h[16:]), le.Uint64(h[32:]), le.Uint64(h[40:])
	end := addr + inMemory
	switch {
	case end < addr || addr < abi.Start || end > imageEnd:
		return s, fmt.Errorf("segment %#x of %#x bytes lies outside of %#x to %#x: link it with image build", addr, inMemory, uint64(abi.Start), uint64(imageEnd))
	case inFile > inMemory || off > uint64(len(file)) || inFile > uint64(len(file))-off:
		return s, fmt.Errorf("segment %#x has %#x bytes at %#x of the file, which do not fit", addr, inFile, off)
	case flags&flagWrite != 0 && flags&flagExec != 0:
		return s, fmt.Errorf("segment %#x is both written and executed", addr)
	}
	return Segment{
		Start: addr &^ (pageSize - 1), End: (end + pageSize - 1) &^ (pageSize - 1),
		Address: addr, Data: file[off:][:inFile],
		Write: flags&flagWrite != 0, Exec: flags&flagExec != 0,
	}, nil
}

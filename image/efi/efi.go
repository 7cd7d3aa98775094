// Package efi makes the UEFI application that starts an image: the code assembled from
// stub.gas in a PE32+ file (Microsoft PE Format; UEFI Specification 2.10, section 2.1).
package efi

import (
	"bytes"
	_ "embed"
	"encoding/binary"
)

//go:embed stub.bin
var stub []byte

// Offsets and sizes in the file, in bytes.
const (
	peAt         = 64            // behind the DOS header
	optionalAt   = peAt + 4 + 20 // behind the signature and the COFF header
	optionalSize = 112           // without data directories
	sectionAt    = optionalAt + optionalSize
	align        = 0x200  // of sections in the file
	pageSize     = 0x1000 // and in memory
)

// Application returns the file, which is for EFI/BOOT/BOOTX64.EFI. It has no fixed address
// and needs no relocation: its code is independent of where it lies.
func Application() []byte {
	var b bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			binary.Write(&b, binary.LittleEndian, v)
		}
	}
	pad := func(n int) { b.Write(make([]byte, n-b.Len())) }
	code := uint32(len(stub)+align-1) / align * align
	put([]byte("MZ"))
	pad(0x3c)
	put(uint32(peAt))
	put([]byte("PE\x00\x00"))
	// Machine, sections, time, symbols, size of the optional header, characteristics: an
	// executable image that knows addresses beyond 2 GiB.
	put(uint16(0x8664), uint16(1), uint32(0), uint32(0), uint32(0), uint16(optionalSize), uint16(0x0022))
	put(uint16(0x20b), uint8(0), uint8(0), code, uint32(0), uint32(0), uint32(pageSize), uint32(pageSize))
	put(uint64(0), uint32(pageSize), uint32(align), uint16(0), uint16(0), uint16(0), uint16(0), uint16(0), uint16(0), uint32(0))
	// Sizes of image and headers, checksum, subsystem (10: EFI application), characteristics
	// (NX compatible), stack and heap, and no data directories.
	put(pageSize+(code+pageSize-1)/pageSize*pageSize, uint32(align), uint32(0), uint16(10), uint16(0x0100))
	put(uint64(0), uint64(0), uint64(0), uint64(0), uint32(0), uint32(0))
	// The only section: code that is read and executed.
	put([]byte(".text\x00\x00\x00"), uint32(len(stub)), uint32(pageSize), code, uint32(align))
	put(uint32(0), uint32(0), uint16(0), uint16(0), uint32(0x60000020))
	pad(align)
	b.Write(stub)
	pad(align + int(code))
	return b.Bytes()
}

package acpi

// The way to a table: the root pointer, the root table, and the checks that
// every table has to pass. Nothing here allocates.

import "encoding/binary"

// Sizes of the root pointer (5.2.5.3) and of a table's header (5.2.6), bytes.
const (
	rsdpSize   = 20
	rsdpSize2  = 36
	headerSize = 36
	tableMax   = 4 << 20 // the longest table that is read
)

// Where a BIOS puts the root pointer (5.2.5.1): on a 16-byte boundary in the
// first KiB of the EBDA, whose segment is at 0x40e, or in the ROM area.
const (
	ebdaSegment = 0x40e
	ebdaSize    = 1 << 10
	ebdaLowest  = 0x500 // the BIOS data area lies below
	ebdaHighest = 0xa0000 - ebdaSize
	romStart    = 0xe0000
	romSize     = 0x20000
	rsdpAlign   = 16
)

// physEnd is where physical addresses end on any x86-64 processor.
const physEnd = 1 << 52

const rsdpSignature = "RSD PTR "

// root is what the root pointer says.
type root struct {
	address   uint64
	revision  uint8
	oem       [6]byte
	table     uint64 // the RSDT, or the XSDT when there is one
	signature string // what table must be
	entrySize int    // bytes an entry
}

// entry returns the first entry of entries, which holds entrySize bytes.
func (r *root) entry(entries []byte) uint64 {
	if r.entrySize == 8 {
		return binary.LittleEndian.Uint64(entries)
	}
	return uint64(binary.LittleEndian.Uint32(entries))
}

// findRoot reads the root pointer at rsdp or where a BIOS puts it. why is not
// empty when there is none.
func findRoot(rsdp uint64, memory Memory) (r root, why string) {
	if rsdp != 0 {
		if b := memory(rsdp, rsdpSize); len(b) >= rsdpSize {
			if r, ok := parseRoot(b, rsdp, memory); ok {
				return r, ""
			}
		}
	}
	if b := memory(ebdaSegment, 2); len(b) >= 2 {
		ebda := uint64(binary.LittleEndian.Uint16(b)) << 4
		if ebda >= ebdaLowest && ebda <= ebdaHighest {
			if r, ok := scanRoot(ebda, ebdaSize, memory); ok {
				return r, ""
			}
		}
	}
	if r, ok := scanRoot(romStart, romSize, memory); ok {
		return r, ""
	}
	if rsdp != 0 {
		return r, "no ACPI root pointer: neither where the boot loader says nor where a BIOS puts it"
	}
	return r, "no ACPI root pointer: the boot loader gives none and there is none where a BIOS puts it"
}

func scanRoot(phys uint64, n int, memory Memory) (root, bool) {
	b := memory(phys, n)
	for off := 0; off+rsdpSize <= len(b); off += rsdpAlign {
		if r, ok := parseRoot(b[off:], phys+uint64(off), memory); ok {
			return r, true
		}
	}
	return root{}, false
}

// parseRoot reads the root pointer that b, at least rsdpSize bytes, may be.
func parseRoot(b []byte, phys uint64, memory Memory) (r root, ok bool) {
	if string(b[:8]) != rsdpSignature || sum(b[:rsdpSize]) != 0 {
		return r, false
	}
	r = root{
		address: phys, revision: b[15], oem: [6]byte(b[9:15]),
		table: uint64(binary.LittleEndian.Uint32(b[16:])), signature: "RSDT", entrySize: 4,
	}
	if r.revision < 2 {
		return r, true
	}
	// The rest has a checksum of its own; without it there is still the RSDT.
	if b = memory(phys, rsdpSize2); len(b) >= rsdpSize2 && sum(b[:rsdpSize2]) == 0 {
		if xsdt := binary.LittleEndian.Uint64(b[24:]); xsdt != 0 {
			r.table, r.signature, r.entrySize = xsdt, "XSDT", 8
		}
	}
	return r, true
}

// loadTable returns the whole table at phys: at least a header, with a right
// checksum. signature "" allows any. why is not empty when there is none; one
// with a wrong checksum is returned none the less, for its name and length.
func loadTable(memory Memory, phys uint64, signature string) (table []byte, why string) {
	if phys == 0 {
		return nil, "the address is 0"
	}
	h := memory(phys, headerSize)
	if len(h) < headerSize {
		return nil, "it lies outside of memory"
	}
	if signature != "" && string(h[:4]) != signature {
		return nil, "something else is there"
	}
	length := binary.LittleEndian.Uint32(h[4:])
	if length < headerSize || length > tableMax {
		return nil, "its length is out of range (36 bytes to 4 MiB)"
	}
	table = memory(phys, int(length))
	if len(table) < int(length) {
		return nil, "its end lies outside of memory"
	}
	table = table[:length]
	if sum(table) != 0 {
		return table, "its checksum is wrong"
	}
	return table, ""
}

// sum adds bytes; it is 0 over a structure with its checksum.
func sum(b []byte) (s uint8) {
	for _, c := range b {
		s += c
	}
	return s
}

package acpi

// What the kernel needs from AML, the byte code of DSDT and SSDT (chapter 20),
// found by its encoding: the virtio-mmio devices and the package \_S5_.

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// VirtIO is one virtio-mmio device.
type VirtIO struct {
	Address, Size uint64 // physical, of its registers; Size in bytes, not 0
	GSI           uint32 // its interrupt
	Level         bool   // level triggered, else edge
	ActiveLow     bool
}

// SleepType holds the values of SLP_TYP for a sleep state (7.4.2): A for
// PM1aControl or SleepControl, B for PM1bControl. Both are 0 to 7.
type SleepType struct{ A, B uint8 }

// virtioMax bounds the devices that are looked at, in all tables together: each
// may cost a search of its table.
const virtioMax = 64

// Opcodes and prefixes (20.3).
const (
	opZero    = 0x00
	opOne     = 0x01
	opName    = 0x08
	opByte    = 0x0a
	opWord    = 0x0b
	opDWord   = 0x0c
	opBuffer  = 0x11
	opPackage = 0x12
	opOnes    = 0xff
	opExt     = 0x5b
	opDevice  = 0x82 // behind opExt
)

var (
	// virtioID is Name(_HID, "LNRO0005").
	virtioID = []byte("\x08_HID\x0dLNRO0005\x00")
	// resourcesName is Name(_CRS, ...).
	resourcesName = []byte("\x08_CRS")
	// softOffName is Name(_S5_, ...), softOffRootName Name(\_S5_, ...).
	softOffName     = []byte("\x08_S5_")
	softOffRootName = []byte("\x08\\_S5_")
)

// parseAML searches a DSDT or SSDT.
func (p *parser) parseAML(table []byte) {
	aml := table[headerSize:]
	if p.SoftOff == nil {
		p.SoftOff = findSoftOff(aml)
	}
	for at := 0; ; at++ {
		next := bytes.Index(aml[at:], virtioID)
		if next < 0 {
			return
		}
		at += next
		if p.devices == virtioMax {
			p.problem("AML: more than %d virtio-mmio devices: the rest is left out", virtioMax)
			return
		}
		p.devices++
		v, why := parseVirtIO(enclosingDevice(aml, at))
		if why == "" && slices.ContainsFunc(p.VirtIO, v.overlaps) {
			why = "its registers are another device's too"
		}
		if why != "" {
			p.problem("AML: virtio-mmio device at offset %#x is left out: %s", headerSize+at, why)
			continue
		}
		p.VirtIO = append(p.VirtIO, v)
	}
}

// overlaps reports whether the registers of two devices share an address.
// Both have 32-bit places, so that nothing wraps.
func (v VirtIO) overlaps(w VirtIO) bool {
	return v.Address < w.Address+w.Size && w.Address < v.Address+v.Size
}

// deviceHeadMax bounds how far before its _HID a Device term may begin.
const deviceHeadMax = 256

// enclosingDevice returns the body of the innermost Device term around offset
// at; nil when there is none.
func enclosingDevice(aml []byte, at int) []byte {
	for off := at - 1; off > 0 && off >= at-deviceHeadMax; off-- {
		if aml[off] != opDevice || aml[off-1] != opExt {
			continue
		}
		if body, end, ok := packaged(aml[off+1:]); ok && off+1+end > at && nameStarts(body[0]) {
			return body
		}
	}
	return nil
}

// nameStarts reports whether c may begin a name (20.2.2).
func nameStarts(c byte) bool {
	return c >= 'A' && c <= 'Z' || c == '_' || c == '\\' || c == '^' || c == 0x2e || c == 0x2f
}

// parseVirtIO reads the resources of a device from its body.
func parseVirtIO(body []byte) (v VirtIO, why string) {
	if body == nil {
		return v, "no Device is around it"
	}
	at := bytes.Index(body, resourcesName)
	if at < 0 {
		return v, "it has no _CRS"
	}
	resources := buffer(body[at+len(resourcesName):])
	if resources == nil {
		return v, "its _CRS is not a constant buffer"
	}
	return parseResources(resources)
}

// packaged reads a PkgLength (20.2.4) at the start of b: body is what it spans
// behind itself, end where that ends in b. It reports false when the length
// does not fit into b or spans nothing.
func packaged(b []byte) (body []byte, end int, ok bool) {
	if len(b) == 0 {
		return nil, 0, false
	}
	more := int(b[0] >> 6) // further bytes
	if more >= len(b) {
		return nil, 0, false
	}
	end = int(b[0] & 0x3f)
	if more > 0 {
		end = int(b[0] & 0x0f)
		for i := range more {
			end |= int(b[1+i]) << (4 + 8*i)
		}
	}
	if end <= 1+more || end > len(b) {
		return nil, 0, false
	}
	return b[1+more : end], end, true
}

// integer reads a constant (20.2.3) at the start of b.
func integer(b []byte) (v uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	op, b := b[0], b[1:]
	switch {
	case op == opZero:
		return 0, b, true
	case op == opOne:
		return 1, b, true
	case op == opOnes:
		return 0xff, b, true
	case op == opByte && len(b) >= 1:
		return uint64(b[0]), b[1:], true
	case op == opWord && len(b) >= 2:
		return uint64(binary.LittleEndian.Uint16(b)), b[2:], true
	case op == opDWord && len(b) >= 4:
		return uint64(binary.LittleEndian.Uint32(b)), b[4:], true
	}
	return 0, nil, false
}

// buffer reads a Buffer term (20.2.5.4) at the start of b; nil when there is
// none.
func buffer(b []byte) []byte {
	if len(b) == 0 || b[0] != opBuffer {
		return nil
	}
	body, _, ok := packaged(b[1:])
	if !ok {
		return nil
	}
	n, body, ok := integer(body)
	if !ok {
		return nil
	}
	return body[:min(n, uint64(len(body)))]
}

// findSoftOff reads the package \_S5_; nil when there is none.
func findSoftOff(aml []byte) *SleepType {
	for _, name := range [][]byte{softOffName, softOffRootName} {
		for at := 0; ; {
			next := bytes.Index(aml[at:], name)
			if next < 0 {
				break
			}
			at += next + len(name)
			if s := parseSleep(aml[at:]); s != nil {
				return s
			}
		}
	}
	return nil
}

// parseSleep reads a package of at least one constant at the start of b.
func parseSleep(b []byte) *SleepType {
	if len(b) == 0 || b[0] != opPackage {
		return nil
	}
	body, _, ok := packaged(b[1:])
	if !ok || body[0] == 0 {
		return nil
	}
	count := body[0]
	first, body, ok := integer(body[1:])
	if !ok || first > 7 {
		return nil
	}
	s := &SleepType{A: uint8(first)}
	if second, _, ok := integer(body); ok && count > 1 && second <= 7 {
		s.B = uint8(second)
	}
	return s
}

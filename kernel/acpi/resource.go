package acpi

// Resource templates (6.4): what a device's _CRS holds.

import "encoding/binary"

// Tags of the descriptors that a virtio-mmio device has. A small one has its
// length in its lowest three bits, a large one bit 7 set and two bytes of
// length behind it.
const (
	tagLarge     = 0x80
	tagEnd       = 0x79 >> 3
	tagMemory32  = 0x86 // 32-bit fixed memory range (6.4.3.4)
	tagInterrupt = 0x89 // extended interrupt (6.4.3.6)
)

// descriptor returns the first of b: its tag, its content, and what follows. ok is false when
// it is cut off. The tag of a small one is without its length.
func descriptor(b []byte) (tag byte, content, rest []byte, ok bool) {
	tag, head, n := b[0], 1, int(b[0]&7)
	if tag&tagLarge == 0 {
		tag >>= 3
	} else {
		if len(b) < 3 {
			return 0, nil, nil, false
		}
		head, n = 3, int(binary.LittleEndian.Uint16(b[1:]))
	}
	if head+n > len(b) {
		return 0, nil, nil, false
	}
	return tag, b[head : head+n], b[head+n:], true
}

// parseResources takes the first memory range and the first interrupt.
func parseResources(b []byte) (v VirtIO, why string) {
	haveInterrupt := false
	for len(b) > 0 && b[0]>>3 != tagEnd {
		tag, d, rest, ok := descriptor(b)
		if !ok {
			return v, "its resources are cut off"
		}
		b = rest
		switch {
		case tag == tagMemory32 && len(d) >= 9 && v.Size == 0:
			v.Address = uint64(binary.LittleEndian.Uint32(d[1:]))
			v.Size = uint64(binary.LittleEndian.Uint32(d[5:]))
		case tag == tagInterrupt && len(d) >= 6 && d[1] >= 1 && !haveInterrupt:
			haveInterrupt = true
			v.Level, v.ActiveLow = d[0]&extendedEdge == 0, d[0]&extendedLow != 0
			v.GSI = binary.LittleEndian.Uint32(d[2:])
		}
	}
	switch {
	case v.Address == 0 || v.Size == 0:
		return v, "it has no memory range"
	case !haveInterrupt:
		return v, "it has no interrupt"
	}
	return v, ""
}

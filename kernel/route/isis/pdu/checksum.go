package pdu

import "encoding/binary"

// This file owns the checksum of LSPs (ISO 8473 6.11; RFC 1008). It covers what begins at the
// LSP ID: not the lifetime, which changes on the way.

const (
	checksumFrom = 12
	checksumAt   = 24
)

// sums are the two sums of Fletcher's checksum, modulo 255.
func sums(b []byte) (c0, c1 uint32) {
	for len(b) > 0 {
		n := min(len(b), 4096) // the sums of so many fit
		for _, x := range b[:n] {
			c0 += uint32(x)
			c1 += c0
		}
		c0, c1 = c0%255, c1%255
		b = b[n:]
	}
	return c0, c1
}

// ChecksumOK says whether the checksum of an LSP is right. A purged one has none that counts.
func (v View) ChecksumOK() bool {
	if binary.BigEndian.Uint16(v.b[10:]) == 0 {
		return true
	}
	c0, c1 := sums(v.b[checksumFrom:])
	return c0 == 0 && c1 == 0 && binary.BigEndian.Uint16(v.b[checksumAt:]) != 0
}

// putChecksum writes the checksum of an LSP.
func putChecksum(p []byte) {
	p[checksumAt], p[checksumAt+1] = 0, 0
	c0, c1 := sums(p[checksumFrom:])
	// The octets x and y that make both sums 0, with so many octets behind x.
	behind := len(p) - checksumAt - 1
	x := (behind*int(c0) - int(c1)) % 255
	if x <= 0 {
		x += 255
	}
	y := (2*255 - int(c0) - x) % 255
	if y <= 0 {
		y += 255
	}
	p[checksumAt], p[checksumAt+1] = byte(x), byte(y)
}

// Checksummed writes the checksum of an LSP, and returns it.
func Checksummed(lsp []byte) []byte {
	putChecksum(lsp)
	return lsp
}

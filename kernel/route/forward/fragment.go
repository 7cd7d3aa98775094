package forward

import "encoding/binary"

// This file owns fragments of IPv4 (RFC 791 3.2), which routers make of packets that are too long for
// a link and may be cut.

// optionCopied is the bit of options that all fragments have.
const optionCopied = 0x80

// Fragment writes into b, of 60 bytes at least, the header of a fragment of a packet that has this
// header: of the payload's bytes from at on, at most so many of a packet of mtu bytes. It returns the
// header's length, and how many bytes of payload are behind it. A packet that is a fragment itself is
// cut like any. header was looked at by Decide, and at is a sum of what earlier calls returned.
func Fragment(b, header []byte, payload, at, mtu int) (n, body int) {
	n = copy(b, header)
	if at > 0 {
		n = ipv4Header + copyOptions(b[ipv4Header:], header[ipv4Header:])
	}
	body = payload - at
	field := binary.BigEndian.Uint16(header[6:])
	if n+body > mtu {
		body = (mtu - n) &^ 7
		field |= flagMore
	}
	// An offset past what the field holds is that of a packet that nobody can put together; it
	// stays as wrong as it came.
	field = field&^offsetMask | (field+uint16(at/8))&offsetMask
	b[0] = 4<<4 | byte(n/4)
	binary.BigEndian.PutUint16(b[2:], uint16(n+body))
	binary.BigEndian.PutUint16(b[6:], field)
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum4(b[:n])))
	return n, body
}

// copyOptions writes those options that fragments behind the first have, with their end, and returns
// how many bytes they take: a multiple of four.
func copyOptions(b, options []byte) (n int) {
	for at := 0; at < len(options) && options[at] != optionEnd; {
		if options[at] == optionNop {
			at++
			continue
		}
		end := len(options)
		if at+1 < len(options) && options[at+1] >= 2 {
			end = min(end, at+int(options[at+1]))
		}
		if options[at]&optionCopied != 0 {
			n += copy(b[n:], options[at:end])
		}
		at = end
	}
	for n%4 != 0 {
		b[n] = optionEnd
		n++
	}
	return n
}

package packet

import "encoding/binary"

// This file owns the reading of IP headers.

const (
	// FrontMax is how much of a packet Parse looks at. All headers must end there.
	FrontMax = 128
	// ExtensionsMax is how many IPv6 extension headers a packet may have.
	ExtensionsMax = 6
)

const (
	v4Min = 20
	v6Len = 40
	// lengthMax is the greatest value of a 16-bit length.
	lengthMax = 0xffff
)

// The IPv6 extension headers (RFC 8200, section 4; RFC 7045).
const (
	hopByHop       = 0
	routing        = 43
	fragmentHeader = 44
	authentication = 51
	destination    = 60
	mobility       = 135
	identity       = 139
	shim           = 140
)

// Parse reads the headers of a packet. b is its front: all of it, or at least
// FrontMax bytes; total is its length. The answer does not depend on how much more
// than FrontMax is given.
func Parse(b []byte, total int) (in Info, why Reason) {
	if total < 0 || len(b) < min(total, FrontMax) {
		return Info{}, Short
	}
	b = b[:min(total, FrontMax)]
	if len(b) == 0 {
		return Info{}, Short
	}
	in.WindowScale = -1
	switch b[0] >> 4 {
	case 4:
		why = in.v4(b, total)
	case 6:
		why = in.v6(b, total)
	default:
		why = BadVersion
	}
	if why == OK {
		why = in.fragment()
	}
	if why == OK && in.FragmentOffset == 0 {
		why = in.transport(b[:min(len(b), in.Length)])
	}
	if why != OK {
		return Info{}, why
	}
	return in, OK
}

func (in *Info) v4(b []byte, total int) Reason {
	if len(b) < v4Min {
		return Short
	}
	in.Version, in.TOS, in.Proto = 4, b[1], b[9]
	in.HeaderLen = int(b[0]&15) * 4
	in.Length = int(binary.BigEndian.Uint16(b[2:]))
	if in.HeaderLen < v4Min || in.HeaderLen > total {
		return BadHeaderLength
	}
	if in.Length < in.HeaderLen || in.Length > total {
		return BadTotalLength
	}
	in.HasOptions = in.HeaderLen > v4Min
	field := binary.BigEndian.Uint16(b[6:])
	in.More = field&0x2000 != 0
	in.FragmentOffset = int(field&0x1fff) * 8
	in.FragmentID = uint32(binary.BigEndian.Uint16(b[4:]))
	in.Src = [16]byte{10: 0xff, 11: 0xff, 12: b[12], 13: b[13], 14: b[14], 15: b[15]}
	in.Dst = [16]byte{10: 0xff, 11: 0xff, 12: b[16], 13: b[17], 14: b[18], 15: b[19]}
	return OK
}

func (in *Info) v6(b []byte, total int) Reason {
	if len(b) < v6Len {
		return Short
	}
	in.Version = 6
	in.TOS = uint8(binary.BigEndian.Uint16(b) >> 4)
	in.Length = v6Len + int(binary.BigEndian.Uint16(b[4:]))
	if in.Length > total {
		return BadTotalLength
	}
	copy(in.Src[:], b[8:24])
	copy(in.Dst[:], b[24:40])
	return in.extensions(b[:min(len(b), in.Length)])
}

// extensions walks the headers between that of IPv6 and the transport's. b ends
// with the packet, or with the front.
func (in *Info) extensions(b []byte) Reason {
	next, nextAt, at := b[6], 6, v6Len
	for n := 0; ; n++ {
		switch next {
		case hopByHop:
			if at != v6Len {
				return BadExtension
			}
		case routing, fragmentHeader, authentication, destination, mobility, identity, shim:
		default:
			in.Proto, in.HeaderLen = next, at
			return OK
		}
		if n == ExtensionsMax {
			return TooManyExtensions
		}
		if at+8 > len(b) {
			return in.beyond(at+8, BadExtension)
		}
		length := 8 + int(b[at+1])*8
		switch next {
		case fragmentHeader:
			if in.fragmentAt != 0 {
				return BadExtension
			}
			length = 8
			field := binary.BigEndian.Uint16(b[at+2:])
			in.More, in.FragmentOffset = field&1 != 0, int(field&^7)
			in.Atomic = !in.More && in.FragmentOffset == 0
			in.FragmentID = binary.BigEndian.Uint32(b[at+4:])
			in.fragmentAt, in.nextAt = uint8(at), uint8(nextAt)
		case authentication:
			length = (int(b[at+1]) + 2) * 4
			if length < 8 || length%8 != 0 {
				return BadExtension
			}
		case routing:
			if b[at+3] != 0 {
				return SourceRoute
			}
		}
		in.HasOptions = true
		if at+length > len(b) {
			return in.beyond(at+length, BadExtension)
		}
		next, nextAt, at = b[at], at, at+length
		if in.FragmentOffset != 0 {
			in.Proto, in.HeaderLen = next, at
			return OK // what follows is the middle of something
		}
	}
}

// beyond is the reason for headers that end at end, behind what there is to read:
// why when the packet is too short, HeadersTooLong when the front is.
func (in *Info) beyond(end int, why Reason) Reason {
	if end <= in.Length {
		return HeadersTooLong
	}
	if in.More {
		return FirstFragment
	}
	return why
}

// fragment checks the place of a fragment (RFC 791, section 3.2; RFC 8200, section 4.5).
func (in *Info) fragment() Reason {
	if !in.Fragment() {
		return OK
	}
	n := in.Length - in.HeaderLen
	if n == 0 || in.More && n%8 != 0 || in.FragmentOffset+n > lengthMax {
		return FragmentLength
	}
	in.PayloadLen = n
	return OK
}

// This file owns what the card of the tests does with a frame on its way out: sums and
// segments, as the manual has them (3.3, 3.5).

package e1000

import (
	"encoding/binary"
	"fmt"

	"github.com/sluice-os/sluice/drivers/hw"
)

// sent is a frame on the wire.
type sent struct {
	frame []byte
	descs int // descriptors of the frame that it is, or was cut from
}

// take is what the card does with one descriptor.
func (c *card) take(addr, word uint64) {
	if word&txDEXT == 0 {
		panic(fmt.Sprintf("descriptor %#x of the old kind", word))
	}
	c.descs++
	if word>>20&0xf == 0 {
		if c.pending != nil {
			panic("context in the middle of a frame")
		}
		c.context = [2]uint64{addr, word}
		return
	}
	n := int(word & 0xfffff)
	if n == 0 || n > 16288 {
		panic(fmt.Sprintf("descriptor of %d bytes", n))
	}
	if c.pending == nil {
		c.pending = []byte{}
		c.options = word
	}
	c.pending = append(c.pending, c.at(addr, n, hw.ToDevice)...)
	if word&txEOP == 0 {
		return
	}
	if word&txRS == 0 || word&txIFCS == 0 {
		panic(fmt.Sprintf("last descriptor %#x", word))
	}
	c.emit()
	c.pending, c.descs = nil, 0
}

// emit sends the frame at hand.
func (c *card) emit() {
	where, what, frame := c.context[0], c.context[1], c.pending
	if c.options&txTSE == 0 {
		c.sums(frame)
		c.wire = append(c.wire, sent{frame, c.descs})
		return
	}
	headers, mss := int(what>>40&0xff), int(what>>48)
	if what&txTSE == 0 || int(what&0xfffff) != len(frame)-headers {
		panic(fmt.Sprintf("context %#x of a large frame of %d bytes", what, len(frame)))
	}
	ip, tcp := int(where&0xff), int(where>>32&0xff)
	for off := 0; headers+off < len(frame); off += mss {
		n := min(mss, len(frame)-headers-off)
		s := append(append([]byte(nil), frame[:headers]...), frame[headers+off:headers+off+n]...)
		if what&ctxIP != 0 {
			put16(s, ip+2, uint16(len(s)-ip))
			put16(s, ip+4, get16(s, ip+4)+uint16(off/mss))
		} else {
			put16(s, ip+4, uint16(len(s)-ip-40))
		}
		binary.BigEndian.PutUint32(s[tcp+4:], binary.BigEndian.Uint32(s[tcp+4:])+uint32(off))
		if headers+off+n < len(frame) {
			s[tcp+13] &^= 9 // FIN and PSH
		}
		at := int(where >> 40 & 0xff)
		put16(s, at, fold(uint32(get16(s, at))+uint32(len(s)-tcp)))
		c.sums(s)
		c.wire = append(c.wire, sent{s, c.descs})
	}
}

// sums inserts the sums that are asked for.
func (c *card) sums(frame []byte) {
	where := c.context[0]
	insert := func(start, at, end int) {
		if end == 0 || end >= len(frame) {
			end = len(frame) - 1
		}
		put16(frame, at, ^sum(frame[start:end+1]))
	}
	if c.options&txTXSM != 0 {
		insert(int(where>>32&0xff), int(where>>40&0xff), int(where>>48))
	}
	if c.options&txIXSM != 0 {
		insert(int(where&0xff), int(where>>8&0xff), int(where>>16&0xffff))
	}
}

// padded is a frame as it is on the wire: with zeros up to Ethernet's shortest.
func padded(frame []byte) []byte {
	if n := txShort - len(frame); n > 0 {
		return append(frame[:len(frame):len(frame)], make([]byte, n)...)
	}
	return frame
}

func get16(b []byte, at int) uint16    { return binary.BigEndian.Uint16(b[at:]) }
func put16(b []byte, at int, v uint16) { binary.BigEndian.PutUint16(b[at:], v) }

func fold(v uint32) uint16 {
	for v>>16 != 0 {
		v = v&0xffff + v>>16
	}
	return uint16(v)
}

// sum is the Internet checksum's sum (RFC 1071).
func sum(b []byte) uint16 {
	v := uint32(0)
	for i, x := range b {
		if i%2 == 0 {
			v += uint32(x) << 8
		} else {
			v += uint32(x)
		}
	}
	return fold(v)
}

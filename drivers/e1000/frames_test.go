// This file owns the frames of TCP and UDP that the tests send, and what must come of them.

package e1000

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/sluice-os/sluice/drivers/nic"
)

// flow is what a frame is made of.
type flow struct {
	v6      bool
	udp     bool
	options int // bytes of TCP options, or of IPv4 options when udp
	payload int
	flags   byte
}

func (f flow) String() string {
	return fmt.Sprintf("v6=%t udp=%t options=%d payload=%d", f.v6, f.udp, f.options, f.payload)
}

// transport is where the TCP or UDP header starts.
func (f flow) transport() int {
	switch {
	case f.v6:
		return nic.HeaderLen + ip6Min
	case f.udp:
		return nic.HeaderLen + ip4Min + f.options
	}
	return nic.HeaderLen + ip4Min
}

func (f flow) headers() int {
	if f.udp {
		return f.transport() + 8
	}
	return f.transport() + tcpMin + f.options
}

// frame makes the frame, whole and unsummed, with the sum of the pseudo header where
// its own goes.
func (f flow) frame() []byte {
	b := make([]byte, f.headers()+f.payload)
	for i := f.headers(); i < len(b); i++ {
		b[i] = byte(i*5 + i>>8)
	}
	copy(b, []byte{2, 0, 0, 0, 0, 9})
	copy(b[6:], testMAC[:])
	at, proto := f.transport(), byte(6)
	if f.udp {
		proto = 17
	}
	if f.v6 {
		put16(b, 12, typeIPv6)
		b[14] = 0x60
		put16(b, 18, uint16(len(b)-at))
		b[20], b[21] = proto, 64
		copy(b[22:], bytes.Repeat([]byte{0xfe, 0x80, 7, 9}, 8))
	} else {
		put16(b, 12, typeIPv4)
		b[14] = 0x40 | byte((at-nic.HeaderLen)/4)
		put16(b, 16, uint16(len(b)-nic.HeaderLen))
		put16(b, 18, 0x1234)
		put16(b, 20, 0x4000)
		b[22], b[23] = 64, proto
		copy(b[26:], []byte{10, 0, 2, 15, 10, 0, 2, 2})
		put16(b, ip4Sum, ^sum(b[nic.HeaderLen:at]))
	}
	put16(b, at, 4321)
	put16(b, at+2, 1234)
	if f.udp {
		put16(b, at+4, uint16(len(b)-at))
	} else {
		binary.BigEndian.PutUint32(b[at+4:], 0xfffffff0)
		b[at+12] = byte((tcpMin + f.options) / 4 << 4)
		b[at+13] = 0x10 | f.flags
	}
	put16(b, at+f.sumOffset(), pseudo(b, at))
	return b
}

func (f flow) sumOffset() int {
	if f.udp {
		return 6
	}
	return tcpSumOffset
}

// pseudo is the sum of a frame's pseudo header.
func pseudo(b []byte, at int) uint16 {
	length := len(b) - at
	if b[14]>>4 == 6 {
		return fold(uint32(sum(b[22:54])) + uint32(b[20]) + uint32(length))
	}
	return fold(uint32(sum(b[26:34])) + uint32(b[23]) + uint32(length))
}

// queue reserves and fills p with the frame, to be summed by the card and, with an mss,
// cut by it.
func (f flow) queue(t testing.TB, d *Device, p *nic.Packet, mss int) {
	t.Helper()
	b := f.frame()
	if !d.Reserve(p, len(b)) {
		t.Fatal("no room to transmit")
	}
	fill(p, b)
	p.NeedsChecksum, p.ChecksumStart, p.ChecksumOffset = true, uint16(f.transport()), uint16(f.sumOffset())
	if mss > 0 {
		p.GSO, p.HeaderLen, p.SegmentSize = nic.GSOTCPv4, uint16(f.headers()), uint16(mss)
		if f.v6 {
			p.GSO = nic.GSOTCPv6
		}
	}
}

// wanted are the frames that come of it on the wire; mss 0 is one.
func (f flow) wanted(mss int) (list [][]byte) {
	whole := f.frame()
	at, headers := f.transport(), f.headers()
	if mss == 0 {
		mss = max(f.payload, 1)
	}
	for off := 0; off == 0 || off < f.payload; off += mss {
		n := min(mss, f.payload-off)
		b := append(append([]byte(nil), whole[:headers]...), whole[headers+off:headers+off+n]...)
		if f.v6 {
			put16(b, 18, uint16(len(b)-at))
		} else {
			put16(b, 16, uint16(len(b)-nic.HeaderLen))
			put16(b, 18, 0x1234+uint16(off/mss))
			put16(b, ip4Sum, 0)
			put16(b, ip4Sum, ^sum(b[nic.HeaderLen:at]))
		}
		if f.udp {
			put16(b, at+4, uint16(len(b)-at))
		} else {
			binary.BigEndian.PutUint32(b[at+4:], 0xfffffff0+uint32(off))
			if off+n < f.payload {
				b[at+13] &^= 9
			}
		}
		put16(b, at+f.sumOffset(), pseudo(b, at))
		put16(b, at+f.sumOffset(), ^sum(b[at:]))
		list = append(list, b)
	}
	return list
}

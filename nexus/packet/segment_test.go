package packet

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestSegment cuts packets of both families into segments of all sizes: each is what a sender
// would have sent that had made it alone.
func TestSegment(t *testing.T) {
	payload := make([]byte, 5000)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	for _, version := range []byte{4, 6} {
		whole := segmentHead(version, len(payload), 1000, 7, FIN|PSH|ACK|CWR)
		ip := len(whole) - 32
		for _, mss := range []int{48, 1000, 1448, 2500, 4999, 5000} {
			head := bytes.Clone(whole)
			for index, from := 0, 0; from < len(payload); index++ {
				n := min(mss, len(payload)-from)
				flags := byte(ACK)
				if index == 0 {
					flags |= CWR
				}
				if from+n == len(payload) {
					flags |= FIN | PSH
				}
				Segment(head, whole[:ip], whole[ip:], from, n, index, from+n == len(payload))
				FinishTCP(head, ip, payload[from:from+n])
				want := segmentHead(version, n, 1000+uint32(from), 7+uint16(index), flags)
				sealTCP(want, ip, payload[from:from+n])
				if !bytes.Equal(head, want) {
					t.Fatalf("version %d, segments of %d, number %d:\n% x, want\n% x", version, mss, index, head, want)
				}
				in, why := Parse(append(bytes.Clone(head), payload[from:from+n]...), len(head)+n)
				if why != OK || in.PayloadLen != n || in.Seq != 1000+uint32(from) || in.Flags != flags {
					t.Fatalf("version %d, number %d: %v, %+v", version, index, why, in)
				}
				from += n
			}
		}
	}
}

// segmentHead are headers with 12 bytes of options, with IPv4's checksum and without TCP's.
func segmentHead(version byte, payload int, seq uint32, id uint16, flags byte) []byte {
	var b []byte
	if version == 4 {
		b = []byte{0x45, 3, 0, 0, 0, 0, 0x40, 0, 64, TCP, 0, 0, 192, 0, 2, 1, 198, 51, 100, 9}
		binary.BigEndian.PutUint16(b[2:], uint16(20+32+payload))
		binary.BigEndian.PutUint16(b[4:], id)
		binary.BigEndian.PutUint16(b[10:], ^SumOf(b))
	} else {
		b = append([]byte{0x60, 1, 2, 3, 0, 0, TCP, 64}, make([]byte, 32)...)
		b[8], b[9], b[23], b[24], b[39] = 0x20, 1, 1, 0xfd, 9
		binary.BigEndian.PutUint16(b[4:], uint16(32+payload))
	}
	tcp := make([]byte, 32)
	binary.BigEndian.PutUint16(tcp, 80)
	binary.BigEndian.PutUint16(tcp[2:], 50000)
	binary.BigEndian.PutUint32(tcp[4:], seq)
	binary.BigEndian.PutUint32(tcp[8:], 99)
	tcp[12], tcp[13] = 8<<4, flags
	binary.BigEndian.PutUint16(tcp[14:], 500)
	copy(tcp[20:], []byte{1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6})
	return append(b, tcp...)
}

// sealTCP puts the checksum in, summed byte by byte.
func sealTCP(head []byte, ip int, payload []byte) {
	length := len(head) - ip + len(payload)
	var pseudo []byte
	if head[0]>>4 == 4 {
		pseudo = append(pseudo, head[12:20]...)
	} else {
		pseudo = append(pseudo, head[8:40]...)
	}
	pseudo = append(pseudo, 0, TCP, byte(length>>8), byte(length))
	binary.BigEndian.PutUint16(head[ip+16:], 0)
	all := append(append(pseudo, head[ip:]...), payload...)
	sum := uint32(0)
	for i, v := range all {
		if i%2 == 0 {
			sum += uint32(v) << 8
		} else {
			sum += uint32(v)
		}
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(head[ip+16:], ^uint16(sum))
}

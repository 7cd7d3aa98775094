package aqm

import (
	"encoding/binary"

	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns which acknowledgements a later one makes superfluous.

// timestamps is how the options of a segment begin that has nothing but time stamps: two
// bytes of padding in front, 12 in all (RFC 7323, appendix A).
const timestamps = 1<<24 | 1<<16 | 8<<8 | 10

// IsPureAck says that a packet, whose transport header is given, is an acknowledgement and
// no more: TCP without payload, flags or options but time stamps. A later one with a
// higher number says all that it does. One with a selective acknowledgement, with an
// echo of marks (RFC 3168, RFC 9768) or with the same number tells of losses and marks:
// each counts.
func IsPureAck(in *packet.Info, transport []byte) bool {
	if in.Proto != packet.TCP || in.Fragment() || in.PayloadLen != 0 || in.Flags != packet.ACK ||
		in.TransportLen < 20 || len(transport) < in.TransportLen || transport[12]&15 != 0 {
		return false
	}
	switch in.TransportLen {
	case 20:
		return true
	case 32:
		return binary.BigEndian.Uint32(transport[20:]) == timestamps
	}
	return false
}

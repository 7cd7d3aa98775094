package flow

import (
	"encoding/binary"

	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns the reset that tells a peer that its connection is over.

// RST is what a reset says. Key is this machine's view: the reset goes from Local to
// Remote.
type RST struct {
	Key packet.Key
	// Seq is the number that the peer expects next. Ack counts when HasAck is set.
	Seq, Ack uint32
	HasAck   bool
}

// RST is the reset in the owner's name (RFC 9293, section 3.10.7.4), from what the
// owner has sent itself. false: the peer knows of no connection, or it is over.
func (f *Flow) RST() (RST, bool) {
	if k := f.Kind(); f.Key.Proto != packet.TCP || k != Connected && k != HalfOpen {
		return RST{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t := &f.track
	r := RST{Key: f.Key, Seq: t.local.next, Ack: t.local.ack, HasAck: t.local.acked}
	return r, t.local.known && t.remote.step != stepNone && !t.over()
}

// LateRST answers data that came after both sides have ended: see the action Reset.
func (f *Flow) LateRST() RST {
	f.mu.Lock()
	defer f.mu.Unlock()
	return RST{Key: f.Key, Seq: f.track.local.next, Ack: f.track.local.ack, HasAck: f.track.local.acked}
}

// BuildRST appends the packet to dst: 40 bytes of IPv4 or 60 of IPv6.
func BuildRST(dst []byte, r *RST) []byte {
	const tcpLen, ttl = 20, 64
	if r.Key.Version == 4 {
		var ip [20]byte
		ip[0], ip[3], ip[6], ip[8], ip[9] = 0x45, 20+tcpLen, 0x40, ttl, packet.TCP
		copy(ip[12:], r.Key.Local[12:])
		copy(ip[16:], r.Key.Remote[12:])
		var s packet.Sum
		s.Add(ip[:])
		binary.BigEndian.PutUint16(ip[10:], s.Checksum())
		dst = append(dst, ip[:]...)
	} else {
		var ip [40]byte
		ip[0], ip[5], ip[6], ip[7] = 0x60, tcpLen, packet.TCP, ttl
		copy(ip[8:], r.Key.Local[:])
		copy(ip[24:], r.Key.Remote[:])
		dst = append(dst, ip[:]...)
	}
	at := len(dst)
	dst = append(dst, make([]byte, tcpLen)...)
	b := dst[at:]
	binary.BigEndian.PutUint16(b, r.Key.LocalPort)
	binary.BigEndian.PutUint16(b[2:], r.Key.RemotePort)
	binary.BigEndian.PutUint32(b[4:], r.Seq)
	b[12], b[13] = 5<<4, packet.RST
	if r.HasAck {
		binary.BigEndian.PutUint32(b[8:], r.Ack)
		b[13] |= packet.ACK
	}
	var s packet.Sum
	s.AddPseudo(&r.Key.Local, &r.Key.Remote, r.Key.Version, packet.TCP, tcpLen)
	s.Add(b)
	binary.BigEndian.PutUint16(b[16:], s.Checksum())
	return dst
}

package flowswitch

import (
	"encoding/binary"
	"time"

	"github.com/sluice-os/sluice/nexus/netif"
)

const (
	// halfOpenTime is how long a connection may take to be made, lingerTime how
	// long one is kept that is over, and closingTime one whose domain has
	// closed it and whose peer does not answer; in nanoseconds.
	halfOpenTime = 75 * second
	lingerTime   = 3 * second
	closingTime  = 120 * second
)

// Reap ends the flows whose time is over. It is called about once a second.
func (s *Switch) Reap() {
	now := s.now()
	var ended []*Flow
	s.mu.Lock()
	for _, f := range s.byID {
		over := f.tcp.over()
		switch {
		case f.Kind() == HalfOpen && now-f.lastUsed.Load() > halfOpenTime,
			f.Proto == protoTCP && over != 0 && now-over > lingerTime && (!f.claimed || f.closing),
			f.closing && now-f.lastUsed.Load() > closingTime:
			ended = append(ended, f)
		}
	}
	for _, f := range ended {
		if l := f.parent; l != nil {
			s.establish(f) // takes it from its listener
		}
		s.remove(f)
	}
	s.mu.Unlock()
	for _, f := range ended {
		s.release(f, 0)
	}
}

// release gives a flow's port back.
func (s *Switch) release(f *Flow, linger int64) {
	if f.claimed {
		f.claim.Release(s.time(), time.Duration(linger))
	}
}

// reset tells the peer of an open connection that it is over, in the name of a
// domain that is gone (RFC 9293, section 3.10.7.4: the sequence number is the one
// that the peer expects).
func (s *Switch) reset(f *Flow) {
	t := &f.tcp
	if f.Proto != protoTCP || f.Kind() == Listener || f.Kind() == Bound || !t.sent || t.over() != 0 {
		return
	}
	local, remote := f.Local.Addr(), f.Remote.Addr()
	if s.local(remote) {
		return
	}
	var b [60]byte
	ip := 20
	if local.Is4() {
		b[0], b[8], b[9] = 0x45, 64, protoTCP
		binary.BigEndian.PutUint16(b[2:], 40)
		copy(b[12:], local.AsSlice())
		copy(b[16:], remote.AsSlice())
		binary.BigEndian.PutUint16(b[10:], ^sum(b[:20]))
	} else {
		ip = 40
		b[0], b[6], b[7] = 0x60, protoTCP, 64
		binary.BigEndian.PutUint16(b[4:], 20)
		copy(b[8:], local.AsSlice())
		copy(b[24:], remote.AsSlice())
	}
	tcp := b[ip:]
	binary.BigEndian.PutUint16(tcp, f.Local.Port())
	binary.BigEndian.PutUint16(tcp[2:], f.Remote.Port())
	binary.BigEndian.PutUint32(tcp[4:], t.next)
	binary.BigEndian.PutUint32(tcp[8:], t.ack)
	tcp[12], tcp[13] = 5<<4, flagRST|flagACK
	// The pseudo header's sum goes into the field, for whoever finishes it.
	pseudo := append(append(make([]byte, 0, 36), local.AsSlice()...), remote.AsSlice()...)
	pseudo = append(pseudo, 0, protoTCP, 0, 20)
	binary.BigEndian.PutUint16(tcp[16:], sum(pseudo))
	s.port.Output(&netif.Outgoing{
		Head: b[:ip+20], IP: ip, Transport: 20, Remote: remote, Sum: true, SumOffset: 16,
	}, &f.hop)
}

// sum is the Internet checksum's sum of b (RFC 1071), of an even length.
func sum(b []byte) uint16 {
	n := uint32(0)
	for i := 0; i < len(b); i += 2 {
		n += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}

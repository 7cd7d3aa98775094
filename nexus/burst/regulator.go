package burst

import (
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

const none = -1

// slot is a packet that is held.
type slot struct {
	handle uint32
	length int32
	next   int32
}

// Regulator holds packets for the sockets of one interface.
type Regulator struct {
	config   Config
	ring     int // bytes
	interval time.Duration

	slots  [Slots]slot
	free   int32
	bytes  int
	first  *Socket // of those that have packets here, in no order that counts
	counts Counts
}

// Outcome is what becomes of a packet.
type Outcome uint8

const (
	Direct  Outcome = iota // it goes to its socket now: the caller does that
	Held                   // it goes there at a later Tick
	Dropped                // there is no room for it
)

// New makes a regulator.
func New(c Config) *Regulator {
	r := &Regulator{config: c}
	for i := range r.slots {
		r.slots[i].next = int32(i) + 1
	}
	r.slots[Slots-1].next = none
	r.SetRate(c.Rate)
	return r
}

// SetRate follows the link: size of the ring and interval are those of the rate. What is
// held stays, even when it is more than the ring would take.
func (r *Regulator) SetRate(rate aqm.Rate) {
	r.ring, r.interval = Ring(rate), Interval(rate)
}

// Ring is how many bytes are held at most, Interval the time between two portions of a
// socket that takes them.
func (r *Regulator) Ring() int               { return r.ring }
func (r *Regulator) Interval() time.Duration { return r.interval }

// Counts returns a copy.
func (r *Regulator) Counts() Counts { return r.counts }

// Push asks what to do with a packet of so many bytes, 1 to 65535, that has arrived for a
// socket. As long as the socket's portion lasts, packets pass.
func (r *Regulator) Push(now time.Duration, s *Socket, handle uint32, length int) Outcome {
	if s.packets == 0 {
		if now >= s.next {
			r.begin(now, s)
		}
		if s.credit >= length {
			s.credit -= length
			r.counts.Direct++
			return Direct
		}
	}
	if r.bytes+length > r.ring || r.free == none {
		r.counts.RingFull++
		return Dropped
	}
	i := r.free
	r.free = r.slots[i].next
	r.slots[i] = slot{handle, int32(length), none}
	if s.packets == 0 {
		s.head = i
		r.link(s)
	} else {
		r.slots[s.tail].next = i
	}
	s.tail = i
	s.packets++
	s.bytes += length
	r.bytes += length
	r.counts.Held++
	return Held
}

// begin begins a portion. A socket that takes nothing is asked less and less often.
func (r *Regulator) begin(now time.Duration, s *Socket) {
	s.credit = max(r.config.Room(s), 0)
	s.next = now + r.interval<<s.refusals
}

// Tick delivers the portions that are due, to each socket in order and as whole packets.
func (r *Regulator) Tick(now time.Duration) {
	for s := r.first; s != nil; {
		succ := s.succ // s may be taken out
		if now >= s.next {
			r.serve(now, s)
		}
		s = succ
	}
}

func (r *Regulator) serve(now time.Duration, s *Socket) {
	r.begin(now, s)
	took := false
	for s.packets > 0 {
		p := &r.slots[s.head]
		if s.credit < int(p.length) {
			break
		}
		s.credit -= int(p.length)
		handle := p.handle
		r.shift(s)
		took = true
		r.counts.Delivered++
		r.config.Deliver(s, handle)
	}
	switch {
	case took:
		s.refusals = 0
		s.next = now + r.interval
	case s.refusals < patience:
		s.refusals++
	}
	if s.packets == 0 {
		r.unlink(s)
	}
}

// Next returns when Tick has something to do; false: nothing is held.
func (r *Regulator) Next() (at time.Duration, ok bool) {
	for s := r.first; s != nil; s = s.succ {
		if !ok || s.next < at {
			at, ok = s.next, true
		}
	}
	return at, ok
}

// Close drops what is held for a socket, and calls dropped for each packet.
func (r *Regulator) Close(s *Socket, dropped func(handle uint32)) {
	if s.packets == 0 {
		return
	}
	for s.packets > 0 {
		handle := r.slots[s.head].handle
		r.shift(s)
		r.counts.Closed++
		dropped(handle)
	}
	r.unlink(s)
}

// shift takes the first packet out.
func (r *Regulator) shift(s *Socket) {
	i := s.head
	p := &r.slots[i]
	s.head = p.next
	s.packets--
	s.bytes -= int(p.length)
	r.bytes -= int(p.length)
	p.next = r.free
	r.free = i
}

func (r *Regulator) link(s *Socket) {
	s.prev, s.succ = nil, r.first
	if r.first != nil {
		r.first.prev = s
	}
	r.first = s
}

func (r *Regulator) unlink(s *Socket) {
	if s.prev != nil {
		s.prev.succ = s.succ
	} else {
		r.first = s.succ
	}
	if s.succ != nil {
		s.succ.prev = s.prev
	}
	s.prev, s.succ = nil, nil
}

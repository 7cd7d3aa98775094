// Package burst regulates what arrives in bursts for sockets of the host stack.
//
// Some cards hand over what they have received in bursts far larger than a socket's
// buffer: a program that reads as fast as the data comes on average still loses most of
// each, and its peer takes that for congestion. A Regulator holds such a burst back and
// gives each socket, at an interval, a portion of what it can take. Domains have rings
// of their own, which it has nothing to do with.
//
// A Regulator is a state machine over time that is given to it. Once made it allocates
// nothing. Whoever uses one holds a lock of its own.
package burst

import (
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

const (
	// Slots is how many packets are held at most.
	Slots = 4096
	// RingMin and RingMax bound how many bytes are held at most.
	RingMin = 96 << 10
	RingMax = 6 << 20
	// ringTime is what the link brings in the time that a ring is for.
	ringTime = 10 * time.Millisecond

	// IntervalMin and IntervalMax bound the interval between two portions.
	IntervalMin = 250 * time.Microsecond
	IntervalMax = 4 * time.Millisecond
	// portion is what a socket of the usual size takes at a time when it is half
	// empty.
	portion = 32 << 10
	// patience is how often a socket that takes nothing has its interval doubled.
	patience = 3

	// usual is what is made of a link whose rate is not known.
	usual = aqm.Gigabit
)

// Ring is how many bytes are held at most on a link of some rate.
func Ring(r aqm.Rate) int {
	if r == 0 {
		r = usual
	}
	return min(max(r.Bytes(ringTime), RingMin), RingMax)
}

// Interval is the time between two portions of a socket on a link of some rate: what the
// link needs to bring one, so that sockets keep up with it and are not asked more often
// than that.
func Interval(r aqm.Rate) time.Duration {
	if r == 0 {
		r = usual
	}
	return min(max(r.Time(portion), IntervalMin), IntervalMax)
}

// Socket is what a Regulator knows of one socket. The zero value is one that has been
// given nothing.
type Socket struct {
	// ID is the caller's.
	ID uint32

	head, tail     int32 // of slots, if packets is not 0
	packets, bytes int
	// credit is what is left of the portion that began last, in bytes, and next
	// when another one may begin.
	credit int
	next   time.Duration
	// refusals is how many portions in a row were of nothing.
	refusals   uint
	prev, succ *Socket // among those that have packets here
}

// Held is how many packets wait for the socket, and their bytes.
func (s *Socket) Held() (packets, bytes int) { return s.packets, s.bytes }

// Config is what a Regulator works with.
type Config struct {
	// Rate is that of the link.
	Rate aqm.Rate
	// Room returns how many bytes a socket can take now. An empty one must be able to
	// take any packet. It must not call the regulator.
	Room func(*Socket) int
	// Deliver gives a socket a packet that was held; its bytes are the caller's, who
	// knows it by its handle. It must not call the regulator.
	Deliver func(s *Socket, handle uint32)
}

// Counts is what has become of packets.
type Counts struct {
	Direct    uint64 // went to their sockets at once
	Held      uint64 // waited
	Delivered uint64 // and went to their sockets then
	RingFull  uint64 // dropped: the ring held as much as it may
	Closed    uint64 // dropped: their socket was closed
}

// Each calls f with each counter's name and value.
func (c *Counts) Each(f func(name string, n uint64)) {
	f("burst_direct", c.Direct)
	f("burst_held", c.Held)
	f("burst_delivered", c.Delivered)
	f("burst_drop_ring_full", c.RingFull)
	f("burst_drop_closed", c.Closed)
}

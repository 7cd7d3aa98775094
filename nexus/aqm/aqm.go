// Package aqm is the queue in front of a network card: active queue management with a
// queue for each flow, and what goes with it (a byte limit for the card's ring, token
// buckets).
//
// All of it are state machines over time that is given to them: they start no
// goroutine, read no clock, hold no lock and, once made, allocate nothing. Whoever
// uses one holds a lock of its own.
//
// The order in which packets leave is that of deficit round robin on two levels:
// between service classes, and in each class between flows (M. Shreedhar and
// G. Varghese, "Efficient Fair Queuing using Deficit Round Robin", 1995; RFC 8290 for
// new flows before old ones). Delay is what a packet has waited, and a queue is too long
// when the least of it over an interval is above the target (RFC 8289). What follows
// is not a schedule of drops: a flow whose sender can be told to pause is told to.
package aqm

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"
)

// Config is that of a Queue. 0 stands for the default.
type Config struct {
	// Packets is how many packets are held at most: PacketsMin to PacketsMax,
	// default 2048.
	Packets int
	// Bytes is how many bytes are held at most: PacketLongest to BytesMax, default
	// 1500 for each packet.
	Bytes int
	// Target is the delay that is good, default 10 ms, and Interval how long it
	// must be exceeded without a break, default 100 ms. Interval is above Target.
	Target, Interval time.Duration
	// L4STarget is the delay from which on packets of L4S senders (RFC 9331) are
	// marked, each of them: default 20 ms.
	L4STarget time.Duration
	// Controlled is how many flows can be told to pause at a time: 1 to 65536,
	// default 1024.
	Controlled int
	// Grace is how many packets are still taken of a flow that was told to pause
	// and answers neither losses by itself (see Packet.Responsive) nor marks: what is on
	// its way when it is told. 0 to Packets/4, default 256. -1: none.
	Grace int
	// Floors is what the smallest packet of each pool counts for when flows are compared, in
	// bytes (see Packet.Pool): 0 to Bytes/Packets.
	Floors [Pools]int
	// Seed is a secret number that keeps strangers from choosing which flows share
	// a queue.
	Seed uint64
	// Dropped gives a packet back that was taken and will not be sent. It is
	// called by Enqueue, Yield, Dequeue and Purge, and must not call the queue. nil: nobody is told.
	Dropped func(p *Packet, why Reason)
	// Released says that a flow that was told to pause may go on. It is called by
	// every method that changes the queue, in the order of events: a flow that is
	// told to pause again afterwards is told so by a later Verdict. It is also told how
	// many packets of the flow have left meanwhile, and how many of them were to be
	// marked. It must not call the queue. nil: nobody is told.
	Released func(f Flow, packets, marks uint64)
}

const (
	// PacketsMin and PacketsMax bound Config.Packets.
	PacketsMin = 64
	PacketsMax = 65535
	// PacketLongest is the longest packet that is taken, in bytes on the link: 64 KiB
	// of IP fit in segments of 536 bytes, each with headers of its own.
	PacketLongest = 96 << 10
	// BytesMax bounds Config.Bytes.
	BytesMax = 1 << 30
	// Pools is how many pools of memory there are, see Packet.Pool.
	Pools = 2
	// StampMax is how far ahead a transmit time may be; one beyond is ignored.
	StampMax = 3 * time.Second
)

// ErrConfig says that a Config is out of its bounds.
var ErrConfig = errors.New("aqm: configuration out of bounds")

// check fills in the defaults.
func (c *Config) check() error {
	c.Packets = cmp.Or(c.Packets, 2048)
	c.Bytes = cmp.Or(c.Bytes, max(c.Packets*quantum, PacketLongest))
	c.Target, c.Interval = cmp.Or(c.Target, 10*time.Millisecond), cmp.Or(c.Interval, 100*time.Millisecond)
	c.L4STarget = cmp.Or(c.L4STarget, 20*time.Millisecond)
	c.Controlled = cmp.Or(c.Controlled, 1024)
	c.Grace = cmp.Or(c.Grace, min(256, c.Packets/4))
	if c.Grace == -1 {
		c.Grace = 0
	}
	switch {
	case c.Packets < PacketsMin || c.Packets > PacketsMax:
		return fmt.Errorf("%w: %d packets, want %d to %d", ErrConfig, c.Packets, PacketsMin, PacketsMax)
	case c.Bytes < PacketLongest || c.Bytes > BytesMax:
		return fmt.Errorf("%w: %d bytes, want %d to %d", ErrConfig, c.Bytes, PacketLongest, BytesMax)
	case c.Target <= 0 || c.Interval <= c.Target || c.L4STarget <= 0:
		return fmt.Errorf("%w: targets %v and %v in %v, want them above 0 and the first below the interval",
			ErrConfig, c.Target, c.L4STarget, c.Interval)
	case c.Controlled < 1 || c.Controlled > 65536:
		return fmt.Errorf("%w: %d controlled flows, want 1 to 65536", ErrConfig, c.Controlled)
	case slices.Min(c.Floors[:]) < 0 || slices.Max(c.Floors[:]) > c.Bytes/c.Packets:
		return fmt.Errorf("%w: packets of pools count for %v bytes at least, want 0 to %d", ErrConfig, c.Floors, c.Bytes/c.Packets)
	case c.Grace < 0 || c.Grace > c.Packets/4:
		return fmt.Errorf("%w: a grace of %d packets, want 0 to %d", ErrConfig, c.Grace, c.Packets/4)
	}
	return nil
}

// Queue is the class queue of one network interface.
type Queue struct {
	config Config
	// floor is what the smallest packet counts for when flows are compared: its part
	// of the packet limit, in bytes.
	floor int

	records records
	flows   [queues]flowQueue
	// tags says whose each queue is, and used which ones have packets: a bit each.
	tags    [queues]uint64
	used    [queues / ways]uint8
	classes [Classes]class
	// active are the classes that have flows to serve, and spent those that have had
	// their share of this round: a bit each.
	active, spent uint16
	// fat has all queues that hold something, and pools, for each pool, those whose first packet is
	// of it.
	fat     fat
	pools   [Pools]fat
	paced   paced
	control control

	packets, bytes int
	// weight is the sum of what flows weigh, see flowQueue.weight.
	weight int
	counts Counts
}

// New makes an empty queue. It fails with ErrConfig.
func New(c Config) (*Queue, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	q := &Queue{config: c, floor: c.Bytes / c.Packets}
	q.records.init(c.Packets)
	q.control.init(c.Controlled)
	q.fat.init(linkAll)
	for i := range q.pools {
		q.pools[i].init(linkPool)
	}
	for i := range q.flows {
		q.flows[i] = flowQueue{head: none, tail: none, next: none, controlled: none, class: Class(i / classQueues)}
		q.tags[i] = noTag
	}
	for i := range q.classes {
		q.classes[i] = class{share: shares[i], fresh: list{none, none}, old: list{none, none}}
	}
	return q, nil
}

// Memory is what a queue takes, in bytes, for who has a budget. It fails as New does.
func (c Config) Memory() (int, error) {
	if err := c.check(); err != nil {
		return 0, err
	}
	return int(unsafe.Sizeof(Queue{})) + c.Packets*int(unsafe.Sizeof(record{})) +
		c.Controlled*int(unsafe.Sizeof(controlled{})), nil
}

// Len is how many packets are held, Bytes how many bytes.
func (q *Queue) Len() int   { return q.packets }
func (q *Queue) Bytes() int { return q.bytes }

// none is the index of nothing.
const none = -1

package aqm

import "time"

// This file owns the packets that are held.

// Flow names a flow to those who are told of it.
type Flow struct {
	// Channel is that of the domain that sends; 0: the host stack.
	Channel uint32
	// ID and Generation are those of package flow. What has none has a hash of its
	// addresses and ports as its ID.
	ID, Generation uint32
	// Entry is the number of the flow's entry in its channel's advisory table, if
	// Packet.Advised says that it has one.
	Entry uint32
}

// ECN is what the IP header says of congestion (RFC 3168, section 5).
type ECN uint8

const (
	NotECT ECN = iota // the sender does not know marks
	ECT1              // it does, and is an L4S sender (RFC 9331)
	ECT0              // it does
	CE                // marked
)

// Packet is one packet. Its bytes are the caller's, who knows it by its Handle. The fields
// are in an order that has a record fit into a cache line.
type Packet struct {
	Handle uint32
	// Ack is the acknowledgement number of a packet that is PureAck.
	Ack uint32
	// Length is what it takes of the link, in bytes: headers of all segments that
	// it will be cut into included. 1 to PacketLongest.
	Length int
	// TxTime is when it is to leave at the earliest, on the queue's clock. 0, one
	// that has passed and one more than StampMax ahead: at once. A queue that flows share
	// keeps no times. The answer of Dequeue is since when it could have left.
	TxTime time.Duration
	// Expires is from when on it is not worth sending, on the queue's clock. 0: it always is.
	Expires time.Duration
	Flow    Flow
	Class   Class
	ECN     ECN
	// Advised says that the sender can be told to pause, and asks to be.
	Advised bool
	// Tight says that the sender has little room left, by a limit of the caller's. A flow
	// that can be told is told to pause then, if more than a little of it waits, until
	// half of that has left.
	Tight bool
	// Responsive says that the protocol is known to slow down by itself when packets are
	// lost, as TCP does. (So does QUIC, which looks like any other datagram.)
	Responsive bool
	// PureAck says that an acknowledgement is all that the packet is: see IsPureAck.
	PureAck bool
	// Mark is the answer of Dequeue: the packet is to be marked CE.
	Mark bool
	// Pool is which of the caller's pools of memory the packet takes from, 1 to Pools, if that
	// has a limit of its own at which flows yield (see Yield); 0: none.
	Pool uint8
}

// record is a packet that is held. Its TxTime is when it may leave: never before those of its
// queue in front of it. Its delay counts from there.
type record struct {
	Packet
	next int32
	// guest says that it is in the queue of another flow, see flowQueue.guests.
	guest bool
	// plain says that it came with no time to leave at.
	plain bool
}

// records is the room for packets.
type records struct {
	all  []record
	free int32 // a list by next
}

func (r *records) init(n int) {
	r.all = make([]record, n)
	for i := range r.all {
		r.all[i].next = int32(i) + 1
	}
	r.all[n-1].next = none
}

// take returns a record; the packet limit sees to it that there is one.
func (r *records) take() int32 {
	i := r.free
	r.free = r.all[i].next
	return i
}

func (r *records) put(i int32) {
	r.all[i].next = r.free
	r.free = i
}

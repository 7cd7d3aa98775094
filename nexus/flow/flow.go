package flow

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns one flow.

// Kind is what a flow is for.
type Kind uint8

const (
	Bound     Kind = iota // a port without a peer: UDP, an echo's identifier, or TCP before it listens
	Listener              // TCP that takes connections
	HalfOpen              // a connection that a listener was asked for and that is not made yet
	Connected             // one peer
	kindCount
)

var kindNames = [kindCount]string{"bound", "listen", "half-open", "connected"}

// String is the kind's name.
func (k Kind) String() string {
	if k < kindCount {
		return kindNames[k]
	}
	return "unknown"
}

// Flags are the stages of a flow's end.
type Flags uint32

const (
	FlagClosing   Flags = 1 << iota // its owner has closed it, the connection goes on to its end
	FlagWithdrawn                   // the connection is over; late packets still pass
	FlagNonviable                   // it cannot work any more: nothing passes
	FlagTornDown                    // it has ended: nothing passes
	FlagCookie                      // half-open by an ACK: the handshake was the listener's secret
)

// Flow is one flow. What is exported does not change, but for Hop.
type Flow struct {
	// ID is that of no other flow that is in the table. Generation is that of no
	// flow that had the same ID lately. Neither is 0.
	ID, Generation uint32
	// Owner is the domain, Port its channel, in the caller's numbers.
	Owner uint64
	Port  uint32
	// Key is masked by Mask.
	Key  packet.Key
	Mask Mask
	// Listener is the ID of the flow whose child this was; 0: it was none.
	Listener uint32
	// Trunk is the ID of the flow whose branch this is; 0: it is none.
	Trunk uint32
	// Created is when it was made.
	Created time.Duration
	// Hop is the way to the peer of a flow that has one. It belongs to who sends
	// over the flow.
	Hop netif.Hop
	// Steered is the class in which its packets leave by the card's rules, of a generation of
	// them. It belongs to who sends over the flow, too.
	Steered struct{ Generation, Class uint32 }

	hash     uint64
	kind     atomic.Uint32
	flags    atomic.Uint32
	checked  atomic.Uint64
	lastUsed atomic.Int64
	count    [2]traffic

	// branches are those of a trunk. trunk and patterns are a branch's, and do not change.
	branches atomic.Pointer[[]*Flow]
	trunk    *Flow
	patterns []Pattern

	mu    sync.Mutex // guards track; taken after Table.mu
	track tracker

	// Table.mu guards these.
	parent        *Flow // of a half-open one
	syns, cookies queue // of a listener: its half-open children
	in            *queue
	prev, next    *Flow
	counted       bool // for its owner
	linked        bool
	told          bool // by Withdrawn
	deadline      time.Duration
	why           End
}

type traffic struct{ packets, bytes atomic.Uint64 }

const (
	rx = iota
	tx
)

// Kind is what the flow is for now.
func (f *Flow) Kind() Kind { return Kind(f.kind.Load()) }

// Flags are how far its end is.
func (f *Flow) Flags() Flags { return Flags(f.flags.Load()) }

func (f *Flow) set(g Flags) { f.flags.Or(uint32(g)) }

// UnderWay says whether an error about a segment can be true: it was sent, and is not
// acknowledged yet. Of other protocols nothing is known.
func (f *Flow) UnderWay(seq uint32) bool {
	if f.Key.Proto != packet.TCP || f.Kind() == Listener {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.track.underWay(seq)
}

// Checked is the generation of the machine's addresses for which the flow's own was found
// to be among them; SetChecked notes it. 0: none yet.
func (f *Flow) Checked() uint64              { return f.checked.Load() }
func (f *Flow) SetChecked(generation uint64) { f.checked.Store(generation) }

// LastUsed is when a packet passed last.
func (f *Flow) LastUsed() time.Duration { return time.Duration(f.lastUsed.Load()) }

func (f *Flow) passed(now time.Duration, direction, length int) {
	f.count[direction].packets.Add(1)
	f.count[direction].bytes.Add(uint64(length))
	f.lastUsed.Store(int64(now))
}

// View is what lists show of a flow: a copy.
type View struct {
	ID, Generation, Port, Listener, Trunk  uint32
	Owner                                  uint64
	Key                                    packet.Key
	Mask                                   Mask
	Kind                                   Kind
	Flags                                  Flags
	State                                  State // of TCP
	Created, LastUsed                      time.Duration
	RxPackets, RxBytes, TxPackets, TxBytes uint64
	RxAgain, TxAgain                       uint64        // segments of TCP with data that had been sent before
	RTT                                    time.Duration // smoothed; 0: not known
}

// View copies what there is to show.
func (f *Flow) View() View {
	f.mu.Lock()
	state, rtt, again := f.track.state(), f.track.rtt, f.track.again
	f.mu.Unlock()
	if f.Key.Proto != packet.TCP {
		state = StateNone
	} else if f.Kind() == Listener {
		state = StateListen
	}
	return View{
		ID: f.ID, Generation: f.Generation, Port: f.Port, Listener: f.Listener, Trunk: f.Trunk, Owner: f.Owner,
		Key: f.Key, Mask: f.Mask, Kind: f.Kind(), Flags: f.Flags(), State: state,
		Created: f.Created, LastUsed: f.LastUsed(),
		RxPackets: f.count[rx].packets.Load(), RxBytes: f.count[rx].bytes.Load(),
		TxPackets: f.count[tx].packets.Load(), TxBytes: f.count[tx].bytes.Load(),
		RxAgain: again[rx], TxAgain: again[tx], RTT: rtt,
	}
}

// queue is a list of flows, the oldest first. A flow is in one at most.
type queue struct {
	head, tail *Flow
	n          int
}

func (q *queue) push(f *Flow) {
	f.in, f.prev, f.next = q, q.tail, nil
	if q.tail != nil {
		q.tail.next = f
	} else {
		q.head = f
	}
	q.tail = f
	q.n++
}

// unqueue takes a flow out of the list it is in.
func (f *Flow) unqueue() {
	q := f.in
	if q == nil {
		return
	}
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		q.head = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	} else {
		q.tail = f.prev
	}
	f.in, f.prev, f.next = nil, nil, nil
	q.n--
}

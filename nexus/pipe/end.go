package pipe

import (
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/channel"
)

// End is a channel at a port of a pipe.
type End struct {
	pipe    *Pipe
	channel *channel.Channel
	peer    atomic.Pointer[End]
	closed  atomic.Bool
	defunct atomic.Bool
	// waiting says that a packet is in the tx ring that found no room.
	waiting       atomic.Bool
	tooLong, lost atomic.Uint64

	// What follows belongs to the sender, of which the channel has one at a time.
	d    channel.Delivery
	body channel.Filler
	// send and fill are methods as values: made once, as each makes garbage.
	send func(*channel.Packet) bool
	fill func([]byte)
}

// Counts are an end's statistics; those of its channel have the rest.
type Counts struct {
	// TooLong is how many packets were dropped that the peer's arena can never
	// hold.
	TooLong uint64
	// Lost is how many packets waited in the tx ring when the pipe ended.
	Lost uint64
}

func newEnd(p *Pipe, c *channel.Channel) *End {
	e := &End{pipe: p, channel: c}
	e.send, e.fill = e.pass, e.body.Fill
	return e
}

// Counts returns the statistics.
func (e *End) Counts() Counts {
	return Counts{TooLong: e.tooLong.Load(), Lost: e.lost.Load()}
}

// Sync does what the domain asks for with a notification: it passes on what the domain
// sends, with one event for the peer, and lets go on what waited for the room that is
// here now. A domain that has read therefore syncs before it waits. An error is
// ErrPeerClosed, channel.ErrClosed, channel.ErrDefunct, channel.ErrMore or a
// *channel.Violation, for which the domain ends.
func (e *End) Sync() error {
	if err := e.over(); err != nil {
		return err
	}
	err := e.channel.Sync(e.send)
	if peer := e.peer.Load(); peer != nil {
		peer.channel.Flush()
		settle(peer, e)
	}
	if err == nil {
		err = e.over()
	}
	return err
}

// over says who has ended the pipe; nil: nobody. That the pipe is over is read first: it
// is set after the mark of the end that did it, which therefore shows here.
func (e *End) over() error {
	switch {
	case !e.pipe.over.Load():
		return nil
	case e.closed.Load():
		return channel.ErrClosed
	case e.defunct.Load():
		return channel.ErrDefunct
	}
	return ErrPeerClosed
}

// Close ends the channel and the pipe with it: the peer gets an event, may read what it
// was given, and its syncs fail. A second call does nothing. The arena is the caller's
// to free.
func (e *End) Close() {
	p := e.pipe
	p.mu.Lock()
	if e.closed.Swap(true) {
		p.mu.Unlock()
		return
	}
	p.over.Store(true)
	p.mu.Unlock()
	e.channel.Close()
	e.ended()
}

// Defunct takes the memory of the end's channel back (see channel.Channel.Defunct) and
// ends the pipe, as Close does for the peer: its memory is its own. What waits in the end,
// read by nobody, is lost. It fails with channel.ErrPinned when either end is pinned,
// which a pipe's other domain counts on, and as the channel's Defunct does.
func (e *End) Defunct() (freed int, err error) {
	p := e.pipe
	p.mu.Lock()
	peer := e.peer.Load()
	if peer != nil && peer.channel.Pinned && !peer.closed.Load() {
		p.mu.Unlock()
		return 0, channel.ErrPinned
	}
	// No end attaches meanwhile.
	if freed, err = e.channel.Defunct(); err != nil {
		p.mu.Unlock()
		return 0, err
	}
	e.defunct.Store(true)
	p.over.Store(true)
	p.mu.Unlock()
	e.ended()
	e.channel.Wake()
	return freed, nil
}

// ended tells the peer, and counts what is lost.
func (e *End) ended() {
	e.lose()
	if peer := e.peer.Load(); peer != nil {
		peer.lose()
		peer.channel.Wake()
	}
}

// lose counts what waits in the tx ring of a pipe that is over.
func (e *End) lose() {
	e.lost.Store(uint64(e.channel.Rings()[abi.RingTx].Used))
}

// pass gives a packet to the peer. false: it waits.
func (e *End) pass(p *channel.Packet) bool {
	if e.offer(p) {
		return true
	}
	// A sync of the peer between the offer and the mark does not see the mark:
	// hence the second offer.
	e.waiting.Store(true)
	return e.offer(p)
}

func (e *End) offer(p *channel.Packet) bool {
	peer := e.peer.Load()
	switch {
	case peer == nil:
		return false
	case p.Length > peer.channel.Accepts():
		e.tooLong.Add(1)
		return true
	}
	e.body.Reset(p.Pieces)
	// The sum that was left to a card is that of memory which no card passes.
	e.d = channel.Delivery{Length: p.Length, Verified: p.Checksum, SegmentSize: p.SegmentSize}
	return peer.channel.Offer(&e.d, e.fill)
}

// resume passes on what has waited, and reports whether something moved. A violation
// that shows here is the error of the domain's next Sync.
func (e *End) resume() bool {
	peer := e.peer.Load()
	if peer == nil || !e.waiting.Swap(false) {
		return false
	}
	before := e.channel.Counts().TxPackets
	_ = e.channel.Resume(e.send)
	peer.channel.Flush()
	return e.channel.Counts().TxPackets != before
}

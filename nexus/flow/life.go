package flow

import (
	"cmp"
	"slices"
	"time"

	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns how flows end.

const (
	// LingerMin and LingerMax bound how long a flow is kept whose owner has closed
	// it, or whose connection is over.
	LingerMin = 1 * time.Second
	LingerMax = 120 * time.Second
)

// End is why a flow has ended.
type End uint8

const (
	Over             End = iota // the connection came to its end
	ByOwner                     // its owner has closed it
	LingerOver                  // its owner has closed it, and the peer did not in time
	OwnerGone                   // its owner is no more
	PortGone                    // its channel is no more
	ParentGone                  // half-open or a branch, and its listener or trunk has ended
	HandshakeTimeout            // half-open for too long
	Invalidated                 // it could not work any more
	Replaced                    // another has its addresses and ports
	MadeRoom                    // it was over, and the table was full
	endCount
)

var endNames = [endCount]string{"over", "closed", "linger", "owner_gone", "channel_gone", "listener_gone", "handshake_timeout",
	"nonviable", "replaced", "made_room"}

// String is the name of the reason's counter.
func (e End) String() string {
	if e < endCount {
		return endNames[e]
	}
	return "unknown"
}

// Ended is a flow that is not in the table any more.
type Ended struct {
	Flow *Flow
	Why  End
	// Send says that the peer believes in a connection and is to be told with RST.
	Send bool
	RST  RST
}

// live says whether a flow is in the table. t.mu is held.
func (t *Table) live(f *Flow) bool { return f != nil && t.byID[f.ID] == f }

// remove takes a flow out of everything. t.mu is held.
func (t *Table) remove(f *Flow) {
	f.set(FlagTornDown)
	t.unlink(f)
	t.cut(f)
	f.unqueue()
	f.parent = nil
	t.discount(f)
	if f.Kind() == HalfOpen {
		t.halfOpen--
	}
	delete(t.byID, f.ID)
}

// end removes a flow, with its half-open children and its branches, and remembers to report it. t.mu
// is held.
func (t *Table) end(f *Flow, why End) {
	for _, q := range []*queue{&f.syns, &f.cookies} {
		for q.head != nil {
			t.end(q.head, childrenEnd(why))
		}
	}
	for _, b := range f.all() {
		t.end(b, childrenEnd(why))
	}
	t.remove(f)
	e := Ended{Flow: f, Why: why}
	switch why {
	case LingerOver, OwnerGone, PortGone, ParentGone, ByOwner:
		e.RST, e.Send = f.RST()
	}
	t.ended = append(t.ended, e)
}

// childrenEnd is why the children of a flow end that ends.
func childrenEnd(why End) End {
	if why == OwnerGone || why == PortGone || why == Invalidated {
		return why
	}
	return ParentGone
}

// over notes that a connection is over for both sides.
func (t *Table) over(now time.Duration, f *Flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.live(f) || f.Flags()&(FlagWithdrawn|FlagTornDown) != 0 {
		return
	}
	if f.Kind() == HalfOpen {
		t.remove(f)
		return
	}
	f.mu.Lock()
	linger := LingerMin
	switch {
	case f.track.local.step == stepReset:
		linger = 0
	case f.track.localFirst:
		linger = t.config.Linger
	}
	f.mu.Unlock()
	f.set(FlagWithdrawn)
	f.deadline, f.why = now+linger, Over
	t.discount(f)
	t.withdrawn.push(f)
}

// Lingering is a flow whose connection is over, and how long it stays for late packets.
type Lingering struct {
	Flow *Flow
	For  time.Duration
}

// Withdrawn returns the flows whose connections came to their end since it was called last:
// each once, and not what a listener accepted, whose port is the listener's. They stay until
// Reap returns them.
func (t *Table) Withdrawn(now time.Duration) (list []Lingering) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// The youngest are the last: behind one that was told of all were.
	for f := t.withdrawn.tail; f != nil && !f.told; f = f.prev {
		f.told = true
		if f.Listener == 0 {
			list = append(list, Lingering{f, max(0, f.deadline-now)})
		}
	}
	slices.Reverse(list)
	return list
}

// evictWithdrawn makes room in a full table. t.mu is held.
func (t *Table) evictWithdrawn() bool {
	f := t.withdrawn.head
	if f == nil {
		return false
	}
	t.evicted[1].Add(1)
	t.end(f, MadeRoom)
	return true
}

// Listen makes a listener of a Bound flow of TCP.
func (t *Table) Listen(f *Flow) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.live(f) || f.Flags() != 0:
		return ErrGone
	case f.Key.Proto != packet.TCP || f.Kind() != Bound:
		return ErrState
	}
	f.kind.Store(uint32(Listener))
	return nil
}

// Close says that the owner needs the flow no more. A TCP connection goes on to its
// end, for linger at most, which is brought between LingerMin and LingerMax; the rest
// ends at once, and is reported by the next Reap.
func (t *Table) Close(now time.Duration, f *Flow, linger time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.live(f) || f.Flags()&(FlagTornDown|FlagClosing) != 0 {
		return ErrGone
	}
	f.mu.Lock()
	talks := f.Key.Proto == packet.TCP && f.Kind() == Connected && f.track.remote.step != stepNone
	f.mu.Unlock()
	switch {
	case !talks:
		f.why = ByOwner
		f.set(FlagTornDown)
		t.tearChildren(f, ParentGone)
	case f.Flags()&FlagWithdrawn == 0:
		f.why, f.deadline = LingerOver, now+max(LingerMin, min(linger, LingerMax))
		f.set(FlagClosing)
	}
	return nil
}

// Invalidate says that the flow cannot work any more: its address or interface is
// gone. Nothing passes, and the next Reap ends it.
func (t *Table) Invalidate(f *Flow) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.live(f) {
		return ErrGone
	}
	f.why = Invalidated
	f.set(FlagNonviable)
	t.tearChildren(f, Invalidated)
	return nil
}

// OwnerGone tears all flows of an owner down and returns how many. The next Reap ends
// them.
func (t *Table) OwnerGone(owner uint64) int {
	return t.gone(OwnerGone, func(f *Flow) bool { return f.Owner == owner })
}

// PortGone does the same with the flows of a channel.
func (t *Table) PortGone(port uint32) int {
	return t.gone(PortGone, func(f *Flow) bool { return f.Port == port })
}

func (t *Table) gone(why End, which func(*Flow) bool) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.byID {
		if which(f) && f.Flags()&FlagTornDown == 0 {
			f.why = why
			f.set(FlagTornDown)
			n++
		}
	}
	return n
}

// tearChildren stops what passes over half-open children and branches. t.mu is held.
func (t *Table) tearChildren(f *Flow, why End) {
	for _, q := range []*queue{&f.syns, &f.cookies} {
		for c := q.head; c != nil; c = c.next {
			c.why = why
			c.set(FlagNonviable)
		}
	}
	for _, b := range f.all() {
		b.why = why
		b.set(FlagNonviable)
	}
}

// Reap ends the flows whose time is over and returns all that have ended since the
// last time, ordered by number within a cause. Call it about once a second. Half-open
// flows that made room for others or were reset are not among them: nobody but the
// table knew them.
func (t *Table) Reap(now time.Duration) []Ended {
	t.mu.Lock()
	defer t.mu.Unlock()
	var due []*Flow
	for _, f := range t.byID {
		g := f.Flags()
		switch {
		case g&(FlagTornDown|FlagNonviable) != 0,
			g&(FlagWithdrawn|FlagClosing) != 0 && now >= f.deadline:
			due = append(due, f)
		case f.Kind() == HalfOpen && now-f.Created >= t.config.HalfOpen:
			f.why = HandshakeTimeout
			due = append(due, f)
		}
	}
	slices.SortFunc(due, func(a, b *Flow) int { return cmp.Compare(a.ID, b.ID) })
	for _, f := range due {
		if t.live(f) {
			t.end(f, f.why)
		}
	}
	list := t.ended
	t.ended = nil
	return list
}

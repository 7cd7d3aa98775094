package flow

import (
	"time"

	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns what becomes of a packet that arrives.

// Incoming finds the flow that a packet belongs to which has arrived; nil: none.
func (t *Table) Incoming(in *packet.Info) *Flow {
	key := in.RxKey()
	return t.Lookup(&key)
}

// Receive says whose a packet is that arrived, and takes it into account. f is the packet's
// own by its addresses and ports (see Incoming), or nil. Fragments are put together before.
// That the destination is this machine's is the caller's to know: a listener may have any.
// Nothing is allocated unless a listener is asked for a connection.
func (t *Table) Receive(now time.Duration, f *Flow, in *packet.Info) Verdict {
	switch {
	case !in.First():
		return Verdict{nil, ToHost, Fragment}
	case f == nil:
		return Verdict{nil, ToHost, NotFound}
	}
	v := Verdict{Flow: f}
	switch g := f.Flags(); {
	case g&FlagTornDown != 0:
		return Verdict{f, ToHost, TornDown}
	case g&FlagNonviable != 0:
		return Verdict{f, ToHost, Nonviable}
	case in.Proto == packet.TCP:
		v = t.receiveTCP(now, f, in)
	}
	if v.Goes() {
		v.Flow.passed(now, rx, in.Length)
	}
	return v
}

// Receiving says whether a further fragment still goes to the flow of its first one, and
// takes it into account.
func (t *Table) Receiving(now time.Duration, f *Flow, in *packet.Info) bool {
	if f.Flags()&(FlagTornDown|FlagNonviable) != 0 {
		return false
	}
	f.passed(now, rx, in.Length)
	return true
}

func (t *Table) receiveTCP(now time.Duration, f *Flow, in *packet.Info) Verdict {
	switch f.Kind() {
	case Listener:
		return t.knock(now, f, in)
	case Bound:
		return Verdict{f, ToHost, NoListener}
	}
	if in.Flags&(packet.SYN|packet.ACK|packet.RST) == packet.SYN {
		// A new connection in the place of one that is over, or of a cookie's.
		if f.Flags()&(FlagWithdrawn|FlagCookie) != 0 {
			key := in.RxKey()
			if l := t.lookup(Tuple4, &key); l != nil && l.Kind() == Listener && l.Flags() == 0 {
				t.replace(f)
				return t.knock(now, l, in)
			}
		}
	}
	f.mu.Lock()
	s := f.track.receive(now, in)
	made := f.track.made()
	f.mu.Unlock()
	switch {
	case s.after:
		return Verdict{f, Reset, AfterClose}
	case s.over:
		t.over(now, f)
		return Verdict{f, Closed, None}
	case made && f.Kind() == HalfOpen && f.Flags()&FlagCookie == 0:
		if why := t.promote(f); why != None {
			return Verdict{f, Drop, why}
		}
		return Verdict{f, Established, None}
	}
	return Verdict{f, Pass, None}
}

// knock is a packet for a listener from a peer without a flow.
func (t *Table) knock(now time.Duration, l *Flow, in *packet.Info) Verdict {
	const mask = packet.SYN | packet.ACK | packet.RST | packet.FIN
	switch flags := in.Flags & mask; {
	case flags == packet.SYN, flags&^packet.FIN == packet.ACK:
		key := in.RxKey()
		return t.child(now, l, &key, in)
	case flags == packet.SYN|packet.ACK:
		return Verdict{l, Pass, None} // which it answers with a reset
	}
	return Verdict{l, Drop, Stray}
}

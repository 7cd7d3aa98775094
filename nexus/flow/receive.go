package flow

import (
	"time"

	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns what becomes of a packet that arrives.

// Receive says whose a packet is that arrived, and takes it into account. Fragments
// are put together before. That the destination is this machine's is the caller's to
// know: a listener may have any. Nothing is allocated unless a listener is asked for
// a connection.
func (t *Table) Receive(now time.Duration, in *packet.Info) Verdict {
	if !in.First() {
		return Verdict{nil, ToHost, Fragment}
	}
	key := in.RxKey()
	f := t.Lookup(&key)
	if f == nil {
		return Verdict{nil, ToHost, NotFound}
	}
	v := Verdict{Flow: f}
	switch g := f.Flags(); {
	case g&FlagTornDown != 0:
		return Verdict{f, ToHost, TornDown}
	case g&FlagNonviable != 0:
		return Verdict{f, ToHost, Nonviable}
	case in.Proto == packet.TCP:
		v = t.receiveTCP(now, f, &key, in)
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

func (t *Table) receiveTCP(now time.Duration, f *Flow, key *packet.Key, in *packet.Info) Verdict {
	switch f.Kind() {
	case Listener:
		return t.knock(now, f, key, in)
	case Bound:
		return Verdict{f, ToHost, NoListener}
	}
	if in.Flags&(packet.SYN|packet.ACK|packet.RST) == packet.SYN {
		// A new connection in the place of one that is over, or of a cookie's.
		if f.Flags()&(FlagWithdrawn|FlagCookie) != 0 {
			if l := t.lookup(Tuple4, key); l != nil && l.Kind() == Listener && l.Flags() == 0 {
				t.replace(f)
				return t.knock(now, l, key, in)
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
func (t *Table) knock(now time.Duration, l *Flow, key *packet.Key, in *packet.Info) Verdict {
	const mask = packet.SYN | packet.ACK | packet.RST | packet.FIN
	switch flags := in.Flags & mask; {
	case flags == packet.SYN, flags&^packet.FIN == packet.ACK:
		return t.child(now, l, key, in)
	case flags == packet.SYN|packet.ACK:
		return Verdict{l, Pass, None} // which it answers with a reset
	}
	return Verdict{l, Drop, Stray}
}

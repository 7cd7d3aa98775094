package flow

import (
	"time"

	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns what a domain may send.

// Claim is what is known of a packet that is to be sent, apart from its bytes.
type Claim struct {
	// Port is the channel that it came from. Only its flows are its.
	Port uint32
	// Flow and Generation are what the packet's metadata says: the flow of its addresses,
	// or a branch of that; Flow 0: nothing.
	Flow, Generation uint32
	// Fragment says that the packet is the first of its fragments, as it has to be: the
	// rest is asked about by Continue.
	Fragment bool
	// Again says that the packet was let pass before and could not be sent: it is asked
	// about once more, as the flow may have ended, and not taken into account.
	Again bool
}

// Outgoing finds the flow that a packet belongs to which is to be sent; nil: none.
func (t *Table) Outgoing(in *packet.Info) *Flow {
	key := in.TxKey()
	return t.Lookup(&key)
}

// Transmit says whether a packet may be sent over a flow, and takes it into account. f is
// the packet's own by its addresses and ports (see Outgoing), or nil. in is what the bytes
// say that will be sent: a copy that the domain cannot reach. A later fragment has no
// ports: the caller sends it directly behind its own first fragment, or not at all. That
// the source is still an address of this machine is the caller's to know, too. Nothing is
// allocated.
func (t *Table) Transmit(now time.Duration, f *Flow, c Claim, in *packet.Info) Verdict {
	switch {
	case !in.First():
		return Verdict{nil, Drop, Fragment}
	case in.HasOptions && !(c.Fragment && in.Bare()):
		return Verdict{nil, Drop, Options}
	case f == nil:
		return Verdict{nil, Drop, NotFound}
	}
	named := f.named(c.Flow, c.Generation)
	if f.Port != c.Port || named == nil {
		return Verdict{nil, Drop, BadFlow}
	}
	v := Verdict{Flow: f}
	switch g := f.Flags() | named.Flags(); {
	case g&FlagTornDown != 0:
		return Verdict{f, Drop, TornDown}
	case g&FlagNonviable != 0:
		return Verdict{f, Drop, Nonviable}
	case in.Proto == packet.TCP:
		v = t.transmitTCP(now, c, f, in)
	}
	if v.Goes() && !c.Again {
		f.passed(now, tx, in.Length)
		if named != f {
			named.passed(now, tx, in.Length)
		}
	}
	return v
}

// Continue says whether a further fragment may be sent over the flow of its first one, and
// takes it into account; again as in Claim.
func (t *Table) Continue(now time.Duration, f *Flow, in *packet.Info, again bool) Verdict {
	switch g := f.Flags(); {
	case !in.Bare():
		return Verdict{f, Drop, Options}
	case g&FlagTornDown != 0:
		return Verdict{f, Drop, TornDown}
	case g&FlagNonviable != 0:
		return Verdict{f, Drop, Nonviable}
	}
	if !again {
		f.passed(now, tx, in.Length)
	}
	return Verdict{f, Pass, None}
}

func (t *Table) transmitTCP(now time.Duration, c Claim, f *Flow, in *packet.Info) Verdict {
	syn, ack, rst := in.Flags&packet.SYN != 0, in.Flags&packet.ACK != 0, in.Flags&packet.RST != 0
	kind, cookie := f.Kind(), f.Flags()&FlagCookie != 0
	switch {
	case kind == Bound:
		return Verdict{f, Drop, NoListener}
	case kind == Listener && (!rst || syn):
		return Verdict{f, Drop, ListenerSend}
	case kind == Listener:
		return Verdict{f, Pass, None}
	case kind == HalfOpen && (syn && rst || !ack && !rst || cookie && syn ||
		!cookie && !rst && (in.PayloadLen > 0 || in.Flags&packet.FIN != 0)):
		return Verdict{f, Drop, HalfOpenSend}
	case syn && f.Flags()&FlagWithdrawn != 0:
		return Verdict{f, Drop, Withdrawn}
	case c.Again:
		return Verdict{f, Pass, None}
	}
	f.mu.Lock()
	if syn && !f.track.attempt(now) {
		f.mu.Unlock()
		return Verdict{f, Drop, SYNRate}
	}
	if kind == HalfOpen && cookie && !rst {
		f.mu.Unlock()
		if why := t.promote(f); why != None {
			return Verdict{f, Drop, why}
		}
		f.mu.Lock()
	}
	s := f.track.send(now, in)
	f.mu.Unlock()
	switch {
	case s.over:
		t.over(now, f)
		return Verdict{f, Closed, None}
	case kind == HalfOpen && cookie && !rst:
		return Verdict{f, Established, None}
	}
	return Verdict{f, Pass, None}
}

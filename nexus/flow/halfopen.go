package flow

import (
	"time"

	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns the connections that a listener was asked for.
//
// A SYN makes a child; over it the listener's owner may send what a handshake needs,
// and the peer's acknowledgement makes it Connected. An ACK from a peer without a
// child may complete a handshake by a SYN cookie, which the owner alone can tell: it
// makes a child too, that is Connected when the owner sends anything but a reset.
// Each sort has its own bound for a listener, so that neither pushes the other out.

// child makes a half-open flow and takes its first packet into account.
func (t *Table) child(now time.Duration, l *Flow, key *packet.Key, in *packet.Info) Verdict {
	t.mu.Lock()
	f, action := t.at(Tuple5, key), Pass
	if f == nil {
		if t.byID[l.ID] != l || l.Flags() != 0 {
			t.mu.Unlock()
			return Verdict{l, ToHost, TornDown}
		}
		if len(t.ended) >= t.config.Max {
			t.mu.Unlock()
			return Verdict{l, Drop, TableFull}
		}
		q, cookie := &l.syns, in.Flags&packet.SYN == 0
		if cookie {
			q = &l.cookies
		}
		if q.n >= t.config.PerListener {
			t.evict(q.head)
		}
		if t.halfOpen >= max(1, t.config.Max/2) || len(t.byID) >= t.config.Max && !t.evictWithdrawn() {
			switch {
			case q.n > 0:
				t.evict(q.head)
			case l.cookies.n > 0:
				t.evict(l.cookies.head)
			default:
				t.mu.Unlock()
				return Verdict{l, Drop, TableFull}
			}
		}
		f = t.make(now, &Spec{Kind: HalfOpen, Mask: Tuple5, Owner: l.Owner, Port: l.Port}, *key)
		f.Listener, f.parent, action = l.ID, l, Child
		if cookie {
			f.set(FlagCookie)
			f.track.loose = true
		}
		q.push(f)
		t.halfOpen++
		t.publish(f)
	}
	f.mu.Lock()
	f.track.receive(now, in)
	f.mu.Unlock()
	t.mu.Unlock()
	return Verdict{f, action, None}
}

// evict drops a half-open flow for another. t.mu is held.
func (t *Table) evict(f *Flow) {
	t.evicted[0].Add(1)
	t.remove(f)
}

// promote makes a connection of a half-open flow.
func (t *Table) promote(f *Flow) Reason {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.byID[f.ID] != f:
		return TornDown
	case f.Kind() != HalfOpen:
		return None
	case t.owners[f.Owner] >= t.config.PerOwner:
		return OwnerLimit
	}
	f.unqueue()
	f.parent = nil
	t.halfOpen--
	f.flags.And(^uint32(FlagCookie))
	f.kind.Store(uint32(Connected))
	t.countFor(f)
	return None
}

// replace ends a flow in whose place a new connection is asked for.
func (t *Table) replace(f *Flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[f.ID] != f {
		return
	}
	switch {
	case f.Kind() == HalfOpen && f.Flags()&FlagCookie != 0:
		t.remove(f)
	case f.Flags()&FlagWithdrawn != 0:
		t.end(f, Replaced)
	}
}

package netns

import (
	"net/netip"
	"time"
)

// This file owns the rules: which reservations may stand side by side.
//
//   - What differs in protocol, in port, or in every local address never clashes.
//   - Reservations of the host stack clash with one another only when they are
//     the same 5-tuple: it arbitrates the rest itself.
//   - A flow (5-tuple) of a domain needs its port for itself, or a listener of
//     the same owner above it. No 5-tuple is held twice.
//   - A port (3-tuple) clashes with all else, apart from what Reuse permits.
//   - A lingering reservation clashes with the same 5-tuple, and with ports asked
//     for without Reuse.

// entry is one reservation. All its fields belong to the Space's lock; those of
// an entry that was never inserted belong to its maker.
type entry struct {
	id     uint64
	owner  Owner
	kind   Kind
	proto  uint8
	port   uint16
	reuse  bool
	state  state
	local  local
	remote netip.AddrPort // zero: none
	until  time.Duration  // of a lingering one: when it ends
	slot   int            // index in its bucket's list
	heap   int            // index in the Space's lingering list
}

type state uint8

const (
	held state = iota
	lingering
	gone
)

func (e *entry) flow() bool { return e.remote.IsValid() }

// tuple is what no two reservations have in common.
type tuple struct {
	proto         uint8
	local, remote netip.AddrPort
}

func (e *entry) tuple() tuple {
	return tuple{e.proto, netip.AddrPortFrom(e.local.addr, e.port), e.remote}
}

// bucket holds the reservations of one port of one protocol.
type bucket struct{ ports, flows []*entry }

func (b *bucket) list(e *entry) *[]*entry {
	if e.flow() {
		return &b.flows
	}
	return &b.ports
}

func (b *bucket) add(e *entry) {
	l := b.list(e)
	e.slot = len(*l)
	*l = append(*l, e)
}

func (b *bucket) remove(e *entry) {
	l := b.list(e)
	last := len(*l) - 1
	(*l)[e.slot] = (*l)[last]
	(*l)[e.slot].slot = e.slot
	(*l)[last] = nil
	*l = (*l)[:last]
}

// unused says whether nothing in b has an address in common with l.
func (b *bucket) unused(l local) bool {
	for _, e := range b.ports {
		if e.local.overlaps(l) {
			return false
		}
	}
	for _, e := range b.flows {
		if l.covers(e.local.addr) {
			return false
		}
	}
	return true
}

// clash says why n, whose port is set, may not go beside what is there.
func (s *Space) clash(n *entry) error {
	b := s.bucket(n.proto, n.port)
	if b == nil {
		return nil
	}
	if n.flow() {
		return s.clashFlow(n, b)
	}
	for _, list := range [...][]*entry{b.ports, b.flows} {
		for _, old := range list {
			if old.local.overlaps(n.local) && blocksPort(old, n) {
				return ErrInUse
			}
		}
	}
	return nil
}

// taken says why the 5-tuple of n is not free.
func (s *Space) taken(n *entry) error {
	old := s.tuples[n.tuple()]
	if old == nil {
		return nil
	}
	if old.owner == n.owner && old.state == held {
		return ErrExists
	}
	return ErrInUse
}

func (s *Space) clashFlow(n *entry, b *bucket) error {
	if err := s.taken(n); err != nil {
		return err
	}
	beneath := false
	for _, old := range b.ports {
		switch {
		case !old.local.covers(n.local.addr) || old.state == lingering || old.kind == Host && n.kind == Host:
		case old.kind == Listener && old.owner == n.owner:
			beneath = true
			n.reuse = n.reuse || old.reuse
		default:
			return ErrInUse
		}
	}
	if beneath {
		// No other owner has a flow here that does not linger: the listener
		// kept it away.
		return nil
	}
	for _, old := range b.flows {
		if old.local == n.local && old.state == held && (old.kind != Host || n.kind != Host) {
			return ErrInUse
		}
	}
	return nil
}

// blocksPort says whether old keeps n, which has no peer, away. They have an
// address in common.
func blocksPort(old, n *entry) bool {
	if old.kind == Host && n.kind == Host {
		return false
	}
	if old.state == lingering {
		return !n.reuse
	}
	if old.owner != n.owner || !old.reuse || !n.reuse {
		return true
	}
	if old.flow() {
		return false
	}
	return n.proto != UDP || old.kind != Listener || n.kind != Listener || old.local == n.local
}

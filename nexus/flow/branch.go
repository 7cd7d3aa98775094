package flow

import (
	"bytes"
	"slices"
	"time"

	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns branches: flows of those datagrams of another flow that have certain bytes.
// A branch has no addresses and ports of its own, and ends with its trunk.

const (
	// PatternsMax is how many patterns a branch may have, PatternMax how many bytes one, and
	// PatternReach where in the payload the last of them must end.
	PatternsMax  = 4
	PatternMax   = 32
	PatternReach = 1000
	// BranchesMax is how many branches a flow may have.
	BranchesMax = 64
)

// Pattern is bytes that the payload of a datagram has at an offset.
type Pattern struct {
	Offset int
	Bytes  []byte
}

// AddBranch makes a branch of a flow of UDP that has a port. All its patterns must be found
// in a datagram for that to be the branch's; of several branches it is the oldest's.
func (t *Table) AddBranch(now time.Duration, trunk *Flow, list []Pattern) (*Flow, error) {
	if len(list) == 0 || len(list) > PatternsMax {
		return nil, ErrInvalid
	}
	patterns := make([]Pattern, len(list))
	for i, p := range list {
		if len(p.Bytes) == 0 || len(p.Bytes) > PatternMax || p.Offset < 0 || p.Offset > PatternReach-len(p.Bytes) {
			return nil, ErrInvalid
		}
		patterns[i] = Pattern{p.Offset, bytes.Clone(p.Bytes)}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	all := trunk.all()
	switch {
	case !t.live(trunk) || trunk.Flags() != 0:
		return nil, ErrGone
	case trunk.Key.Proto != packet.UDP || trunk.Trunk != 0:
		return nil, ErrState
	case slices.ContainsFunc(all, func(b *Flow) bool { return b.Flags() == 0 && slices.EqualFunc(b.patterns, patterns, Pattern.equal) }):
		return nil, ErrExists
	case len(all) >= BranchesMax || t.owners[trunk.Owner] >= t.config.PerOwner:
		return nil, ErrOwnerLimit
	case len(t.byID) >= t.config.Max && !t.evictWithdrawn():
		return nil, ErrTableFull
	}
	b := t.make(now, &Spec{Kind: trunk.Kind(), Mask: trunk.Mask, Owner: trunk.Owner, Port: trunk.Port}, trunk.Key)
	b.Trunk, b.trunk, b.patterns, b.linked = trunk.ID, trunk, patterns, false
	t.byID[b.ID] = b
	t.countFor(b)
	t.setBranches(trunk, append(slices.Clone(all), b))
	return b, nil
}

func (p Pattern) equal(q Pattern) bool { return p.Offset == q.Offset && bytes.Equal(p.Bytes, q.Bytes) }

// all are the branches of a flow. The list does not change.
func (f *Flow) all() []*Flow {
	if p := f.branches.Load(); p != nil {
		return *p
	}
	return nil
}

func (t *Table) setBranches(f *Flow, list []*Flow) {
	if len(list) == 0 {
		f.branches.Store(nil)
		return
	}
	f.branches.Store(&list)
}

// cut takes a branch off its trunk. t.mu is held.
func (t *Table) cut(b *Flow) {
	if b.trunk != nil {
		t.setBranches(b.trunk, slices.DeleteFunc(slices.Clone(b.trunk.all()), func(o *Flow) bool { return o == b }))
	}
}

// Branched says whether a flow has branches.
func (f *Flow) Branched() bool { return f.branches.Load() != nil }

// Branch returns the branch that a datagram is for which has arrived, and takes it into
// account; f itself if it is for none of them. payload is the first PatternReach bytes, or
// all there are.
func (f *Flow) Branch(now time.Duration, in *packet.Info, payload []byte) *Flow {
	for _, b := range f.all() {
		if b.Flags() == 0 && b.matches(payload) {
			b.passed(now, rx, in.Length)
			return b
		}
	}
	return f
}

func (f *Flow) matches(payload []byte) bool {
	for _, p := range f.patterns {
		if end := p.Offset + len(p.Bytes); end > len(payload) || !bytes.Equal(payload[p.Offset:end], p.Bytes) {
			return false
		}
	}
	return true
}

// named returns the flow that a packet over f names: f, or a branch of it; nil: neither.
func (f *Flow) named(id, generation uint32) *Flow {
	if id == 0 || id == f.ID && generation == f.Generation {
		return f
	}
	for _, b := range f.all() {
		if b.ID == id && b.Generation == generation {
			return b
		}
	}
	return nil
}

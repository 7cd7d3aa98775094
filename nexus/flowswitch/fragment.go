package flowswitch

import (
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns the fragments that domains send. A later fragment has no ports: it goes
// only directly behind its own first one, in the same batch, and as a part of the same
// flow. Their ID is the kernel's, so that no domain can add to what another one sends.

// train is what the next fragment must be; without a flow there is none to come.
type train struct {
	flow *flow.Flow
	// id is the domain's, own the one that the fragments leave with.
	id, own uint32
	// next is where the next one begins in the packet, in bytes.
	next  int
	batch uint32
	// first is what the first one said of itself, claimed and generation its metadata.
	first               packet.Key
	claimed, generation uint32
	// to is the flow of this machine that gets them, if they do not leave it.
	to *flow.Flow
}

// addresses is the part of a key that each fragment has.
func addresses(in *packet.Info) packet.Key {
	return packet.Key{Local: in.Src, Remote: in.Dst, Version: in.Version, Proto: in.Proto}
}

// follows says whether a later fragment comes where it may.
func (t *train) follows(c *candidate) bool {
	in := &c.in
	return t.flow != nil && t.batch == c.batch && t.id == in.FragmentID && t.next == in.FragmentOffset &&
		t.first == addresses(in) && t.claimed == c.flow && t.generation == c.generation
}

// number gives a fragment the ID that it leaves with.
func (x *sender) number() {
	own := x.train.own
	if x.c.in.First() {
		own = x.s.port.FragmentID()
		x.train.own = own
	}
	packet.SetFragmentID(x.head[:x.n], &x.c.in, own)
}

// passed notes what may come behind a packet that was taken.
func (x *sender) passed(f *flow.Flow) {
	t, c, in := &x.train, &x.c, &x.c.in
	switch {
	case !in.More:
		*t = train{}
	case in.First():
		*t = train{
			flow: f, id: in.FragmentID, own: t.own, next: in.Length - in.HeaderLen, batch: c.batch,
			first: addresses(in), claimed: c.flow, generation: c.generation, to: t.to,
		}
	default:
		t.next += in.Length - in.HeaderLen
	}
}

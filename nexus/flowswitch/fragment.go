package flowswitch

import (
	"github.com/sluice-os/sluice/nexus/channel"
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
func (x *sender) follows(p *channel.Packet, mtu int) (Reason, bool) {
	t, in := &x.train, &x.in
	switch {
	case t.flow == nil, t.batch != p.Batch, t.id != in.FragmentID, t.next != in.FragmentOffset, t.first != addresses(in),
		t.claimed != p.Flow, t.generation != p.Generation:
		return TxFragment, false
	case p.Length > mtu:
		return TxTooLong, false
	case !x.s.port.Local(in.SrcAddr()):
		return TxSource, false
	}
	return 0, true
}

// number gives a fragment the ID that it leaves with.
func (x *sender) number() {
	own := x.train.own
	if x.in.First() {
		own = x.s.port.FragmentID()
		x.train.own = own
	}
	packet.SetFragmentID(x.head[:x.n], &x.in, own)
}

// passed notes what may come behind a packet that was taken.
func (x *sender) passed(p *channel.Packet, f *flow.Flow) {
	t, in := &x.train, &x.in
	switch {
	case !in.More:
		*t = train{}
	case in.First():
		*t = train{
			flow: f, id: in.FragmentID, own: t.own, next: in.Length - in.HeaderLen, batch: p.Batch,
			first: addresses(in), claimed: p.Flow, generation: p.Generation, to: t.to,
		}
	default:
		t.next += in.Length - in.HeaderLen
	}
}

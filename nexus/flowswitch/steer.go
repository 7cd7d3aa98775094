package flowswitch

import (
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/packet"
	"github.com/sluice-os/sluice/nexus/steer"
)

// This file owns which class the packets of domains leave in by the rules of the card. A rule
// goes before what a packet says of itself.

// Rules returns those of the card. A change counts from the next packet on.
func (s *Switch) Rules() *steer.Rules { return &s.rules }

// steer has a packet of a flow leave in the class that a rule says.
func (x *sender) steer(f *flow.Flow) {
	rules := &x.s.rules
	generation := rules.Generation()
	switch {
	case generation == 0:
		return // there has never been a rule
	case f.Mask != flow.Tuple5:
		// Only the first of a packet's fragments has ports; the others follow it.
		if x.c.in.First() {
			x.steered = rules.Class(x.c.in.TxKey())
		}
	case f.Steered.Generation == generation:
		x.steered = f.Steered.Class
	default:
		x.steered = rules.Class(f.Key)
		f.Steered.Generation, f.Steered.Class = generation, x.steered
	}
	if x.steered != 0 {
		x.out.Class = x.steered
	}
}

// SetMarks says whether packets for which a domain has chosen a class, and that have no code point of
// their own, leave the machine with that of the class they leave in. At first they do not.
func (s *Switch) SetMarks(on bool) { s.marks.Store(on) }

// mark writes the class into the packet at hand, which is to leave, if its domain has chosen one.
func (x *sender) mark(chosen uint32) {
	if chosen != 0 && x.s.marks.Load() {
		packet.MarkDSCP(x.out.Head[:x.out.IP], aqm.DSCPOf(x.out.Class))
	}
}

package flowswitch

import (
	"github.com/sluice-os/sluice/nexus/flow"
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

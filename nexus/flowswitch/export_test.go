package flowswitch

import (
	"time"

	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/flow"
)

// Table is the switch's flows, for tests that stop between two steps of their end.
func (s *Switch) Table() *flow.Table { return s.table }

// SendTwice has the channel send with a mistake, for tests that must catch it: the packet
// that was checked is read again before it is sent.
func (s *Switch) SendTwice(c *channel.Channel) {
	a := s.channel(c.ID)
	a.send = func(p *channel.Packet) bool {
		x := &a.out
		x.gather(p)
		if why := x.c.consider(x.head[:x.n], p, &x.train); why != Admitted {
			x.refused(why)
			return true
		}
		f := s.outgoing(&x.c)
		if why := s.admit(x.from, f, &x.c); why != Admitted {
			x.refused(why)
			return true
		}
		x.gather(p)
		x.describe(p)
		s.port.Output(&x.out, x.way(f))
		x.passed(f)
		return true
	}
}

// Judge returns what decides about a packet of a channel's, as often as it is called.
func Judge(s *Switch, c *channel.Channel, packet []byte) func() Reason {
	a := s.channel(c.ID)
	x := &sender{s: s, from: a}
	p := &channel.Packet{Length: len(packet), Pieces: [][]byte{packet}}
	x.gather(p)
	return func() Reason {
		if why := x.c.consider(x.head[:x.n], p, &x.train); why != Admitted {
			return why
		}
		return s.admit(a, s.outgoing(&x.c), &x.c)
	}
}

// Later has f told when a channel is to go on, instead of its timer, and GoOn does what that
// timer does.
func (s *Switch) Later(c *channel.Channel, f func(time.Duration)) { s.channel(c.ID).later = f }
func (s *Switch) GoOn(c *channel.Channel)                         { s.goOn(s.channel(c.ID)) }

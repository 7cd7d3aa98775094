package flowswitch

import (
	"slices"
	"time"

	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/netif"
)

// This file owns what happens when the card has room again.

// roomSlice is for how long Room sends what has waited, half of what a domain runs at a time:
// the others have their turn in between.
const roomSlice = time.Millisecond

// resumer is what Room keeps.
type resumer struct {
	began time.Duration
	over  func() bool // says that it takes too long
	// last is the channel behind which the next turn begins.
	last uint32
}

// Room implements netif.Receiver. The channels that wait take turns to be the first.
func (s *Switch) Room() (more bool) {
	if !s.stalled.Swap(false) {
		return false
	}
	s.pay()
	r := &s.resumer
	r.began = s.now()
	list, first := s.list(), true
	var began time.Duration
	var last *netif.Backlog // whose work goes on since began
	at, _ := slices.BinarySearchFunc(list, r.last+1, (*attached).compare)
	for i := range list {
		a := list[(at+i)%len(list)]
		if !a.stalled.Swap(false) {
			continue
		}
		if first {
			r.last, first = a.ID, false
		}
		if last != nil {
			s.port.Worked(last, s.now()-began)
		}
		began, last = s.now(), &a.out.backlog
		// A violation shows again when the domain asks for a sync.
		if more = a.ResumeUntil(a.send, r.over) == channel.ErrMore; more {
			a.stalled.Store(true)
		}
		a.out.told.flush()
		if more || r.over() {
			// Those behind it are told that they are next, if they wait.
			r.last, more = a.ID, true
			s.stalled.Store(true)
			break
		}
	}
	s.port.Flush(last)
	if last != nil {
		s.port.Worked(last, s.now()-began)
	}
	return more
}

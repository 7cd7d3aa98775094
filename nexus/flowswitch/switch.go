// Package flowswitch joins the channels of domains with a network card: what
// arrives goes to the flow that it belongs to, or to the host stack, and what a
// domain sends is checked against its flows before it leaves.
package flowswitch

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/nexus/netns"
)

// Switch is one flow switch on one card. It implements netif.Receiver. Its methods
// may be called concurrently, but for those of Receiver.
type Switch struct {
	port  netif.Port
	names *netns.Space
	now   func() int64 // nanoseconds
	drops [reasonCount]atomic.Uint64

	// mu guards what follows. Match takes it for reading.
	mu       sync.RWMutex
	flows    map[key]*Flow
	shapes   [shapeCount]int // flows of each shape of key
	byID     map[uint32]*Flow
	channels map[uint32]*attached
	lastID   uint32 // of channels
	lastFlow uint32

	// news are the channels that were given packets since the last Flush, and
	// arrived is the packet that Match looked at last. Both belong to the
	// receiver's goroutine.
	news    []*attached
	arrived parsed
	// stalled says that some channel waits for the card.
	stalled atomic.Bool
}

// attached is a channel with what the switch knows of it.
type attached struct {
	*channel.Channel
	policy *netns.Policy
	flows  map[uint32]*Flow
	news   bool
	send   func(*channel.Packet) bool
	out    sender
	// stalled says that it has packets that the card did not take.
	stalled atomic.Bool
}

// New makes a switch on a card. now is a clock in nanoseconds.
func New(p netif.Port, names *netns.Space, now func() int64) *Switch {
	return &Switch{
		port: p, names: names, now: now,
		flows: map[key]*Flow{}, byID: map[uint32]*Flow{}, channels: map[uint32]*attached{},
	}
}

// Attach takes a channel in, whose flows the policy bounds.
func (s *Switch) Attach(c *channel.Channel, policy *netns.Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	c.ID = s.lastID
	a := &attached{Channel: c, policy: policy, flows: map[uint32]*Flow{}}
	a.out.s, a.out.from = s, a
	a.send = a.out.send
	s.channels[c.ID] = a
}

// Detach ends a channel: its flows are gone when it returns, and peers of open TCP
// connections were told.
func (s *Switch) Detach(c *channel.Channel) {
	s.mu.Lock()
	a := s.channels[c.ID]
	delete(s.channels, c.ID)
	var ended []*Flow
	if a != nil {
		for _, f := range a.flows {
			ended = append(ended, f)
			s.remove(f)
		}
	}
	s.mu.Unlock()
	for _, f := range ended {
		s.reset(f)
	}
	s.names.ReleaseOwner(netns.Owner(c.Owner))
	s.port.Flush()
	c.Close()
}

// Sync does what a notification asks for.
func (s *Switch) Sync(c *channel.Channel) error {
	s.mu.RLock()
	a := s.channels[c.ID]
	s.mu.RUnlock()
	if a == nil {
		return channel.ErrClosed
	}
	err := a.Sync(a.send)
	s.port.Flush()
	return err
}

// Room implements netif.Receiver.
func (s *Switch) Room() {
	if !s.stalled.Swap(false) {
		return
	}
	s.mu.RLock()
	var waiting []*attached
	for _, a := range s.channels {
		if a.stalled.Swap(false) {
			waiting = append(waiting, a)
		}
	}
	s.mu.RUnlock()
	for _, a := range waiting {
		// A violation shows again when the domain asks for a sync.
		_ = a.Resume(a.send)
	}
	s.port.Flush()
}

// Flush implements netif.Receiver: it tells each domain once of what it was given.
func (s *Switch) Flush() {
	for i, a := range s.news {
		a.news = false
		a.Flush()
		s.news[i] = nil
	}
	s.news = s.news[:0]
}

// Drops calls f with each reason for which packets were dropped, and how many.
func (s *Switch) Drops(f func(name string, n uint64)) {
	for r := Reason(1); r < reasonCount; r++ {
		f("flowswitch_drop_"+r.String(), s.drops[r].Load())
	}
}

func (s *Switch) drop(r Reason) { s.drops[r].Add(1) }

// local says whether packets to an address stay in the machine.
func (s *Switch) local(a netip.Addr) bool { return s.port.Local(a) }

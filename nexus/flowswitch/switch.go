// Package flowswitch joins the channels of domains with a network card: what
// arrives goes to the flow that it belongs to, or to the host stack, and what a
// domain sends is checked against its flows before it leaves.
package flowswitch

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/nexus/netns"
	"github.com/sluice-os/sluice/nexus/packet"
	"github.com/sluice-os/sluice/nexus/steer"
)

// lingerTime is how long a connection is kept that is over. Sockets have the same in
// domains as on the host stack: with a minute, clients that come back often would
// find no port.
const lingerTime = 2 * time.Second

// Switch is one flow switch on one card. It implements netif.Receiver. Its methods
// may be called concurrently, but for those of Receiver.
type Switch struct {
	port  netif.Port
	names *netns.Space
	table *flow.Table
	now   func() time.Duration
	drops drops
	hosts [hostReasonCount]atomic.Uint64

	mu sync.RWMutex
	// channels are in order of their numbers. The list does not change: with mu held another one
	// takes its place. Each packet looks there.
	channels atomic.Pointer[[]*attached]
	claims   map[uint32]netns.Reservation // by flow
	others   func() []channel.Listed
	// echoes moves with each identifier of an echo that is chosen.
	echoes atomic.Uint32
	facts  facts
	// ending is held while the flows of a channel are ended, and no channel comes
	// meanwhile: the last one of an owner takes all that the owner has along.
	ending sync.Mutex
	groups groups
	// whole is held while a whole protocol is taken or given back.
	whole sync.Mutex
	owed  owed
	rules steer.Rules
	// marks says that classes are written into what leaves.
	marks atomic.Bool
	plain plain

	// attachments is how many channels there are: without one nothing is looked up.
	attachments atomic.Int32
	// stalled says that some channel waits for the card.
	stalled atomic.Bool

	// What follows belongs to the receiver's goroutine: the channels that were
	// given packets since the last Flush, and the packet that Match looked at last. since is
	// when the work for it began, if timed: when that for the one before ended.
	news    []*attached
	arrived packet.Info
	since   time.Duration
	timed   bool
	parts   *packet.Reassembler
	fronts  fronts
	resumer resumer
}

// attached is a channel with what the switch knows of it.
type attached struct {
	*channel.Channel
	policy *netns.Policy
	// defunct says that its memory was taken back: it is there until its domain closes
	// it, and nothing passes. It is set with Switch.mu held.
	defunct atomic.Bool
	// requests is held while one about a flow is answered: it adds none to a channel
	// whose flows have ended.
	requests sync.Mutex
	// used is when a packet came or the domain asked for a sync last.
	used   atomic.Int64
	news   bool
	send   func(*channel.Packet) bool
	out    sender
	asking asking
	// untold says that a flow found no room in the advisory table.
	untold atomic.Bool
	// limit is the rate of its domain; nil: none. later has the channel go on after a time.
	limit atomic.Pointer[Limit]
	later func(time.Duration)
	// stalled says that it has packets that the card did not take.
	stalled atomic.Bool
}

const (
	// FlowsMin and FlowsMax bound how many flows a switch has.
	FlowsMin = 1024
	FlowsMax = 16384
	// FlowMemory is what a flow takes at most with its port, in bytes.
	FlowMemory = 2 << 10
	// FragmentMemory bounds the fragments that wait for the rest of their packet,
	// in bytes, and fragmentPackets how many packets they are of.
	FragmentMemory  = 256 << 10
	fragmentPackets = 64
)

// New makes a switch on a card, for so many flows at most: a number out of bounds is
// brought within. now is a clock, and seed a secret number.
func New(p netif.Port, names *netns.Space, now func() time.Duration, seed uint64, flows int) *Switch {
	table, err := flow.New(flow.Config{Linger: lingerTime, Seed: seed, Max: min(max(flows, FlowsMin), FlowsMax)})
	if err != nil {
		panic(err) // these numbers are allowed
	}
	parts, err := packet.NewReassembler(packet.Limits{Bytes: FragmentMemory, Packets: fragmentPackets})
	if err != nil {
		panic(err) // likewise
	}
	s := &Switch{
		parts: parts,
		port:  p, names: names, table: table, now: now,
		claims: map[uint32]netns.Reservation{},
	}
	s.channels.Store(&[]*attached{})
	s.echoes.Store(uint32(seed))
	s.resumer.over = func() bool { return s.now()-s.resumer.began >= roomSlice }
	return s
}

// Attach takes a channel in, whose flows the policy bounds.
func (s *Switch) Attach(c *channel.Channel, policy *netns.Policy) {
	s.ending.Lock()
	defer s.ending.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &attached{Channel: c, policy: policy}
	a.used.Store(int64(s.now()))
	a.out.s, a.out.from = s, a
	a.out.here.Fill = a.out.fill.fill
	a.send = a.out.send
	a.out.backlog.Owed, a.out.backlog.Teller, a.out.backlog.Reporter = c.Account(), &a.out, c
	at, _ := slices.BinarySearchFunc(s.list(), c.ID, (*attached).compare)
	s.setList(slices.Insert(slices.Clone(s.list()), at, a))
	s.attachments.Add(1)
}

// Others has f list the channels of the machine that are no concern of the switch, for All
// and Stats. It is called before these are.
func (s *Switch) Others(f func() []channel.Listed) { s.others = f }

// Detach ends a channel: its flows are gone when it returns, and the peers of its
// open connections were told.
func (s *Switch) Detach(c *channel.Channel) {
	s.mu.Lock()
	a := s.find(c.ID)
	if a == nil {
		s.mu.Unlock()
		return
	}
	s.setList(slices.DeleteFunc(slices.Clone(s.list()), func(o *attached) bool { return o == a }))
	defunct := a.defunct.Load()
	if !defunct {
		s.attachments.Add(-1)
	}
	s.mu.Unlock()
	// What arrives meanwhile finds no channel.
	c.Close()
	if !defunct {
		s.endFlows(a)
	}
}

// Defunct takes a channel's memory back while its domain has it open: see
// channel.Channel.Defunct. Its flows are gone when it returns, their ports are free, the
// peers of its open connections were told, and the domain is told last.
func (s *Switch) Defunct(c *channel.Channel) (freed int, err error) {
	if freed, err = c.Defunct(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	a := s.find(c.ID)
	if a != nil {
		a.defunct.Store(true)
		s.attachments.Add(-1)
	}
	s.mu.Unlock()
	if a != nil {
		s.endFlows(a)
	}
	c.Wake()
	return freed, nil
}

// endFlows ends those of a channel that nothing passes any more, and of which channel knows
// nothing by now.
func (s *Switch) endFlows(c *attached) {
	// A request that has found the channel is answered first.
	c.requests.Lock()
	defer c.requests.Unlock()
	s.ending.Lock()
	defer s.ending.Unlock()
	last := true
	for _, a := range s.list() {
		last = last && (a.Owner != c.Owner || a.ID == c.ID || a.defunct.Load())
	}
	if last {
		s.table.OwnerGone(c.Owner)
	} else {
		s.table.PortGone(c.ID)
	}
	s.Reap()
	if last {
		s.names.ReleaseOwner(netns.Owner(c.Owner))
	}
	// What waits for a time is not to leave by an address and port that are another's then.
	s.port.Hasten(c.ID)
	s.port.Flush(nil)
}

func (a *attached) compare(id uint32) int { return cmp.Compare(a.ID, id) }

// list returns the channels by number; setList changes it, with s.mu held.
func (s *Switch) list() []*attached { return *s.channels.Load() }

func (s *Switch) setList(all []*attached) { s.channels.Store(&all) }

// find returns the channel with a number; nil when it is gone.
func (s *Switch) find(id uint32) *attached {
	list := s.list()
	if at, ok := slices.BinarySearchFunc(list, id, (*attached).compare); ok {
		return list[at]
	}
	return nil
}

// channel returns the channel of a flow; nil when it is gone or defunct.
func (s *Switch) channel(id uint32) *attached {
	if a := s.find(id); a != nil && !a.defunct.Load() {
		return a
	}
	return nil
}

// Used is when a packet came for a channel, or its domain asked for a sync, last; 0
// when it is gone or defunct.
func (s *Switch) Used(c *channel.Channel) time.Duration {
	if a := s.channel(c.ID); a != nil {
		return time.Duration(a.used.Load())
	}
	return 0
}

// Sync does what a notification asks for.
func (s *Switch) Sync(c *channel.Channel) error {
	a := s.find(c.ID)
	if a == nil {
		return channel.ErrClosed
	}
	a.used.Store(int64(s.now()))
	err := a.Sync(a.send)
	a.out.told.flush()
	s.port.Flush(&a.out.backlog)
	return err
}

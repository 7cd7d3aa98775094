// Package netns is the one namespace of ports and addresses that the host stack
// and all domains of a machine share, and the check of what a domain's manifest
// permits.
//
// A Space says who holds which port; a Policy says who may ask. Neither knows
// packets. Loopback is private to each domain and is not asked for here.
package netns

import (
	"sync"
	"time"
)

// This file owns the table and its indexes.

// Limits of a Space unless its Config says otherwise.
const (
	DefaultMax         = 16384
	DefaultMaxPerOwner = 2048
)

// Config is what a Space is made with.
type Config struct {
	// Max and MaxPerOwner bound the reservations in all and of each owner, the
	// lingering ones included. 0 takes the default.
	Max, MaxPerOwner int
	// Random gives the ephemeral ports their start. It should be hard to guess
	// (RFC 6056). It is called with the lock held. Nil: always 0.
	Random func() uint32
	// Restricted are ports that no domain may have, whatever its manifest says.
	Restricted []Port
}

// HostPorts are those that the host stack alone may have, used or not: to its DHCP client comes
// what sets the machine's addresses and name servers.
func HostPorts() []Port { return []Port{{UDP, 68}} }

// Port is a port of a protocol.
type Port struct {
	Proto  uint8 // TCP or UDP
	Number uint16
}

// Space is the namespace. Its methods may be called at the same time. Time is a
// duration since a fixed moment, the same for all calls, and never negative.
type Space struct {
	mu         sync.Mutex
	config     Config
	restricted map[Port]bool
	buckets    [2]map[uint16]*bucket // TCP, UDP
	used       portSet               // ports that have a bucket
	ephemeral  [2]int                // such ports in the ephemeral range
	tuples     map[tuple]*entry
	owners     map[Owner]*holdings
	lingering  lingerHeap
	protocols  map[uint8]protocol
	count      int
	last       uint64 // id
}

// holdings are one owner's reservations.
type holdings struct {
	entries   map[*entry]struct{}
	lingering int
}

// New makes an empty Space.
func New(c Config) *Space {
	if c.Max <= 0 {
		c.Max = DefaultMax
	}
	if c.MaxPerOwner <= 0 {
		c.MaxPerOwner = DefaultMaxPerOwner
	}
	if c.Random == nil {
		c.Random = func() uint32 { return 0 }
	}
	s := &Space{config: c, restricted: map[Port]bool{}, tuples: map[tuple]*entry{}, owners: map[Owner]*holdings{}, protocols: map[uint8]protocol{}}
	for i := range s.buckets {
		s.buckets[i] = map[uint16]*bucket{}
	}
	for _, p := range c.Restricted {
		s.restricted[p] = true
	}
	return s
}

// Reserve takes a port, or none and the reason: one of the errors of this
// package.
func (s *Space) Reserve(now time.Duration, r Request) (Reservation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	e, err := r.entry()
	if err != nil {
		return Reservation{}, err
	}
	if e.owner != HostOwner && s.restricted[Port{e.proto, e.port}] {
		return Reservation{}, ErrRestricted
	}
	goes, err := s.full(e.owner)
	if err != nil {
		return Reservation{}, err
	}
	switch {
	case e.port == 0:
		e.port, err = s.pick(e)
	case r.Ephemeral && IsEphemeral(e.port) && s.exhausted(e):
		err = ErrNoPort
	default:
		err = s.clash(e)
	}
	if err != nil {
		return Reservation{}, err
	}
	if goes != nil {
		s.remove(goes)
	}
	s.insert(e)
	return Reservation{s, e}, nil
}

// full returns the lingering reservation that must make room for another one of the owner:
// of its own the one that ends first, or, where the whole table is full and it has none, of
// all. Nil: there is room. It is an error if there is none and nothing lingers.
func (s *Space) full(o Owner) (*entry, error) {
	h := s.owners[o]
	own := h != nil && h.lingering > 0
	switch {
	case h != nil && len(h.entries) >= s.config.MaxPerOwner:
		if !own {
			return nil, ErrOwnerLimit
		}
	case s.count < s.config.Max:
		return nil, nil
	case !own && len(s.lingering) == 0:
		return nil, ErrTableFull
	}
	if own {
		return s.oldest(o), nil
	}
	return s.lingering[0], nil
}

// ReleaseOwner gives back all that an owner holds, at once, the lingering ones
// too. It returns how many ports there were.
func (s *Space) ReleaseOwner(o Owner) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseProtocols(o)
	h := s.owners[o]
	if h == nil {
		return 0
	}
	n := len(h.entries)
	for e := range h.entries {
		s.remove(e)
	}
	return n
}

// index is the place of a protocol in lists of two.
func index(proto uint8) int {
	if proto == UDP {
		return 1
	}
	return 0
}

func (s *Space) bucket(proto uint8, port uint16) *bucket { return s.buckets[index(proto)][port] }

func (s *Space) insert(e *entry) {
	i := index(e.proto)
	b := s.buckets[i][e.port]
	if b == nil {
		b = &bucket{}
		s.buckets[i][e.port] = b
		s.used.set(i, e.port)
		if IsEphemeral(e.port) {
			s.ephemeral[i]++
		}
	}
	b.add(e)
	if e.flow() {
		s.tuples[e.tuple()] = e
	}
	h := s.owners[e.owner]
	if h == nil {
		h = &holdings{entries: map[*entry]struct{}{}}
		s.owners[e.owner] = h
	}
	h.entries[e] = struct{}{}
	s.last++
	e.id = s.last
	s.count++
}

func (s *Space) remove(e *entry) {
	i := index(e.proto)
	b := s.buckets[i][e.port]
	b.remove(e)
	if len(b.ports)+len(b.flows) == 0 {
		delete(s.buckets[i], e.port)
		s.used.clear(i, e.port)
		if IsEphemeral(e.port) {
			s.ephemeral[i]--
		}
	}
	if e.flow() {
		delete(s.tuples, e.tuple())
	}
	h := s.owners[e.owner]
	if e.state == lingering {
		s.lingering.drop(e)
		h.lingering--
	}
	delete(h.entries, e)
	if len(h.entries) == 0 {
		delete(s.owners, e.owner)
	}
	e.state = gone
	s.count--
}

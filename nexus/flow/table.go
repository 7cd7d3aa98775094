package flow

import (
	"cmp"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns the table: flows by key and by number, and its limits.
//
// Who looks a flow up takes no lock: each bucket is a list that never changes, and
// who changes the table puts another in its place. Those who change it exclude each
// other.

// Config is that of a Table. 0 stands for the default.
type Config struct {
	// Max is how many flows there may be, half-open and lingering ones too: 1 to
	// 1048576, default 16384. Half-open ones take half of it at most.
	Max int
	// PerOwner is how many one owner may have: default 512. Half-open ones and
	// those that are withdrawn do not count.
	PerOwner int
	// PerListener is how many half-open children of each sort a listener may
	// have: those of a SYN, and those of an ACK alone. Default 128.
	PerListener int
	// HalfOpen is how long a half-open flow lives: default 75 s.
	HalfOpen time.Duration
	// Linger is how long a connection is kept that this side has ended first, for
	// late packets: LingerMin to LingerMax, default 60 s, twice the usual maximum
	// segment lifetime. Others are kept for LingerMin, reset ones not at all.
	Linger time.Duration
	// Seed is a secret number that keeps strangers from choosing buckets.
	Seed uint64
}

// Table is the flows. It may be used by many at once.
type Table struct {
	config  Config
	buckets []atomic.Pointer[[]entry]
	users   [2][maskCount]atomic.Int32 // how many flows each mask has, of TCP apart
	protos  [256]atomic.Int32
	evicted [2]atomic.Uint64

	mu        sync.Mutex // of those who change the table
	byID      map[uint32]*Flow
	owners    map[uint64]int // how many count
	withdrawn queue
	halfOpen  int     // how many are
	ended     []Ended // since the last Reap
	lastID    uint32
	lastGen   uint32
}

type entry struct {
	hash uint64
	flow *Flow
}

// New makes an empty table.
func New(c Config) (*Table, error) {
	c.Max, c.PerOwner = cmp.Or(c.Max, 16384), cmp.Or(c.PerOwner, 512)
	c.PerListener = cmp.Or(c.PerListener, 128)
	c.HalfOpen, c.Linger = cmp.Or(c.HalfOpen, 75*time.Second), cmp.Or(c.Linger, 60*time.Second)
	if c.Max < 1 || c.Max > 1<<20 || c.PerOwner < 1 || c.PerListener < 1 || c.HalfOpen < 0 ||
		c.Linger < LingerMin || c.Linger > LingerMax {
		return nil, ErrInvalid
	}
	return &Table{
		config:  c,
		buckets: make([]atomic.Pointer[[]entry], 1<<bits.Len(uint(c.Max-1))),
		byID:    make(map[uint32]*Flow),
		owners:  make(map[uint64]int),
	}, nil
}

// Spec is what a new flow is to be.
type Spec struct {
	// Kind is Bound, Listener or Connected.
	Kind Kind
	// Key is by what it is found, as far as Mask lets it count. Connected is for
	// Tuple5, the others for the other masks.
	Key  packet.Key
	Mask Mask
	// Owner is the domain, Port its channel.
	Owner uint64
	Port  uint32
}

func (s *Spec) valid() bool {
	if s.Kind == HalfOpen || s.Kind >= kindCount || s.Mask >= maskCount || (s.Mask == Tuple5) != (s.Kind == Connected) ||
		s.Kind == Listener && s.Key.Proto != packet.TCP {
		return false
	}
	k := &s.Key
	ports := k.Proto == packet.TCP || k.Proto == packet.UDP
	if s.Mask == Protocol {
		return !ports && k.Proto != packet.ICMP && k.Proto != packet.ICMPv6
	}
	// What is no echo has no port: a flow without one would have all of that.
	if k.LocalPort == 0 || ports && s.Mask <= Tuple4 && k.RemotePort == 0 {
		return false
	}
	if s.Mask == Tuple2 {
		return true
	}
	mapped := func(a *[16]byte) bool { return [12]byte(a[:12]) == [12]byte{10: 0xff, 11: 0xff} }
	switch k.Version {
	case 4:
		return (s.Mask >= Tuple2Version || mapped(&k.Local)) && (s.Mask >= Tuple4 || mapped(&k.Remote))
	case 6:
		return true
	}
	return false
}

// Add makes a flow. One that is over or has ended, of the same key, makes room. What
// has ended counts until the next Reap: after ErrOwnerLimit and ErrTableFull it may be
// worth one.
func (t *Table) Add(now time.Duration, s Spec) (*Flow, error) {
	if !s.valid() {
		return nil, ErrInvalid
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := s.Mask.apply(s.Key)
	old := t.at(s.Mask, &key)
	if old != nil && old.Flags()&(FlagTornDown|FlagNonviable|FlagWithdrawn) == 0 {
		return nil, ErrExists
	}
	count := t.owners[s.Owner]
	if old != nil && old.counted && old.Owner == s.Owner {
		count--
	}
	if count >= t.config.PerOwner {
		return nil, ErrOwnerLimit
	}
	if len(t.ended) >= t.config.Max {
		return nil, ErrTableFull
	}
	if old != nil {
		t.end(old, Replaced)
	}
	if len(t.byID) >= t.config.Max && !t.evictWithdrawn() {
		return nil, ErrTableFull
	}
	f := t.make(now, &s, key)
	t.countFor(f)
	t.publish(f)
	return f, nil
}

// make makes a flow with a number of its own. t.mu is held.
func (t *Table) make(now time.Duration, s *Spec, key packet.Key) *Flow {
	for t.lastID++; t.lastID == 0 || t.byID[t.lastID] != nil; t.lastID++ {
	}
	if t.lastGen++; t.lastGen == 0 {
		t.lastGen = 1
	}
	f := &Flow{
		ID: t.lastID, Generation: t.lastGen, Owner: s.Owner, Port: s.Port, Key: key, Mask: s.Mask, Created: now,
		hash: t.hash(s.Mask, &key), linked: true,
	}
	f.kind.Store(uint32(s.Kind))
	f.lastUsed.Store(int64(now))
	return f
}

// publish puts a flow into the table, where there is room for it. t.mu is held.
func (t *Table) publish(f *Flow) {
	t.byID[f.ID] = f
	t.users[kindOf(f.Key.Proto)][f.Mask].Add(1)
	t.protos[f.Key.Proto].Add(1)
	b := t.bucket(f.hash)
	list := append(slices.Clone(load(b)), entry{f.hash, f})
	b.Store(&list)
}

// unlink takes a flow out of its bucket. t.mu is held.
func (t *Table) unlink(f *Flow) {
	if !f.linked {
		return
	}
	f.linked = false
	b := t.bucket(f.hash)
	if list := slices.DeleteFunc(slices.Clone(load(b)), func(e entry) bool { return e.flow == f }); len(list) == 0 {
		b.Store(nil)
	} else {
		b.Store(&list)
	}
	t.users[kindOf(f.Key.Proto)][f.Mask].Add(-1)
	t.protos[f.Key.Proto].Add(-1)
}

func (t *Table) hash(m Mask, k *packet.Key) uint64 {
	return k.Hash(t.config.Seed) + uint64(m)*0x9e3779b97f4a7c15
}

func (t *Table) bucket(hash uint64) *atomic.Pointer[[]entry] {
	return &t.buckets[hash>>32&uint64(len(t.buckets)-1)]
}

func load(b *atomic.Pointer[[]entry]) []entry {
	if p := b.Load(); p != nil {
		return *p
	}
	return nil
}

// at finds the flow of a masked key.
func (t *Table) at(m Mask, k *packet.Key) *Flow {
	h := t.hash(m, k)
	for _, e := range load(t.bucket(h)) {
		if e.hash == h && e.flow.Mask == m && e.flow.Key == *k {
			return e.flow
		}
	}
	return nil
}

// Lookup finds the flow of a packet's key, the most specific first; nil: there is
// none. It takes no lock and allocates nothing.
func (t *Table) Lookup(k *packet.Key) *Flow { return t.lookup(Tuple5, k) }

func (t *Table) lookup(from Mask, k *packet.Key) *Flow {
	masked, users := *k, &t.users[kindOf(k.Proto)]
	for m := from; m < maskCount; m++ {
		if users[m].Load() == 0 {
			continue
		}
		m.clear(&masked) // which what the masks before it clear is part of
		if f := t.at(m, &masked); f != nil {
			return f
		}
	}
	return nil
}

// kindOf is which of Table.users a protocol counts for: connections of TCP are no reason to look
// for a datagram of one.
func kindOf(proto uint8) int {
	if proto == packet.TCP {
		return 1
	}
	return 0
}

// Has says whether there is a flow of a protocol.
func (t *Table) Has(proto uint8) bool { return t.protos[proto].Load() != 0 }

// ByID finds a flow by its number; nil: there is none.
func (t *Table) ByID(id uint32) *Flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// Len is how many flows there are.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byID)
}

// OwnerLen is how many flows count for the owner's limit.
func (t *Table) OwnerLen(owner uint64) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.owners[owner]
}

// Evicted is how many half-open and withdrawn flows made room for others.
func (t *Table) Evicted() (halfOpen, withdrawn uint64) {
	return t.evicted[0].Load(), t.evicted[1].Load()
}

// All lists the flows, by their numbers.
func (t *Table) All() []*Flow {
	t.mu.Lock()
	list := make([]*Flow, 0, len(t.byID))
	for _, f := range t.byID {
		list = append(list, f)
	}
	t.mu.Unlock()
	slices.SortFunc(list, func(a, b *Flow) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// countFor and discount keep the numbers of owners. t.mu is held.
func (t *Table) countFor(f *Flow) {
	f.counted = true
	t.owners[f.Owner]++
}

func (t *Table) discount(f *Flow) {
	if !f.counted {
		return
	}
	f.counted = false
	if t.owners[f.Owner]--; t.owners[f.Owner] == 0 {
		delete(t.owners, f.Owner)
	}
}

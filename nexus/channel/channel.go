// Package channel is the kernel's end of a domain's attachment to the nexus: an
// arena with its rings, the account of what is lent, and the checks on all that
// the domain writes.
package channel

import (
	"errors"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/advisory"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/pool"
	"github.com/sluice-os/sluice/nexus/ring"
)

var (
	// ErrClosed says that the channel is closed.
	ErrClosed = errors.New("channel: closed")
	// ErrDefunct says that the channel's memory was taken back.
	ErrDefunct = errors.New("channel: defunct")
	// ErrPinned says that the channel's memory is not to be taken back.
	ErrPinned = errors.New("channel: its memory is pinned")
	// ErrMore says that a sync has paused: the next one goes on.
	ErrMore = errors.New("channel: there is more to send")
)

// Channel is one domain's attachment. Its methods may be called concurrently.
type Channel struct {
	// ID is the number that no other channel of the machine has had.
	ID uint32
	// Owner is whom it belongs to.
	Owner uint64
	// Name is the owner's, and Schema that of the schema, for people.
	Name, Schema string
	// Pinned says that its memory is never taken back while it is open.
	Pinned bool
	// Notify tells the domain that its rings have news. It is called with the
	// channel locked and must not block.
	Notify func()

	// tx is held by who takes packets from the domain, mu by who uses rings and
	// pools; tx comes first. What is sent may be delivered to another channel,
	// or to this one: mu is not held then.
	tx     sync.Mutex
	mu     sync.Mutex
	arena  *arena.Arena
	cookie uint64
	rings  [abi.RingKinds]*ring.Ring
	counts Counts
	// refused is counts.TxRefused, as the nexus counts it.
	refused atomic.Uint64
	// posted are the slots of the event ring that the domain has not taken.
	posted []abi.Slot
	// reported says that there are reports that the domain was not shown yet.
	reported bool
	// advisories says which flows are to pause, and edges how often that has changed.
	advisories *advisory.Table
	edges      uint64
	// sets are the packets and buffers, and packets, small and large point to them.
	sets                  [3]set
	packets, small, large *set
	alloc                 *abi.Ring // its words for memory
	told                  [3]uint32 // that the domain may hold
	asks                  uint32    // how often that was less
	// budget is where memory comes from, floor what the channel has of it always, memory
	// what it has, and limit what it may have, in bytes.
	budget               Budget
	floor, memory, limit int
	looked               bool
	now                  time.Duration // of the last look
	waited               int           // packets that the card had not taken at most, since then
	before               uint64        // packets that had passed then
	// notes tell of the packets in the rx ring, from seen up to noted, modulo a power
	// of two.
	notes       []note
	seen, noted uint32
	broken      func(*Violation)
	// stalled is for how long the domain owes memory that waits in its tx ring, and onStall
	// is told when that is too long.
	stalled time.Duration
	onStall func()
	// paused says that the domain does not run.
	paused bool
	// looks says that the free ring may be looked at when something is missing.
	looks bool
	// over is nil as long as the channel works: then it is ErrClosed, ErrDefunct, or
	// the violation of the contract that each later Sync repeats.
	over error
	// news says that something was put into a ring since the last Flush.
	news bool
	// held says that the domain was not told of what is in the rx ring, as it is
	// below the low watermark, and starved that it is to be told nevertheless.
	held, starved bool
	// offloads is what the kernel does for the domain: see SetOffloads.
	offloads uint32
	// owed is the account of work that nobody was charged for yet.
	owed atomic.Int64
	// accepts is what Accepts returns; it changes with the alloc ring.
	accepts atomic.Int64
	// sliceOver is asked while packets are sent whether the sync has taken long enough,
	// see SetSlice; nil: it never has. work is what was done since it was asked last.
	sliceOver func() bool
	work      int
	// hook calls the tap, see SetTap; nil: there is none. A kernel that sets no taps
	// has no more of them than this.
	hook func(at moment, n, length int)
	// out is the packet that is handed on, and returned its buflets; both belong
	// to the holder of tx. freed are the buflets of the packet that was taken back
	// last, and taken those of the packet that is delivered. They are kept here so
	// that nothing is allocated.
	out                    Packet
	batch                  uint32
	returned, freed, taken [abi.BufletsMax]uint32
}

// Counts are a channel's statistics.
type Counts struct {
	TxPackets, TxBytes, RxPackets, RxBytes uint64
	// TxSyncs is how often the domain asked to look at its rings, RxEvents how
	// often it was told to.
	TxSyncs, RxEvents uint64
	// Drops by reason: the rx ring was full, the pool was empty, or the channel
	// was closed.
	RxRingFull, RxNoPacket, RxNoBuffer, RxTooLong, RxClosed uint64
	// TxStalled is how often packets had to wait for the card, or for the peer
	// of a pipe, and TxRefused how many packets were not let through.
	TxStalled, TxRefused uint64
	// Events is how many were put into the event ring, EventsLost how many found
	// no room there; Reports and ReportsLost are the same of reports of packets.
	Events, EventsLost   uint64
	Reports, ReportsLost uint64
}

// lastID numbers channels.
var lastID atomic.Uint32

// New makes a channel on an arena, which belongs to it from then on.
func New(a *arena.Arena, cookie uint64) *Channel {
	c := &Channel{ID: lastID.Add(1), arena: a, cookie: cookie, budget: unlimited{}, limit: NoLimit}
	c.notes = make([]note, 1<<bits.Len(uint(a.Params.Packets-1))) // no packet is in there twice
	c.newSets()
	for kind := range c.rings {
		shared, slots := a.Ring(kind)
		c.rings[kind] = ring.New(shared, slots, kind == abi.RingTx || kind == abi.RingFree)
	}
	for i := range a.BufletCount() {
		b := a.Buflet(uint32(i))
		b.Index, b.Limit = uint32(i), uint32(a.BufferSize(i))
	}
	c.SetOffloads(abi.OffloadsAll)
	c.advisories = advisory.New(a.Segments(arena.Advisory), c.growAdvisories)
	c.alloc, _ = a.Ring(abi.RingAlloc)
	c.accepts.Store(int64(a.Accepts()))
	c.hold()
	c.refill()
	c.rings[abi.RingAlloc].Publish()
	return c
}

// SetOffloads says what is done for the domain (abi.OffloadChecksum and its like), which the
// schema tells it: all, if it is not called. It is called before anything is sent.
func (c *Channel) SetOffloads(set uint32) {
	c.offloads = set
	c.arena.SetOffloads(set)
}

// Offloads is what is done for the domain.
func (c *Channel) Offloads() uint32 { return c.offloads }

// redzone is what marks a packet's metadata.
func redzone(cookie uint64, i uint32) uint64 { return cookie ^ uint64(i)*abi.PacketSize }

// Arena is the channel's memory, for who maps it.
func (c *Channel) Arena() *arena.Arena { return c.arena }

// Counts returns the statistics.
func (c *Channel) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.counts
	counts.TxRefused = c.refused.Load()
	return counts
}

// Close ends the channel: nothing reads or writes its memory afterwards. The
// caller frees the arena when the domain cannot reach it any more.
func (c *Channel) Close() {
	c.tx.Lock()
	defer c.tx.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = ErrClosed
	c.budget.Leave()
}

// Sync does what the domain asks for with a notification: it takes back what is
// in the free ring, forgets the slots that were read, sends what is in the tx
// ring through send until that reports false, and gives the domain new packets.
// An error other than ErrClosed, ErrDefunct and ErrMore is a *Violation: the domain must end.
func (c *Channel) Sync(send func(*Packet) bool) error {
	c.tx.Lock()
	defer c.tx.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		return c.over
	}
	c.counts.TxSyncs++
	for kind, r := range c.rings {
		if err := r.Sync(); err != nil {
			return c.violated(kind, err)
		}
	}
	c.read()
	for i := range c.sets {
		c.sets[i].returned = c.sets[i].Lent(pool.Empty)
	}
	if err := c.reclaim(); err != nil {
		return err
	}
	for i := range c.sets {
		s := &c.sets[i]
		s.returned -= s.Lent(pool.Empty)
		s.moves = s.moves && s.returned == 0
	}
	paused, err := c.transmit(send, c.sliceOver)
	if err != nil {
		return err
	}
	c.demand()
	c.drain()
	c.refill()
	c.hold()
	for _, r := range c.rings {
		r.Publish()
	}
	c.show()
	if paused {
		return ErrMore
	}
	return nil
}

// SetSlice has over asked, about once for each workMax frames, whether a Sync has taken
// long enough: what a domain asks for with one call may take long, and others wait.
func (c *Channel) SetSlice(over func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sliceOver = over
}

// reclaim takes back what is in the free ring.
func (c *Channel) reclaim() error {
	r := c.rings[abi.RingFree]
	var v abi.Packet
	for r.Filled() > 0 {
		s := r.Take()
		var err error
		switch s.Kind {
		case abi.SlotPacket:
			if err = c.readPacket(s.Index, &v); err == nil {
				err = c.returnChain(&c.freed, v.First, v.Buflets)
			}
			if err == nil {
				c.putPacket(s.Index, c.freed[:v.Buflets])
			}
		case abi.SlotBuflet:
			if err = c.returnBuflet(s.Index); err == nil {
				c.putBuflet(s.Index)
			}
		default:
			err = ErrSlot
		}
		if err != nil {
			return c.violated(abi.RingFree, err)
		}
	}
	r.Return()
	return nil
}

// Ring describes a ring, for who looks on. Used is how many slots one side has filled
// and the other has not taken.
type Ring struct {
	Slots, Used int
	Head, Tail  uint32
}

// Pool describes a set of objects, for who looks on.
type Pool struct {
	// Count is how many there can be, Backed how many have memory. Of these nobody has
	// Free, and the domain Lent.
	Count, Backed, Free, Lent int
	// Hold is how many the domain may have to fill, and Asked how many it has too many.
	Hold, Asked int
	// Segments have memory: Bytes.
	Segments, Bytes int
}

// Rings and Pools describe the channel: packets, small and large buffers.
func (c *Channel) Rings() (list [abi.RingKinds]Ring) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for kind, r := range c.rings {
		head := r.Head()
		if c.over == nil {
			head = r.Look()
		}
		list[kind] = Ring{Slots: r.Slots(), Used: r.Used(head), Head: head, Tail: r.Tail()}
	}
	return list
}

func (c *Channel) Pools() (list [3]Pool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.sets {
		s := &c.sets[i]
		if c.over == ErrDefunct {
			list[i] = Pool{Count: s.All()}
			continue
		}
		list[i] = Pool{
			Count: s.All(), Backed: s.Count(), Free: s.Free(), Lent: s.AllLent(),
			Hold: s.give.Size, Asked: max(s.Lent(pool.Empty)-s.give.Size, 0),
			Segments: s.Backed(), Bytes: s.Backed() * s.segment,
		}
	}
	return list
}

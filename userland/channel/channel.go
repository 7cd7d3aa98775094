// Package channel is a domain's end of a channel: it takes what has arrived from
// the rings, fills packets and sends them. The kernel is trusted; the memory is
// shared with nobody else.
//
// The kernel may take the memory back between any two instructions (Active tells). From
// then on each page holds zeros, or what was written to some page since. So what is read
// of it is brought within bounds before it is used, and a packet that does not add up is
// none.
package channel

import (
	"errors"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
)

var (
	// ErrVersion says that the kernel's arena has another layout.
	ErrVersion = errors.New("channel: the arena's layout is of another version")
	// ErrDefunct says that the kernel has taken the channel's memory back.
	ErrDefunct = errors.New("channel: defunct")
)

// Channel is an open channel. Send and Receive may be called concurrently with
// each other; neither may be with itself.
type Channel struct {
	base   unsafe.Pointer
	schema *abi.Schema
	notify func()
	rings  [abi.RingKinds]ring
	in     Received // what Receive hands on
	pieces [abi.BufletsMax][]byte
	lost   uint64 // abi.Stats.EventsLost when Events looked
	// longest is what Longest has returned last.
	longest atomic.Uint64
	// offloads is what Offloads returns.
	offloads uint32

	// mu guards the free lists and the alloc and free rings.
	mu      sync.Mutex
	packets []uint32
	small   []uint32
	large   []uint32
	needs   bool   // the kernel was told that they do not suffice
	asks    uint32 // how often the kernel has asked for some, as far as they were answered
}

// New attaches to the arena at base, which is mapped for as long as the channel
// is used. notify tells the kernel to look at the rings, and returns when it
// has. New fails with ErrVersion and ErrDefunct.
func New(base unsafe.Pointer, notify func()) (*Channel, error) {
	c := &Channel{base: base, schema: (*abi.Schema)(base), notify: notify}
	if c.schema.Version != abi.SchemaVersion {
		return nil, ErrVersion
	}
	if !c.Active() {
		return nil, ErrDefunct
	}
	for kind := range c.rings {
		c.attach(kind)
	}
	c.Longest()
	c.offloads = c.schema.Offloads
	n := int(c.schema.Rings[abi.RingAlloc].Count)
	c.packets, c.small, c.large = make([]uint32, 0, n), make([]uint32, 0, n), make([]uint32, 0, n)
	return c, nil
}

// attach finds a ring where the schema says that it is, and where its head stands.
func (c *Channel) attach(kind int) {
	s := &c.schema.Rings[kind]
	count := atomic.LoadUint32(&s.Count)
	r := ring{
		shared: (*abi.Ring)(c.at(s.Header)),
		slots:  unsafe.Slice((*abi.Slot)(c.at(atomic.LoadUint32(&s.Slots))), count),
		mask:   count - 1,
	}
	r.head = atomic.LoadUint32(&r.shared.Head) & r.mask
	c.rings[kind] = r
}

// Active says that the channel works: if not, it never will again.
func (c *Channel) Active() bool {
	return atomic.LoadUint32(&c.schema.Flags)&abi.SchemaActive != 0
}

// Offloads is what the kernel does for the channel: abi.OffloadChecksum and its like.
func (c *Channel) Offloads() uint32 { return c.offloads }

// Longest is the longest packet that Send can ever take, in bytes, or could when the
// channel became defunct.
func (c *Channel) Longest() int {
	if n := atomic.LoadUint64(&c.schema.Longest); n != 0 {
		c.longest.Store(n)
	}
	return int(c.longest.Load())
}

// at returns the address of an offset of the arena, which the kernel has laid out.
func (c *Channel) at(offset uint32) unsafe.Pointer { return unsafe.Add(c.base, offset) }

// entry returns the address of entry i of a table, whose entries have size bytes; of the
// first one, if there are not so many.
func (c *Channel) entry(t *abi.SchemaTable, i, size uint32) unsafe.Pointer {
	if i >= t.Count {
		i = 0
	}
	return c.at(t.Offset + i*size)
}

func (c *Channel) packet(i uint32) *abi.Packet {
	return (*abi.Packet)(c.entry(&c.schema.Packets, i, abi.PacketSize))
}

func (c *Channel) buflet(i uint32) *abi.Buflet {
	return (*abi.Buflet)(c.entry(&c.schema.Buflets, i, abi.BufletSize))
}

// buffer returns the memory of a buflet.
func (c *Channel) buffer(i uint32) []byte {
	t := &c.schema.Buffers
	if i >= t.Count && c.schema.Large.Count > 0 {
		i -= t.Count
		t = &c.schema.Large
	}
	return unsafe.Slice((*byte)(c.entry(t, i, t.Size)), t.Size)
}

// Ring describes one of the rings: how many slots it has, and how many are the domain's
// to take or to fill.
type Ring struct{ Slots, Left int }

// Rings describes the rings. It must not be called concurrently with what uses them.
func (c *Channel) Rings() (list [abi.RingKinds]Ring) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for kind := range c.rings {
		r := &c.rings[kind]
		list[kind] = Ring{Slots: len(r.slots), Left: r.left()}
	}
	return list
}

// Slots returns how many slots the rings have, or had when the channel became defunct; 0:
// that is not known any more.
func (c *Channel) Slots() (list [abi.RingKinds]uint32) {
	for kind := range list {
		list[kind] = atomic.LoadUint32(&c.schema.Rings[kind].Count)
	}
	return list
}

// Stats returns the channel's statistics, without a call of the kernel.
func (c *Channel) Stats() (s abi.Stats) {
	const words = unsafe.Sizeof(s) / 8 // it has nothing else
	from, to := (*[words]uint64)(c.at(c.schema.Stats.Offset)), (*[words]uint64)(unsafe.Pointer(&s))
	for i := range to {
		to[i] = atomic.LoadUint64(&from[i])
	}
	return s
}

// Events calls f for each event that has come, and reports whether events were lost since
// the last call: then everything may have changed that events are about. It must not be
// called concurrently with itself.
func (c *Channel) Events(f func(abi.Slot)) (lost bool) {
	// What is lost from here on is told the next time.
	n := atomic.LoadUint64(&(*abi.Stats)(c.at(c.schema.Stats.Offset)).EventsLost)
	lost, c.lost = n != c.lost, n
	r := &c.rings[abi.RingEvent]
	if r.left() == 0 {
		return lost
	}
	for r.left() > 0 {
		f(*r.slot())
	}
	r.publish()
	return lost
}

// Reported reads an event: what became of the packet that was sent with a cookie, abi.StatusSent
// and its like; false: the event is of something else. Stats.ReportsLost says how many packets
// there is no report of, although they asked.
func Reported(e abi.Slot) (cookie uint32, status uint16, ok bool) {
	return e.Index, e.Length, e.Kind == abi.SlotReport
}

// ring is the domain's side of one.
type ring struct {
	shared *abi.Ring
	slots  []abi.Slot
	mask   uint32
	head   uint32 // what Head will be
}

// left is how many slots the domain may take or fill.
func (r *ring) left() int {
	return int((atomic.LoadUint32(&r.shared.Tail) - r.head) & r.mask)
}

func (r *ring) slot() *abi.Slot {
	s := &r.slots[r.head]
	r.head = (r.head + 1) & r.mask
	return s
}

// publish shows the kernel what was taken or filled.
func (r *ring) publish() { atomic.StoreUint32(&r.shared.Head, r.head) }

// Sync tells the kernel to look at the rings. It fails with ErrDefunct.
func (c *Channel) Sync() error {
	c.notify()
	if !c.Active() {
		return ErrDefunct
	}
	return nil
}

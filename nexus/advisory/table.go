// Package advisory is the kernel's side of a channel's flow advisory table: which of a
// domain's flows are to pause. The domain reads the table at any time and writes nothing;
// what the kernel knows of it lies outside of it.
//
// A Table has no lock. Whoever uses one holds a lock of its own.
package advisory

import (
	"errors"
	"math/bits"
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/abi"
)

// ErrFull says that no more flows can have an entry.
var ErrFull = errors.New("advisory: the table is full")

// Chunk is a part of the table in shared memory.
type Chunk = [abi.AdvisoryChunk]abi.Advisory

// chunk is one with what the kernel knows of it.
type chunk struct {
	shared *Chunk
	used   uint64 // a bit for each entry
	own    [abi.AdvisoryChunk]entry
}

// entry is what the domain is shown of a flow. It is never read from where the domain
// sees it.
type entry struct {
	flow, state, packets, marks uint64
}

// Table is the table of one channel.
type Table struct {
	grow   func(i int) (*Chunk, error)
	most   int
	chunks []*chunk
	counts Counts
	// step is called by tests after each word that the domain can see.
	step func()
}

// Counts are a table's statistics.
type Counts struct {
	// Entries is how many flows have one, Paused how many of them are to pause.
	Entries, Paused int
	// Pauses and Releases are how often a flow was told so, for the first
	// time since the other.
	Pauses, Releases uint64
	// Stale is how often something was said of a flow that is not the entry's, and
	// Full how many flows found no room.
	Stale, Full uint64
}

// New makes an empty table of so many chunks at most. grow puts memory behind a chunk,
// which must hold zeros, and is called with 0, 1 and so on, again with the same when it
// has failed.
func New(most int, grow func(i int) (*Chunk, error)) *Table {
	return &Table{grow: grow, most: most}
}

// Counts returns the statistics.
func (t *Table) Counts() Counts { return t.counts }

// Len is how many entries the table has in all, used or not.
func (t *Table) Len() int { return len(t.chunks) * abi.AdvisoryChunk }

// Add gives a flow the first entry that is free, and says there which packets are its. It
// fails with ErrFull, or as the memory does. A flow's ID and generation are not both 0.
func (t *Table) Add(id, generation uint32, key abi.AdvisoryKey) (number uint32, err error) {
	i := 0
	for ; i < len(t.chunks) && t.chunks[i].used == 1<<64-1; i++ {
	}
	if i == len(t.chunks) {
		shared, err := (*Chunk)(nil), ErrFull
		if i < t.most {
			shared, err = t.grow(i)
		}
		if err != nil {
			t.counts.Full++
			return 0, err
		}
		t.chunks = append(t.chunks, &chunk{shared: shared})
	}
	c := t.chunks[i]
	k := bits.TrailingZeros64(^c.used)
	c.used |= 1 << k
	own := &c.own[k]
	*own = entry{flow: abi.AdvisoryFlow(id, generation)}
	// Nobody has the entry until the last word: what the flow before was told is gone by
	// then.
	e := &c.shared[k]
	t.store(&e.State, own.state)
	t.store(&e.Packets, own.packets)
	t.store(&e.Marks, own.marks)
	t.store(&e.Remote[0], key.Remote[0])
	t.store(&e.Remote[1], key.Remote[1])
	t.store(&e.Ports, key.Ports)
	t.store(&e.Flow, own.flow)
	t.counts.Entries++
	return uint32(i*abi.AdvisoryChunk + k), nil
}

// store writes a word of the table.
func (t *Table) store(word *uint64, v uint64) {
	atomic.StoreUint64(word, v)
	if t.step != nil {
		t.step()
	}
}

// find returns the entry of a flow, and what the domain sees of it; nil: it is not the
// flow's.
func (t *Table) find(number, id, generation uint32) (*entry, *abi.Advisory) {
	if i := int(number / abi.AdvisoryChunk); i < len(t.chunks) {
		c, k := t.chunks[i], number%abi.AdvisoryChunk
		if c.used>>k&1 == 1 && c.own[k].flow == abi.AdvisoryFlow(id, generation) {
			return &c.own[k], &c.shared[k]
		}
	}
	t.counts.Stale++
	return nil, nil
}

// Number returns the number of a flow's entry; false: it has none. It looks at all of them.
func (t *Table) Number(id, generation uint32) (uint32, bool) {
	flow := abi.AdvisoryFlow(id, generation)
	for i, c := range t.chunks {
		for used := c.used; used != 0; used &= used - 1 {
			if k := bits.TrailingZeros64(used); c.own[k].flow == flow {
				return uint32(i*abi.AdvisoryChunk + k), true
			}
		}
	}
	return 0, false
}

// Remove takes a flow's entry back, when the flow ends. It reports whether the flow was to
// pause: then the domain is to be told.
func (t *Table) Remove(number, id, generation uint32) (paused bool) {
	own, e := t.find(number, id, generation)
	if own == nil {
		return false
	}
	if paused = own.state&1 == 1; paused {
		t.counts.Paused--
	}
	t.chunks[number/abi.AdvisoryChunk].used &^= 1 << (number % abi.AdvisoryChunk)
	t.store(&e.Flow, 0)
	t.counts.Entries--
	return paused
}

// Pause says that a flow is to pause, and Release that it may go on. They report whether
// that is new: then the domain is to be told. What is said of another flow than the
// entry's is not heard.
func (t *Table) Pause(number, id, generation uint32) (changed bool) {
	if !t.change(number, id, generation, 1) {
		return false
	}
	t.counts.Paused++
	t.counts.Pauses++
	return true
}

// Release is the contrary of Pause.
func (t *Table) Release(number, id, generation uint32) (changed bool) {
	if !t.change(number, id, generation, 0) {
		return false
	}
	t.counts.Paused--
	t.counts.Releases++
	return true
}

// change makes a flow's state odd or even.
func (t *Table) change(number, id, generation uint32, odd uint64) bool {
	own, e := t.find(number, id, generation)
	if own == nil || own.state&1 == odd {
		return false
	}
	own.state++
	t.store(&e.State, own.state)
	return true
}

// Sent notes that packets of a flow have left, and how many of them were marked.
func (t *Table) Sent(number, id, generation uint32, packets, marks uint64) {
	own, e := t.find(number, id, generation)
	if own == nil {
		return
	}
	own.packets += packets
	own.marks += marks
	t.store(&e.Packets, own.packets)
	t.store(&e.Marks, own.marks)
}

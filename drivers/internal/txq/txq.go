// Package txq keeps a driver's books of frames on their way out: which places are taken in
// its transmit arena, who has the frame in each, and what the caller of the driver has yet
// to be told. Rings and descriptors are each driver's own, and so is the lock.
//
// A frame's place is free, then reserved (the caller is writing the frame), then lent (the
// device is reading it), then free again. Places are taken and given back in one order, as
// their spans of the arena are; a frame that is done before an older one waits for that.
package txq

import (
	"fmt"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/arena"
	"github.com/sluice-os/sluice/drivers/nic"
)

// state says how far a frame has come.
type state uint8

const (
	free     state = iota // no frame, or done and not yet the oldest
	reserved              // the caller is writing it
	lent                  // the device is reading it
)

// Place is one place for a frame.
type Place struct {
	// Span is where the frame lies, behind the bytes that the driver writes in front.
	Span arena.Span

	state state
	need  int32 // descriptors at most
	len   int   // bytes of the frame, without those in front
}

// Frames are the places of one transmit ring. Their methods are called under the driver's
// lock, and none but Open allocates.
type Frames struct {
	// Memory is the arena, which the device reads. It is set by Open.
	Memory hw.Memory

	arena arena.Arena
	front int // bytes in front of each frame
	split int // descriptors more for a frame in two pieces

	places []Place // a power of two; the index is nic.Buffer.ID
	oldest uint32  // free-running indexes into places
	newest uint32

	promised int // descriptors that reserved frames may need
	inFlight int // frames that are lent
	finished int // bytes that are done with and were not told yet

	since time.Time // when frames were first seen in flight with none finished since
}

// Open takes size bytes of device memory, rounded down to whole cache lines, for frames in
// so many places, a power of two. The driver writes front bytes before each frame. A frame
// that lies in two pieces takes split more descriptors than in one.
func (f *Frames) Open(mem *hw.DMA, places, size, front, split int) (err error) {
	f.arena, f.front, f.split = arena.New(size, front), front, split
	if f.Memory, err = mem.Alloc(f.arena.Size(), hw.ToDevice); err != nil {
		return fmt.Errorf("memory for the transmit arena: %w", err)
	}
	f.places = make([]Place, places)
	return nil
}

// Free gives the memory back, if Open has got any.
func (f *Frames) Free(mem *hw.DMA) {
	if f.Memory.Bytes != nil {
		mem.Free(f.Memory)
	}
}

// Reserve takes the next place, for a frame of n bytes, and appends its buffers to p, which
// is empty. It reports false when there is none now: of room free descriptors, those that
// are not promised must be enough for the frame in two pieces. In one it takes need.
func (f *Frames) Reserve(p *nic.Packet, n, room, need int) bool {
	if f.newest-f.oldest == uint32(len(f.places)) || room-f.promised < need+f.split {
		return false
	}
	s, fits := f.arena.Take(f.front + n)
	if !fits {
		return false
	}
	if s.Rest > 0 {
		need += f.split
	}
	index := f.newest & uint32(len(f.places)-1)
	f.places[index] = Place{Span: s, state: reserved, need: int32(need), len: n}
	f.newest++
	f.promised += need

	b := f.Memory.Bytes
	end := s.Start + s.First
	p.Buffers = append(p.Buffers, nic.Buffer{Bytes: b[s.Start+f.front : end : end], ID: index})
	if s.Rest > 0 {
		p.Buffers = append(p.Buffers, nic.Buffer{Bytes: b[:s.Rest:s.Rest], ID: index})
	}
	p.Len = n
	return true
}

// Refusal says why a packet cannot be transmitted.
type Refusal uint8

const (
	OK          Refusal = iota
	NotReserved         // it is none that Reserve has filled
	BadLength           // it is shorter than an Ethernet header, or longer than reserved
)

// Claim ends the reservation of p and returns its place, whose index is that of Done. The
// caller lends it to the device or leaves it: it is free.
func (f *Frames) Claim(p *nic.Packet) (index uint32, place *Place, refusal Refusal) {
	if len(p.Buffers) == 0 {
		return 0, nil, NotReserved
	}
	index = p.Buffers[0].ID
	if int64(index) >= int64(len(f.places)) || f.places[index].state != reserved {
		return 0, nil, NotReserved
	}
	place = &f.places[index]
	place.state = free
	f.promised -= int(place.need)
	if p.Len < nic.HeaderLen || p.Len > place.len {
		return 0, nil, BadLength
	}
	return index, place, OK
}

// Lend makes a place that was claimed the device's, with a frame of n bytes in it.
func (f *Frames) Lend(place *Place, n int) {
	place.state, place.len = lent, n
	f.inFlight++
}

// Drop counts p, which is not lent, as finished: its caller waits for all that it has
// transmitted.
func (f *Frames) Drop(p *nic.Packet) { f.finished += max(p.Len, 0) }

// Done takes back a place from the device, to which it must be lent.
func (f *Frames) Done(index uint32) {
	place := &f.places[index]
	place.state = free
	f.finished += place.len
	f.inFlight--
}

// Retire gives back the places of the oldest frames that are done, in the order in which
// they were reserved.
func (f *Frames) Retire() {
	for f.oldest != f.newest {
		place := &f.places[f.oldest&uint32(len(f.places)-1)]
		if place.state != free {
			return
		}
		f.arena.GiveBack(place.Span)
		f.oldest++
	}
}

// Reclaimed retires after a number of Done, all that the device has shown: it makes progress.
func (f *Frames) Reclaimed() {
	f.Retire()
	f.since = time.Time{}
}

// Reset takes back what was lent to a device that has been reset, and returns how many
// frames that were. Reserved places stay reserved.
func (f *Frames) Reset() (lost int) {
	for i := range f.places {
		if f.places[i].state == lent {
			f.Done(uint32(i))
			lost++
		}
	}
	f.Reclaimed()
	return lost
}

// Watch is called when frames should have been finished. It returns an error when the
// device has finished none for longer than timeout; one that cannot finish any, as able
// says, has all the time. now is read only when there is something to watch.
func (f *Frames) Watch(now func() time.Time, timeout time.Duration, able bool) error {
	if f.inFlight == 0 || !able {
		f.since = time.Time{}
		return nil
	}
	t := now()
	if f.since.IsZero() {
		f.since = t
	} else if stalled := t.Sub(f.since); stalled > timeout {
		return fmt.Errorf("device finished none of %d frames in %v", f.inFlight, stalled)
	}
	return nil
}

// InFlight returns how many frames the device has.
func (f *Frames) InFlight() int { return f.inFlight }

// Promised returns how many descriptors the reserved frames may need.
func (f *Frames) Promised() int { return f.promised }

// Untold reports whether TakeFinished would return more than 0.
func (f *Frames) Untold() bool { return f.finished > 0 }

// TakeFinished returns how many bytes of frames are done with since the last call: sent,
// lost in a reset, or dropped.
func (f *Frames) TakeFinished() int {
	n := f.finished
	f.finished = 0
	return n
}

// Places returns how many places are taken.
func (f *Frames) Places() int { return int(f.newest - f.oldest) }

// Used returns how many bytes of the arena are taken, with what lies between frames.
func (f *Frames) Used() int { return f.arena.Used() }

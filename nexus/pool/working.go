package pool

import (
	"math"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
)

// This file owns how large a working set is: a function of what happens and when, which
// touches nothing.

const (
	// Window is for how long at least a quarter of a working set must be unused
	// before it shrinks by that quarter.
	Window = 2 * time.Second
	// Idle is after how long without use it shrinks to its floor.
	Idle = 10 * time.Second
	// Deadline is how long a domain may keep what it was asked to give back.
	Deadline = abi.HoldSeconds * time.Second
	// StepMax is the most of the deadline that passes from one look to the next,
	// whatever a clock says: a machine that stood still has not waited for anybody.
	StepMax = time.Second
)

// Bounds are what a working set is kept within. The floor wins.
type Bounds struct{ Floor, Limit int }

// Working is the size of a working set, and what is known of its use.
type Working struct {
	Size   int
	unused int           // the least in this window
	spare  int           // that of the last one
	began  time.Duration // when the window began
	used   time.Duration // when the set was used last
}

// Event is what happens to a working set.
type Event struct {
	Kind Kind
	// N is a size: see the kinds.
	N int
	// Active says, of Looked, that the set was used since the last one.
	Active bool
}

// Kind is that of an event.
type Kind uint8

const (
	// Dry says that all of the set was in use, and N were wanted. It grows by half,
	// and to N at least.
	Dry Kind = iota
	// Looked says that N of the set were unused at least, all the time since the
	// last Looked.
	Looked
	// Asked says that the set must not be larger than N for now.
	Asked
)

// NewWorking is the least working set, used last at time 0.
func NewWorking(b Bounds) Working { return Working{Size: b.Floor, unused: math.MaxInt} }

// From is the same working set, whose use is known from now on.
func (w Working) From(now time.Duration) Working {
	w.began, w.used = now, now
	return w
}

// Next is the working set after an event.
func (w Working) Next(b Bounds, now time.Duration, e Event) Working {
	switch e.Kind {
	case Dry:
		w.Size = max(w.Size+max(w.Size/2, 1), e.N)
		w.unused, w.spare = 0, 0
	case Asked:
		w.Size = min(w.Size, e.N)
	case Looked:
		w.unused = min(w.unused, e.N)
		if e.Active {
			w.used = now
		}
		switch {
		case now-w.used >= Idle:
			w.Size = b.Floor
		case now-w.began < Window:
			return w
		case w.unused >= (w.Size+3)/4:
			w.Size -= (w.Size + 3) / 4
		}
		w.began, w.spare, w.unused = now, w.unused, math.MaxInt
	}
	w.Size = max(min(w.Size, b.Limit), b.Floor)
	return w
}

// Spare is how many of the set have been unused for a window and are still.
func (w Working) Spare() int { return min(w.spare, w.unused, w.Size) }

// Debt is what a domain was asked for and still has. The zero value is none.
type Debt struct {
	open bool
	new  bool
	hold int // what it may keep
	left time.Duration
}

// Next is the debt after a step of time in which the domain may hold so many and has
// held so many. A debt is settled when the domain holds what it was asked to, or may
// hold more again. overdue says that it has kept it for the Deadline. excused says that
// it could not give it back: then no time passes.
func (d Debt) Next(step time.Duration, hold, held int, excused bool) (next Debt, overdue bool) {
	switch {
	case held <= hold, d.open && held <= d.hold:
		d = Debt{}
	case d.open && !excused:
		d.left -= min(step, StepMax)
	}
	d.new = false
	if !d.open && held > hold {
		d = Debt{open: true, new: true, hold: hold, left: Deadline}
	}
	return d, d.open && d.left <= 0
}

// Open says that there is a debt.
func (d Debt) Open() bool { return d.open }

// New says that the debt began with the last step.
func (d Debt) New() bool { return d.new }

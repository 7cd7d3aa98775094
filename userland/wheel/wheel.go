// Package wheel keeps the timers of a network stack: many at a time, of which
// nearly all are stopped or moved before they end. It is a hierarchical timing
// wheel (G. Varghese, A. Lauck: Hashed and Hierarchical Timing Wheels, 1987,
// scheme 7): starting and stopping a timer takes the same few instructions however
// many there are, where the runtime's heap is gone through again and again.
package wheel

import (
	"math/bits"
	"sync"
	"time"
)

const (
	// Tick is the resolution. A timer ends up to a tick late and never early.
	Tick = time.Millisecond

	slotBits = 6
	slots    = 1 << slotBits
	levels   = 5
	// reach is how many ticks ahead a timer can lie, 12 days: one that is further
	// away is put there, and put again when it is reached.
	reach = 1<<(slotBits*levels) - 1
)

// Alarm calls the wheel's Run when time has come. It is armed with the time to wait;
// arming it anew replaces that.
type Alarm interface {
	Reset(time.Duration) bool
}

// Wheel is a set of timers. Its methods may be called concurrently.
type Wheel struct {
	now   func() time.Duration // since some beginning; never goes back
	start func(func())         // has the function of a timer run, and does not wait for it
	alarm Alarm

	mu sync.Mutex
	// turned is the tick up to which all timers have ended.
	turned int64
	// armed is the tick that the alarm is set to, 0: none, as there are no timers. No slot with
	// timers begins before it.
	armed int64
	level [levels]level
}

// level is a ring of lists. One slot of a level spans all those of the level below.
type level struct {
	used uint64 // bit i: slot i has timers
	slot [slots]*Timer
}

// Timer is one event. It is in at most one list.
type Timer struct {
	wheel      *Wheel
	f          func()
	at         int64 // the tick at which it ends
	next, prev *Timer
	place      int16 // level*slots + slot, while it is waiting
	waiting    bool
}

// New makes a wheel. now tells the time and start runs the function of a timer that
// has ended.
func New(now func() time.Duration, start func(func())) *Wheel {
	return &Wheel{now: now, start: start, turned: int64(now() / Tick)}
}

// SetAlarm names what calls Run. It comes before the first timer.
func (w *Wheel) SetAlarm(a Alarm) { w.alarm = a }

// AfterFunc has f run when d has passed.
func (w *Wheel) AfterFunc(d time.Duration, f func()) *Timer {
	t := &Timer{wheel: w, f: f}
	t.Reset(d)
	return t
}

// Stop keeps the timer from ending. It reports false when it has ended, or was
// stopped before.
func (t *Timer) Stop() bool {
	w := t.wheel
	w.mu.Lock()
	defer w.mu.Unlock()
	waiting := t.waiting
	if waiting {
		w.remove(t)
	}
	return waiting
}

// Reset has the timer end when d has passed from now, whether it was waiting or not.
func (t *Timer) Reset(d time.Duration) {
	w := t.wheel
	w.mu.Lock()
	if t.waiting {
		w.remove(t)
	}
	now := w.now()
	if d < 0 {
		d = 0
	}
	end := now + d
	if end < now { // beyond all time
		end = 1<<63 - 1 - Tick
	}
	t.at = int64((end + Tick - 1) / Tick)
	// Where nothing lies in between, the wheel need not be turned to be up to date.
	if tick := int64(now / Tick); tick > w.turned && (w.armed > tick || w.next() > tick) {
		w.turned = tick
	}
	w.arm(w.add(t))
	w.mu.Unlock()
}

// Run ends all timers whose time has come. The alarm calls it; it may be called at any
// time.
func (w *Wheel) Run() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = 0
	now := int64(w.now() / Tick)
	for w.turned < now {
		next := w.next()
		if next > now {
			w.turned = now
			break
		}
		w.turned = next
		w.turn()
	}
	w.arm(w.next())
}

// turn empties the slots that begin at w.turned, the highest level first: what lies in a
// slot of a higher level comes to the levels below.
func (w *Wheel) turn() {
	for l := levels - 1; l >= 0; l-- {
		if w.turned&(1<<(slotBits*l)-1) != 0 {
			continue
		}
		s := int(w.turned >> (slotBits * l) & (slots - 1))
		lv := &w.level[l]
		t := lv.slot[s]
		lv.slot[s] = nil
		lv.used &^= 1 << s
		for t != nil {
			next := t.next
			t.next, t.prev, t.waiting = nil, nil, false
			if t.at <= w.turned {
				w.start(t.f)
			} else {
				w.add(t)
			}
			t = next
		}
	}
}

// add puts a timer where it belongs, and returns the tick at which that slot begins. One whose
// time has come ends with the next tick.
func (w *Wheel) add(t *Timer) int64 {
	at := min(max(t.at, w.turned+1), w.turned+reach)
	// The level is that of the highest group of bits in which the times differ: the
	// slot is entered when all groups above it are equal.
	l := (bits.Len64(uint64(at^w.turned)) - 1) / slotBits
	if l >= levels {
		l = levels - 1
	}
	shift := slotBits * l
	s := int(at >> shift & (slots - 1))
	lv := &w.level[l]
	t.next, t.prev = lv.slot[s], nil
	if t.next != nil {
		t.next.prev = t
	}
	lv.slot[s] = t
	lv.used |= 1 << s
	t.place, t.waiting = int16(l*slots+s), true
	return at >> shift << shift
}

// remove takes a waiting timer out of its list.
func (w *Wheel) remove(t *Timer) {
	if t.next != nil {
		t.next.prev = t.prev
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		lv, s := &w.level[t.place/slots], t.place%slots
		lv.slot[s] = t.next
		if t.next == nil {
			lv.used &^= 1 << s
		}
	}
	t.next, t.prev, t.waiting = nil, nil, false
}

// none is a tick that never comes.
const none = 1<<63 - 1

// next is the first tick after w.turned at which a slot with timers begins.
func (w *Wheel) next() int64 {
	first := int64(none)
	for l := range levels {
		used := w.level[l].used
		if used == 0 {
			continue
		}
		shift := slotBits * l
		cursor := w.turned >> shift
		// The slots in the order in which they begin, from the one after the cursor.
		ahead := bits.RotateLeft64(used, -int(cursor+1)&(slots-1))
		at := (cursor + 1 + int64(bits.TrailingZeros64(ahead))) << shift
		first = min(first, at)
	}
	return first
}

// arm sets the alarm to the tick at which a slot begins, if it is not set to as early a time. An
// alarm for a timer that is stopped stays: nothing is found when it comes.
func (w *Wheel) arm(next int64) {
	if next == none || w.armed != 0 && w.armed <= next {
		return
	}
	w.armed = next
	w.alarm.Reset(time.Duration(next)*Tick - w.now())
}

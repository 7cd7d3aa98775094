// Package irq routes interrupts: it gives each source one of the kernel's
// events, programs the interrupt controllers, and parks goroutines until an
// event comes.
package irq

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/sluice-os/sluice/kernel/hooks"
	"github.com/sluice-os/sluice/kernel/trap"
)

var next = uint(trap.EventTick + 1)

// limit is the first event that no interrupt has: goos.LastEvent.
const limit = 62

// edges are the lines in use that one device has alone, by global number.
var edges = map[int]bool{}

// Event is one interrupt source. It implements hw.Interrupt.
type Event struct {
	n uint
	// message is its number as a message; 0: it is none.
	message uint32
}

// allocate takes the next event.
func allocate(name string) (*Event, error) {
	if next >= limit {
		return nil, fmt.Errorf("%s: all %d interrupt events are in use", name, limit)
	}
	e := &Event{n: next}
	next++
	return e, nil
}

// Wait implements hw.Interrupt.
func (e *Event) Wait() {
	if hooks.Wait != nil {
		hooks.Wait(e.n)
		return
	}
	// A runtime without events: look each time the scheduler comes round.
	for bit := uint64(1) << e.n; ; runtime.Gosched() {
		if atomic.LoadUint64(&hooks.Pending)&bit != 0 {
			atomic.AndUint64(&hooks.Pending, ^bit)
			return
		}
	}
}

// Raise implements hw.Interrupt.
func (e *Event) Raise() { atomic.OrUint64(&hooks.Pending, 1<<e.n) }

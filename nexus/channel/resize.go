package channel

import (
	"errors"
	"fmt"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
)

// ErrBusy says that more waits in a ring than it could hold.
var ErrBusy = errors.New("channel: what waits in the ring does not fit")

// Resize gives one ring n slots, at the domain's request and while its other rings go
// on: what waits in the ring goes with it. The pools stay, so that an rx ring of more
// slots than there can be packets gains nothing; the alloc ring decides about how much the
// domain may hold to fill. With an error all is as it was:
// arena.ErrBounds, ErrBusy, ErrClosed, that of the memory, or a *Violation. The domain
// does not use the ring meanwhile; what one that does so writes to the old slots is
// lost, and what it writes to the head is checked as ever.
func (c *Channel) Resize(kind, n int) error {
	c.tx.Lock()
	defer c.tx.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		return c.over
	}
	if kind < 0 || kind >= abi.RingKinds {
		return fmt.Errorf("%w: ring %d, want 0 to %d", arena.ErrBounds, kind, abi.RingKinds-1)
	}
	r := c.rings[kind]
	if err := r.Sync(); err != nil {
		return c.violated(kind, err)
	}
	if w := r.Waiting(); w >= n && n > 0 {
		return fmt.Errorf("%w: %d in the %s ring, want %d at most", ErrBusy, w, RingName(kind), n-1)
	}
	if err := c.arena.Resize(kind, n, r.Move); err != nil {
		return err
	}
	if kind == abi.RingAlloc {
		c.accepts.Store(int64(c.arena.Accepts()))
		c.bound()
		c.refill()
		r.Publish()
		if c.hold() {
			c.tell()
		}
	}
	if kind == abi.RingRx && c.held && r.Ready() {
		c.held = false
		c.tell()
	}
	return nil
}

// Accepts is the longest packet that the domain can always be given when it has read
// the others, in bytes.
func (c *Channel) Accepts() int { return int(c.accepts.Load()) }

// Package picker decides which domain runs next on a processor. It is pure: time
// is an argument, nothing waits, and after Add nothing is allocated.
//
// Each client has a virtual time, which grows with the time that it ran divided
// by its weight; the ready client that is furthest behind runs next. One that
// wakes comes with at most one slice of credit, so that it runs soon and yet
// gains nothing by sleeping. This is start-time fair queueing (Goyal, Vin,
// Cheng, 1996) with a cap: a client may be held to a part of the processor.
package picker

import (
	"errors"
	"fmt"
	"math"
)

const (
	// Slice is how long a client runs at a time, in nanoseconds.
	Slice = 2_000_000
	// Max is how many clients there can be: a choice looks at all of them.
	Max = 64
	// WeightMax and DefaultWeight bound and give weights.
	WeightMax     = 10_000
	DefaultWeight = 100
	// Whole is the cap of all of a processor: caps are thousandths.
	Whole = 1000
	// Window is the time over which a cap holds, in nanoseconds.
	Window = 100_000_000
	// rebase is the virtual time at which all of them begin anew at zero: one
	// of weight 1 alone would else overflow it in three years.
	rebase = 1 << 60
)

// Client is one that wants to run.
type Client struct {
	weight int64
	cap    int64 // thousandths; 0 for none
	ready  bool
	vtime  int64 // nanoseconds at DefaultWeight
	since  int64 // number of its last Ready: of two with one vtime, the later goes first
	// budget is what a capped client may still run, as of filled, in thousandths
	// of a nanosecond: so nothing is lost to rounding however often it is filled.
	// It may be negative: then it waits until that is paid back.
	budget int64
	filled int64
}

// Picker holds the clients of one processor.
type Picker struct {
	clients []*Client
	count   int64 // of calls to Ready
	floor   int64 // virtual time that no client that joins or wakes is behind
}

var errMax = errors.New("there are 64 domains already: no more can run")

// Add makes a client that is not ready. weight is 1 to WeightMax; cap is 0 for
// none, else 1 to Whole.
func (p *Picker) Add(weight, cap int) (*Client, error) {
	if weight < 1 || weight > WeightMax {
		return nil, fmt.Errorf("weight %d: want 1 to %d", weight, WeightMax)
	}
	if cap < 0 || cap > Whole {
		return nil, fmt.Errorf("cap %d: want 0 to %d thousandths", cap, Whole)
	}
	if len(p.clients) == Max {
		return nil, errMax
	}
	c := &Client{weight: int64(weight), cap: int64(cap), vtime: p.floor}
	p.clients = append(p.clients, c)
	return c, nil
}

// Remove forgets a client.
func (p *Picker) Remove(c *Client) {
	for i, o := range p.clients {
		if o == c {
			last := len(p.clients) - 1
			p.clients[i], p.clients[last] = p.clients[last], nil
			p.clients = p.clients[:last]
			return
		}
	}
}

// Ready says that a client wants to run. It may be said again.
func (p *Picker) Ready(c *Client, now int64) {
	if c.ready {
		return
	}
	if c.cap != 0 && c.filled == 0 {
		c.budget, c.filled = Window*c.cap, now
	}
	p.count++
	c.ready, c.since = true, p.count
	c.vtime = max(c.vtime, p.floor-virtual(Slice, c.weight))
}

// Sleep says that a client does not want to run.
func (p *Picker) Sleep(c *Client, now int64) { c.ready = false }

// Charge says that a client has run for some nanoseconds.
func (p *Picker) Charge(c *Client, ran, now int64) {
	if ran <= 0 {
		return
	}
	c.vtime += virtual(ran, c.weight)
	if c.cap != 0 {
		c.fill(now)
		c.budget -= ran * Whole
	}
}

// virtual is by how much virtual time grows.
func virtual(ran, weight int64) int64 { return ran * DefaultWeight / weight }

// fill gives a capped client what it may run since the last time, and no more
// than a window's worth in all.
func (c *Client) fill(now int64) {
	full := Window * c.cap
	if gap := now - c.filled; gap > 0 {
		gap = min(gap, (full-c.budget)/c.cap+1)
		c.budget = min(c.budget+gap*c.cap, full)
		c.filled = now
	}
}

// Pick returns the client that runs next; nil when none may. wake is then when
// that changes by itself; math.MaxInt64 for never.
func (p *Picker) Pick(now int64) (next *Client, wake int64) {
	wake = math.MaxInt64
	for _, c := range p.clients {
		if !c.ready {
			continue
		}
		if c.cap != 0 {
			if c.fill(now); c.budget <= 0 {
				// It runs again when a slice of its budget is there.
				wake = min(wake, now+(min(Slice*Whole, Window*c.cap)-c.budget)/c.cap)
				// What a cap takes from it is no credit: else it would fall ever
				// further behind and go before those that wake.
				c.vtime = max(c.vtime, p.floor)
				continue
			}
		}
		if next == nil || c.vtime < next.vtime || c.vtime == next.vtime && c.since > next.since {
			next = c
		}
	}
	if next != nil {
		p.floor = max(p.floor, next.vtime)
	}
	if p.floor >= rebase {
		for _, c := range p.clients {
			c.vtime = max(c.vtime-p.floor, -rebase)
		}
		p.floor = 0
	}
	return next, wake
}

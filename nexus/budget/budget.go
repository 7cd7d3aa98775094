package budget

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/pool"
)

// Channel is what a member of the budget does.
type Channel interface {
	SetBudget(channel.Budget)
	Floor() int
	Look(now time.Duration) pool.Use
	Use() pool.Use
	Limit(bytes int)
	Retry()
}

// Budget is the machine's memory for packets. Its methods may be called concurrently, but
// for Run.
type Budget struct {
	limit int64
	used  atomic.Int64
	// asked says that somebody was refused, and that others were asked for it; empty
	// says that the machine had no memory although the budget had.
	asked, empty atomic.Bool
	refused      atomic.Uint64
	kick         chan struct{}

	mu      sync.Mutex
	members []*member

	// What follows belongs to Run.
	list   []*member
	claims []Claim
	shares []int
	tight  bool // there are limits
}

// member is a channel of the budget. It implements channel.Budget.
type member struct {
	budget  *Budget
	channel Channel
	weight  int
	held    atomic.Int64
}

// New makes a budget of so many bytes.
func New(limit int) *Budget {
	return &Budget{limit: int64(limit), kick: make(chan struct{}, 1)}
}

// Join has a channel take its memory from the budget, until it is closed. weight is its
// share of what is scarce, 1 or more. What it has already it keeps, even when the budget is
// used up: others are asked for it then.
func (b *Budget) Join(c Channel, weight int) {
	m := &member{budget: b, channel: c, weight: max(weight, 1)}
	m.held.Store(int64(c.Floor()))
	b.used.Add(int64(c.Floor()))
	c.SetBudget(m)
	b.mu.Lock()
	b.members = append(b.members, m)
	b.mu.Unlock()
}

// Take implements channel.Budget.
func (m *member) Take(bytes int) bool {
	b, n := m.budget, int64(bytes)
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		b.refuse()
		return false
	}
	m.held.Add(n)
	return true
}

// Give implements channel.Budget.
func (m *member) Give(bytes int) {
	m.held.Add(-int64(bytes))
	m.budget.used.Add(-int64(bytes))
	if m.budget.asked.Load() { // somebody waits for it
		m.budget.wake()
	}
}

// Leave implements channel.Budget.
func (m *member) Leave() {
	m.Give(int(m.held.Load()))
	b := m.budget
	b.mu.Lock()
	b.members = slices.DeleteFunc(b.members, func(x *member) bool { return x == m })
	b.mu.Unlock()
}

// wake has Wait return.
func (b *Budget) wake() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// Kick has a value when memory was refused, or has come back for who was refused: Run is
// to be called.
func (b *Budget) Kick() <-chan struct{} { return b.kick }

// Fail implements channel.Budget.
func (m *member) Fail(bytes int) {
	b := m.budget
	m.held.Add(-int64(bytes))
	b.used.Add(-int64(bytes))
	b.empty.Store(true)
	b.refuse()
}

func (b *Budget) refuse() {
	b.refused.Add(1)
	if !b.asked.Load() {
		b.wake()
	}
}

// Limit is how many bytes there are, Used how many are taken, and Refused how often some
// were refused.
func (b *Budget) Limit() int      { return int(b.limit) }
func (b *Budget) Used() int       { return int(b.used.Load()) }
func (b *Budget) Refused() uint64 { return b.refused.Load() }

// Run is called about once a second, with tick, and after each Kick. It has the channels
// look at what they do not use, and when one has been refused memory asks the others for
// theirs.
func (b *Budget) Run(now time.Duration, tick bool) {
	b.asked.Store(false)
	limit := int(b.limit)
	if b.empty.Swap(false) { // there are no frames, whatever the budget says
		limit = min(limit, b.Used())
	}
	b.mu.Lock()
	b.list = append(b.list[:0], b.members...)
	b.mu.Unlock()
	b.claims = b.claims[:0]
	short := false
	for _, m := range b.list {
		c := Claim{Weight: m.weight}
		if tick {
			c.Use = m.channel.Look(now)
		} else {
			c.Use = m.channel.Use()
		}
		short = short || c.Want > c.Held
		b.claims = append(b.claims, c)
	}
	switch {
	case short:
		b.ask(limit)
	case b.tight:
		b.tight = false
		for _, m := range b.list {
			m.channel.Limit(channel.NoLimit)
		}
	}
	clear(b.list) // keeps nobody alive
}

// ask limits all channels to their shares, and lets those try again that were refused.
func (b *Budget) ask(limit int) {
	b.tight = true
	b.asked.Store(true)
	b.shares = slices.Grow(b.shares[:0], len(b.claims))[:len(b.claims)]
	Share(limit, b.claims, b.shares)
	for i, m := range b.list {
		m.channel.Limit(b.shares[i])
	}
	for i, m := range b.list {
		if c := &b.claims[i]; c.Want > c.Held {
			m.channel.Retry()
		}
	}
}

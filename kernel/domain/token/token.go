// Package token says which domain runs: one at a time. Go's run queue knows no weights, so
// the goroutines of the others wait here. The picker says whose turn it is.
package token

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/sluice-os/sluice/kernel/domain/picker"
	"github.com/sluice-os/sluice/nexus/netif"
)

// Token is what the domain has that runs.
type Token struct {
	now     func() int64 // a clock, in nanoseconds
	mu      sync.Mutex
	picker  picker.Picker
	waiting []*Turn // who wants it
	held    bool
	timer   *time.Timer // looks again when a capped domain may run
}

// Turn is a domain's place in the queue for the token.
type Turn struct {
	token  *Token
	client *picker.Client
	grant  chan struct{}
	// since is when the slice began. All time from then on is charged, that in
	// the kernel on the domain's behalf too.
	since int64
	begun bool // the domain has run in this slice
	// owed takes what is to be charged beside it, in nanoseconds.
	owed func() int64
	// elsewhere is what netif.Elsewhere was then: what cards have done meanwhile is on the
	// account of those for whom it was done.
	elsewhere time.Duration
}

// New makes a token that nobody has, with a clock.
func New(now func() int64) *Token {
	t := &Token{now: now}
	t.timer = time.AfterFunc(time.Hour, t.again)
	return t
}

// Join gives a domain a place; see picker.Picker.Add. owed takes what it is to be charged for beside
// its slices, in nanoseconds.
func (t *Token) Join(weight, cap int, owed func() int64) (*Turn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, err := t.picker.Add(weight, cap)
	if err != nil {
		return nil, err
	}
	return &Turn{token: t, client: c, grant: make(chan struct{}, 1), owed: owed}, nil
}

// Leave gives up the place. The token must not be held.
func (u *Turn) Leave() {
	u.token.mu.Lock()
	u.token.picker.Remove(u.client)
	u.token.mu.Unlock()
}

// Acquire waits for the token.
func (u *Turn) Acquire() {
	t := u.token
	t.mu.Lock()
	now := t.now()
	t.picker.Ready(u.client, now)
	u.wait(now)
}

// wait queues for the token and waits until it is granted. t.mu is held; wait
// releases it.
func (u *Turn) wait(now int64) {
	t := u.token
	t.waiting = append(t.waiting, u)
	next := t.next(now)
	if next != nil && next != u {
		next.grant <- struct{}{}
	}
	t.mu.Unlock()
	if next != u {
		<-u.grant
		now = t.now()
	}
	u.since, u.begun, u.elsewhere = now, false, netif.Elsewhere()
}

// used is how long the slice has taken.
func (u *Turn) used() int64 {
	return max(u.token.now()-u.since-int64(netif.Elsewhere()-u.elsewhere), 0)
}

// end ends the slice: the kernel's goroutines run first, and those of domains that
// wake queue for the token. It is held meanwhile, so that no other domain's goroutine
// is in Go's run queue, where nobody has a weight. Who was woken by what the domain did
// last is in the queue then: else whoever is there already would run for a slice
// between two that talk to each other. It returns the time, with t.mu held.
func (u *Turn) end() (now int64) {
	used := u.used()
	runtime.Gosched()
	used += u.owed()
	t := u.token
	t.mu.Lock()
	now = t.now()
	t.picker.Charge(u.client, used, now)
	t.held = false
	return now
}

// Yield ends the slice and waits for the next.
func (u *Turn) Yield() { u.wait(u.end()) }

// Release gives the token up; the domain waits for something.
func (u *Turn) Release() { u.Rest(func() bool { return false }) }

// Rest ends the slice and gives the token up, unless the domain has been woken by then: it waits
// for the next slice then, as in Yield. It reports whether the token was given up.
func (u *Turn) Rest(woken func() bool) bool {
	t, now := u.token, u.end()
	if woken() {
		u.wait(now)
		return false
	}
	t.picker.Sleep(u.client, now)
	t.pick(now)
	t.mu.Unlock()
	return true
}

// Begin says whether the domain may run at a time: its slice, of which is what was done for it in
// the kernel too, has not ended, or it has not run in it yet.
func (u *Turn) Begin(now int64) bool {
	if u.begun && now-u.since >= picker.Slice {
		return false
	}
	u.begun = true
	return true
}

// Over says that the slice has ended by time.
func (u *Turn) Over() bool { return u.token.now()-u.since >= picker.Slice }

// next takes who is to have the token out of those that wait, if nobody has it; nil: nobody is
// to. t.mu is held.
func (t *Token) next(now int64) *Turn {
	if t.held || len(t.waiting) == 0 {
		return nil
	}
	c, wake := t.picker.Pick(now)
	if c == nil {
		if wake != math.MaxInt64 {
			t.timer.Reset(time.Duration(wake - now))
		}
		return nil
	}
	// Each client that is ready waits, but for the one that holds the token.
	i := slices.IndexFunc(t.waiting, func(u *Turn) bool { return u.client == c })
	u := t.waiting[i]
	t.waiting = slices.Delete(t.waiting, i, i+1)
	t.held = true
	return u
}

// pick grants the token if nobody has it. t.mu is held.
func (t *Token) pick(now int64) {
	if u := t.next(now); u != nil {
		u.grant <- struct{}{}
	}
}

func (t *Token) again() {
	t.mu.Lock()
	t.pick(t.now())
	t.mu.Unlock()
}

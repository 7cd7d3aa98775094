package domain

import (
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/domain/picker"
	"github.com/sluice-os/sluice/nexus/netif"
)

// token lets one domain at a time run: Go's run queue knows no weights, so the
// goroutines of the others wait here. The picker says whose turn it is.
type token struct {
	mu      sync.Mutex
	picker  picker.Picker
	waiting map[*picker.Client]chan struct{} // who wants it
	held    bool
	// refreshed is when the processor has dropped its translations last. It belongs to
	// who holds the token.
	refreshed int64
	timer     *time.Timer // looks again when a capped domain may run
}

// refreshEvery is how often the processor drops the translations of addresses that it
// keeps, in nanoseconds. A processor has no need of it. QEMU's emulation gives its table
// of them another size only then: a domain that is alone in the machine would stay with
// the first 256 for ever.
const refreshEvery = 100_000_000

// refresh drops translations when it is time to.
func (t *token) refresh(now int64) {
	if now-t.refreshed >= refreshEvery {
		t.refreshed = now
		cpu.FlushTLB()
	}
}

// turn is a domain's place in the queue for the token.
type turn struct {
	token  *token
	client *picker.Client
	grant  chan struct{}
	// since is when the slice began. All time from then on is charged, that in
	// the kernel on the domain's behalf too.
	since int64
	// owed takes what is to be charged beside it, in nanoseconds.
	owed func() int64
	// elsewhere is what netif.Elsewhere was then: what cards have done meanwhile is on the
	// account of those for whom it was done.
	elsewhere time.Duration
}

func newToken() *token {
	t := &token{waiting: map[*picker.Client]chan struct{}{}}
	t.timer = time.AfterFunc(time.Hour, t.again)
	return t
}

func (t *token) join(weight, cap int, owed func() int64) (*turn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, err := t.picker.Add(weight, cap)
	if err != nil {
		return nil, err
	}
	return &turn{token: t, client: c, grant: make(chan struct{}, 1), owed: owed}, nil
}

// leave gives up the place. The token must not be held.
func (u *turn) leave() {
	u.token.mu.Lock()
	u.token.picker.Remove(u.client)
	u.token.mu.Unlock()
}

// acquire waits for the token.
func (u *turn) acquire() {
	u.token.mu.Lock()
	u.token.picker.Ready(u.client, clock.Nanotime())
	u.wait()
}

// wait queues for the token and waits until it is granted. t.mu is held; wait
// releases it.
func (u *turn) wait() {
	t := u.token
	t.waiting[u.client] = u.grant
	t.pick()
	t.mu.Unlock()
	<-u.grant
	u.since, u.elsewhere = clock.Nanotime(), netif.Elsewhere()
}

// used is how long the slice has taken.
func (u *turn) used() int64 {
	return max(clock.Nanotime()-u.since-int64(netif.Elsewhere()-u.elsewhere), 0)
}

// release gives the token up; the domain waits for something. Who was woken by what it did
// last comes to the queue first, as in yield: else whoever is there already would run for
// a slice between two that talk to each other.
func (u *turn) release() {
	t := u.token
	used := u.used()
	runtime.Gosched()
	used += u.owed()
	t.mu.Lock()
	now := clock.Nanotime()
	t.picker.Charge(u.client, used, now)
	t.picker.Sleep(u.client, now)
	t.held = false
	t.pick()
	t.mu.Unlock()
}

// yield ends the slice: the kernel's goroutines run first, then the domain whose
// turn it is. The token is held meanwhile, so that no other domain's goroutine
// is in Go's run queue, where nobody has a weight; one that wakes queues for
// the token.
func (u *turn) yield() {
	used := u.used()
	runtime.Gosched()
	used += u.owed()
	t := u.token
	t.mu.Lock()
	t.picker.Charge(u.client, used, clock.Nanotime())
	t.held = false
	u.wait()
}

// over says that the slice has ended by time.
func (u *turn) over() bool { return clock.Nanotime()-u.since >= picker.Slice }

// pick grants the token if nobody has it. t.mu is held.
func (t *token) pick() {
	if t.held || len(t.waiting) == 0 {
		return
	}
	now := clock.Nanotime()
	c, wake := t.picker.Pick(now)
	if c == nil {
		if wake != math.MaxInt64 {
			t.timer.Reset(time.Duration(wake - now))
		}
		return
	}
	// Each client that is ready waits, but for the one that holds the token.
	grant := t.waiting[c]
	delete(t.waiting, c)
	t.held = true
	grant <- struct{}{}
}

func (t *token) again() {
	t.mu.Lock()
	t.pick()
	t.mu.Unlock()
}

package host

// Names that permissions hang on: each is looked up again and again, by this stack and
// not by those who are permitted something.

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

const (
	// nameEvery is the time between two lookups that succeed; after one that fails
	// it is nameAgain, doubled up to nameEvery.
	nameEvery = time.Minute
	nameAgain = time.Second
	// nameTime is what a lookup takes at most, when its turn has come.
	nameTime = 4 * time.Second
	// nameKeep is how long an address counts after the last answer that had it:
	// servers answer with some of many addresses, and programs remember answers.
	nameKeep = 10 * time.Minute
	// nameFresh is the least time between two lookups that Refresh asks for.
	nameFresh = time.Second
	// nameAddresses is how many addresses a name has at most, the latest ones.
	nameAddresses = 64
)

// Name is a name that is kept up to date for as long as the stack runs. Its methods
// may be called concurrently.
type Name struct {
	s      *Stack
	name   string
	lookup func(context.Context, string) ([]netip.Addr, error)
	set    func([]netip.Addr)
	again  chan struct{} // look it up now

	mu      sync.Mutex
	done    chan struct{}       // of the lookup that runs or is asked for; nil: none
	refresh tcpip.MonotonicTime // from when on Refresh may ask for one
	known   []sighting          // the latest first
}

// sighting is an address and when an answer had it last.
type sighting struct {
	address netip.Addr
	at      tcpip.MonotonicTime
}

// Watch keeps a name up to date: set is called with all its addresses after each
// lookup, by one goroutine.
func (s *Stack) Watch(name string, set func([]netip.Addr)) *Name {
	// With a dot at its end no search list applies to it.
	return s.watch(name+".", func(ctx context.Context, name string) ([]netip.Addr, error) {
		if err := s.beginLookup(ctx); err != nil {
			return nil, err
		}
		defer s.endLookup()
		ctx, cancel := context.WithTimeout(ctx, nameTime)
		defer cancel()
		return s.resolve(ctx, name)
	}, set)
}

func (s *Stack) watch(name string, lookup func(context.Context, string) ([]netip.Addr, error), set func([]netip.Addr)) *Name {
	n := &Name{s: s, name: name, lookup: lookup, set: set, again: make(chan struct{}, 1), done: make(chan struct{})}
	s.wg.Go(n.run)
	return n
}

// Refresh has the name looked up, and returns what is closed when that is done; nil
// when it asked for that less than nameFresh ago.
func (n *Name) Refresh() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.done == nil {
		now := n.s.clock.NowMonotonic()
		if now.Before(n.refresh) {
			return nil
		}
		n.refresh = now.Add(nameFresh)
		n.ask()
	}
	return n.done
}

// Again has the name looked up soon, whenever that was done last. It does not wait.
func (n *Name) Again() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ask()
}

// ask is Again with the lock held.
func (n *Name) ask() {
	if n.done == nil {
		n.done = make(chan struct{})
	}
	select {
	case n.again <- struct{}{}:
	default:
	}
}

// run is the name's goroutine.
func (n *Name) run() {
	wait := nameAgain
	failed := false
	for {
		err := n.look()
		switch {
		case err == nil:
			wait, failed = nameEvery, false
		case n.s.ctx.Err() != nil:
			return
		case !failed && !errors.Is(err, ErrNoNameServer):
			n.s.log.Warn("a name of a connect permission is not found", "name", n.name, "error", err)
			wait, failed = nameAgain, true
		default:
			wait = min(2*wait, nameEvery)
		}
		timer := n.s.clock.AfterFunc(wait, n.Again)
		select {
		case <-n.again:
			timer.Stop()
		case <-n.s.stop: // its context ends a little later
			timer.Stop()
			return
		}
	}
}

// look looks the name up once.
func (n *Name) look() error {
	found, err := n.lookup(n.s.ctx, n.name)
	n.s.counters.inc(nameLookups)
	if err != nil {
		n.s.counters.inc(nameFailures)
		found = nil
	}

	n.mu.Lock()
	defer n.mu.Unlock()
	n.note(found, n.s.clock.NowMonotonic())
	list := make([]netip.Addr, len(n.known))
	for i, k := range n.known {
		list[i] = k.address
	}
	n.set(list)
	close(n.done)
	n.done = nil
	if len(n.again) > 0 { // asked for meanwhile
		n.done = make(chan struct{})
	}
	return err
}

// note puts what an answer had before what is known, and forgets what is too old.
func (n *Name) note(found []netip.Addr, now tcpip.MonotonicTime) {
	seen := map[netip.Addr]bool{}
	var list []sighting
	add := func(k sighting) {
		if !seen[k.address] && len(list) < nameAddresses {
			seen[k.address] = true
			list = append(list, k)
		}
	}
	for _, a := range found {
		add(sighting{a.Unmap(), now})
	}
	for _, k := range n.known {
		if now.Sub(k.at) < nameKeep {
			add(k)
		}
	}
	n.known = list
}

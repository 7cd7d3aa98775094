package host

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/faketime"

	"github.com/sluice-os/sluice/nexus/netns"
)

// timerClock tells of each timer that is set.
type timerClock struct {
	*faketime.ManualClock
	timers chan time.Duration
}

func (c timerClock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	t := c.ManualClock.AfterFunc(d, f)
	c.timers <- d
	return t
}

type answer struct {
	list []netip.Addr
	err  error
}

// watched is a name in virtual time whose lookups wait for the test's answers.
type watched struct {
	*Name
	t       *testing.T
	clock   timerClock
	answers chan answer
	sets    chan []netip.Addr
}

func newWatched(t *testing.T) *watched {
	pa, _ := newCable(noOffloads, noOffloads)
	s, err := New(pa, static("192.0.2.1/24"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	w := &watched{
		t: t, clock: timerClock{faketime.NewManualClock(), make(chan time.Duration)},
		answers: make(chan answer), sets: make(chan []netip.Addr, 1),
	}
	s.clock = w.clock
	w.Name = s.watch("www.example.org.", func(ctx context.Context, name string) ([]netip.Addr, error) {
		select {
		case a := <-w.answers:
			return a.list, a.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, func(list []netip.Addr) { w.sets <- list })
	return w
}

// step answers a lookup, and wants a list and the time to the next lookup.
func (w *watched) step(a answer, want []netip.Addr, wait time.Duration) {
	w.t.Helper()
	w.answers <- a
	if got := <-w.sets; !slices.Equal(got, want) {
		w.t.Errorf("the addresses are %v, want %v", got, want)
	}
	if got := <-w.clock.timers; got != wait {
		w.t.Errorf("the next lookup is in %v, want %v", got, wait)
	}
}

func addrs(list ...string) (a []netip.Addr) {
	for _, s := range list {
		a = append(a, netip.MustParseAddr(s))
	}
	return a
}

// TestNameIsKept: what was answered counts for nameKeep, through other answers and
// failures, which are counted and asked again later and later.
func TestNameIsKept(t *testing.T) {
	w := newWatched(t)
	one, both := addrs("192.0.2.7"), addrs("2001:db8::7", "192.0.2.7")
	w.step(answer{list: addrs("::ffff:192.0.2.7", "192.0.2.7")}, one, nameEvery)
	w.clock.Advance(nameEvery)
	w.step(answer{list: both[:1]}, both, nameEvery)
	w.clock.Advance(nameEvery)
	failure := answer{err: errors.New("no answer")}
	passed := 2 * nameEvery // since the first answer
	for wait := nameAgain; passed < nameKeep; wait = min(2*wait, nameEvery) {
		w.step(failure, both, wait)
		w.clock.Advance(wait)
		passed += wait
	}
	w.step(failure, both[:1], nameEvery)
	w.clock.Advance(nameEvery)
	w.step(failure, nil, nameEvery)
	w.clock.Advance(nameEvery)
	w.step(answer{list: one}, one, nameEvery)
	w.clock.Advance(nameEvery)
	w.step(failure, one, nameAgain)
	lookups, failures := w.s.counters.get(nameLookups), w.s.counters.get(nameFailures)
	if lookups != failures+3 || failures < 10 {
		t.Errorf("%d lookups and %d failures are counted", lookups, failures)
	}
}

// TestNameRefresh: who was refused has the name looked up, but not again and again.
func TestNameRefresh(t *testing.T) {
	w := newWatched(t)
	first := w.Refresh()
	if first == nil {
		t.Fatal("there is nothing to wait for before the first lookup")
	}
	w.step(answer{list: addrs("192.0.2.7")}, addrs("192.0.2.7"), nameEvery)
	<-first
	second := w.Refresh()
	if second == nil || w.Refresh() != second {
		t.Fatal("not one lookup for two who ask")
	}
	w.step(answer{list: addrs("192.0.2.8")}, addrs("192.0.2.8", "192.0.2.7"), nameEvery)
	<-second
	if w.Refresh() != nil {
		t.Error("looked up again at once")
	}
	w.clock.Advance(nameFresh)
	if w.Refresh() == nil {
		t.Error("never looked up again")
	}
	w.step(answer{list: addrs("192.0.2.8")}, addrs("192.0.2.8", "192.0.2.7"), nameEvery)
	w.Again()
	third := w.Refresh()
	if third == nil {
		t.Fatal("a lookup that is asked for is not waited for")
	}
	w.step(answer{list: addrs("192.0.2.8")}, addrs("192.0.2.8", "192.0.2.7"), nameEvery)
	<-third
}

// TestNameHasAnEnd: an answer of any length leaves nameAddresses.
func TestNameHasAnEnd(t *testing.T) {
	w := newWatched(t)
	var many []netip.Addr
	for a := netip.MustParseAddr("192.0.2.1"); len(many) < 2*nameAddresses; a = a.Next() {
		many = append(many, a)
	}
	w.step(answer{list: many}, many[:nameAddresses], nameEvery)
	w.clock.Advance(nameEvery)
	w.step(answer{list: many[nameAddresses+1:]}, slices.Concat(many[nameAddresses+1:], many[:1]), nameEvery)
}

// TestNamePermits asks a name server through the stack, for a policy.
func TestNamePermits(t *testing.T) {
	pa, pb := newCable(noOffloads, noOffloads)
	ca := static("192.0.2.1/24")
	ca.IPv4.DNS = addrs("192.0.2.2")
	a, b := startStack(t, pa, ca), startStack(t, pb, static("192.0.2.2/24"))
	until(t, "links up", func() bool { return ready(a) && ready(b) })
	serveName(t, b, netip.MustParseAddr("203.0.113.5"))
	policy, err := netns.ParsePolicy(nil, []string{"tcp/WWW.example.org:443"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range policy.Names() {
		<-a.Watch(name, func(list []netip.Addr) { policy.SetName(name, list) }).Refresh()
	}
	if !policy.MayConnect(netns.TCP, netip.MustParseAddrPort("203.0.113.5:443")) {
		t.Error("what the name stands for is not permitted")
	}
	if policy.MayConnect(netns.TCP, netip.MustParseAddrPort("203.0.113.6:443")) {
		t.Error("another address is permitted")
	}
}

// TestLookupsWaitForOneAnother: one runs at a time, as limits.go counts.
func TestLookupsWaitForOneAnother(t *testing.T) {
	pa, _ := newCable(noOffloads, noOffloads)
	c := static("192.0.2.1/24")
	c.IPv4.DNS = addrs("192.0.2.2")
	s := startStack(t, pa, c)
	if err := s.beginLookup(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer s.endLookup()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Lookup(ctx, "www.example.org"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it waited", err)
	}
}

// TestNamesEndWithTheStack: between the end of the stack and that of its context nothing
// is looked up.
func TestNamesEndWithTheStack(t *testing.T) {
	s := &Stack{clock: faketime.NewManualClock(), stop: make(chan struct{}), log: quiet}
	s.ctx, s.cancel = context.WithCancel(t.Context())
	sets := make(chan []netip.Addr, 2)
	s.watch("www.example.org.", func(context.Context, string) ([]netip.Addr, error) { return nil, nil }, func(list []netip.Addr) { sets <- list })
	<-sets
	close(s.stop)
	s.wg.Wait()
	s.cancel()
	if n := s.counters.get(nameLookups); n != 1 {
		t.Errorf("%d lookups", n)
	}
}

// Package restart decides whether a domain that has ended starts again, and
// when.
package restart

import "time"

// Policy is when a domain is started again.
type Policy int

const (
	// Never leaves it stopped.
	Never Policy = iota
	// OnFailure restarts one that was killed or ended with a status that is
	// not 0.
	OnFailure
	// Always restarts it whatever it ended with.
	Always
)

var names = [...]string{"never", "on-failure", "always"}

func (p Policy) String() string { return names[p] }

// Parse reads a policy's name.
func Parse(name string) (Policy, bool) {
	for i, n := range names {
		if n == name {
			return Policy(i), true
		}
	}
	return 0, false
}

// Backoff is the delay before a restart: First, doubled with each restart in a
// row, and at most Most. A domain that ran for Most or longer begins anew.
type Backoff struct {
	First, Most time.Duration
	next        time.Duration
}

// Next says whether a domain that ran for some time and then failed, or did not,
// is to start again, and after how long.
func (b *Backoff) Next(p Policy, failed bool, ran time.Duration) (delay time.Duration, again bool) {
	if p == Never || p == OnFailure && !failed {
		return 0, false
	}
	if b.next == 0 || ran >= b.Most {
		b.next = b.First
	}
	delay = b.next
	b.next = min(2*b.next, max(b.Most, b.First))
	return delay, true
}

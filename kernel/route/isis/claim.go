package isis

import (
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns LSPs of ours that come from elsewhere and are newer than what we wrote: from before
// we started, or of another router with our system ID. Two such routers go over each other's for
// ever, which the whole network floods: so only the first one is answered at once.

// claim is what is known of one such LSP.
type claim struct {
	last   time.Duration // when it came
	wait   time.Duration // of the last answer that waited
	timer  timer         // of the answer that waits
	header pdu.Header    // that it is for
}

// claimed takes in an LSP of ours that is newer than what we wrote; e is what is held, nil: nothing.
// It is answered at once, but within claimQuiet of the last one after a wait that becomes longer.
func (l *level) claimed(now time.Duration, e *entry, h pdu.Header) Reason {
	if e == nil || e.claim == nil || now-e.claim.last > claimQuiet {
		l.reclaim(now, e, h)
		if e = l.entries[h.ID]; e != nil {
			l.noClaim(e)
			e.claim = &claim{last: now}
			e.claim.timer.call = func(now time.Duration) {
				if o := e.compare(e.claim.header); o == newer || o == clash {
					l.reclaim(now, e, e.claim.header)
				}
			}
		}
		return OK
	}
	c := e.claim
	c.last = now
	switch {
	case !c.timer.running():
		c.header, c.wait = h, longer(c.wait)
		l.i.timers.set(&c.timer, now+c.wait)
	case h.Sequence > c.header.Sequence:
		c.header = h
	}
	return SystemClash
}

// noClaim forgets what is known of one.
func (l *level) noClaim(e *entry) {
	if e.claim != nil {
		l.i.timers.stop(&e.claim.timer)
		e.claim = nil
	}
}

// reclaim writes ours over an LSP of ours, or purges it if we have none of that number.
func (l *level) reclaim(now time.Duration, e *entry, h pdu.Header) {
	if e == nil || e.purged {
		l.purgeID(now, h.ID, h.Sequence, "not ours")
		return
	}
	c := *e.content
	c.Sequence = h.Sequence
	l.emitAfter(now, c, e.body)
}

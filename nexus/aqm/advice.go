package aqm

import "time"

// This file owns what those who send are told of the rate of their link.

// Advice is the rate of a link as others are told: one that follows it, but not each of its
// changes, as each is work for all of them. Its zero value has told nothing.
type Advice struct {
	told Rate
	// differs says that the rate has been far from told since since.
	differs bool
	since   time.Duration
}

// adviceHold is for how long the rate must be less than half or more than twice of what was told
// before another one is.
const adviceHold = time.Second

// See notes the rate at a time; 0: it is not known, which says nothing. It reports what others
// are to be told, and whether that is new.
func (a *Advice) See(now time.Duration, r Rate) (told Rate, changed bool) {
	switch {
	case r == 0:
		return a.told, false
	case a.told != 0 && r >= a.told/2 && r/2 <= a.told:
		a.differs = false
		return a.told, false
	case !a.differs:
		a.differs, a.since = true, now
	}
	if now-a.since < adviceHold {
		return a.told, false
	}
	a.told, a.differs = r, false
	return r, true
}

package aqm

import (
	"cmp"
	"math"
	"time"
)

// This file owns how many bytes the card's ring may hold.
//
// What stands in the ring has left the queue: nothing can overtake it, and no delay of it
// is seen. So the ring is to hold no more than keeps the card busy until somebody looks
// at it again. How much that is shows in what it finishes from one look to the next:
// the limit grows when the card ran out of work while packets were kept back, and
// shrinks when, over some time, it always had more than enough. Linux calls this byte
// queue limits.

// RingLimit is the byte limit of one ring.
type RingLimit struct {
	min, max int
	limit    int
	inFlight int
	// short says that packets were kept back since the last look.
	short bool
	// spare is the least that there was too much at any look since since, and held the most
	// that the ring had at any: with many short packets it takes less than the limit.
	spare, held int
	since       time.Duration
	// learnt says that the limit is not the first one any more.
	learnt bool

	// looked is when the last look was, and busy that the card had work then. sent bytes
	// in work are how fast it was of late: rate.
	looked time.Duration
	busy   bool
	sent   int
	work   time.Duration
	rate   Rate
}

const (
	// RingLimitMin and RingLimitMax are the usual bounds of a limit in bytes: two full
	// frames, which is one for the card while the next one is written, and a large
	// packet for each place of a ring of 256.
	RingLimitMin = 2 * 1514
	RingLimitMax = 256 << 16
	// RingLimitFirst is what a limit begins with, in bytes: four of the longest packets.
	// A fast link never has less than it can do, and a slow one has the less soon.
	RingLimitFirst = 4 << 16
	// ringHold is how long there must be too much for the limit to shrink, ringHoldFirst
	// how long for the first one to.
	ringHold, ringHoldFirst = time.Second, 100 * time.Millisecond
	// ringMost is the most that the ring is to hold by the card's rate: however late
	// somebody looks, a packet is not to wait longer where nobody can help it.
	ringMost = 6 * time.Millisecond
	// ringWork is over how much of the card's time its rate is known.
	ringWork = 100 * time.Millisecond
)

// NewRingLimit makes a limit between least and most bytes (0: RingLimitMin and
// RingLimitMax), which is RingLimitFirst at first. One that is below 1 or above the other is
// brought within.
func NewRingLimit(least, most int) RingLimit {
	least, most = cmp.Or(least, RingLimitMin), cmp.Or(most, RingLimitMax)
	least = max(least, 1)
	most = max(least, most)
	return RingLimit{min: least, max: most, limit: min(max(RingLimitFirst, least), most), spare: math.MaxInt}
}

// Room says whether the ring may be given a packet. It may take one beyond the limit. The
// caller asks only when it has one.
func (r *RingLimit) Room() bool {
	if r.inFlight < r.limit {
		return true
	}
	r.short = true
	return false
}

// Full notes that the ring takes no more packets, whatever the limit says.
func (r *RingLimit) Full() { r.short = true }

// Sent notes that the ring was given n bytes.
func (r *RingLimit) Sent(n int) { r.inFlight += n }

// Completed notes that somebody looked at the ring and that the card has finished n bytes
// since the last look; n = 0 is no look.
func (r *RingLimit) Completed(now time.Duration, n int) {
	if n <= 0 {
		return
	}
	n = min(n, r.inFlight)
	r.held = max(r.held, r.inFlight)
	r.inFlight -= n
	r.measure(now, n)
	hold := ringHold
	if !r.learnt {
		hold = ringHoldFirst
	}
	switch {
	case !r.short:
		// What was asked of the card was less than it can do: that says nothing.
		r.begin(now)
	case r.inFlight == 0:
		r.limit, r.learnt = min(r.limit+n, r.most()), true
		r.begin(now)
	default:
		// As much again as it has finished is to be there for the next look.
		r.spare = min(r.spare, max(r.inFlight-n, 0))
		if now-r.since >= hold {
			if r.spare > 0 {
				r.learnt, r.limit = true, max(min(r.limit, r.held)-r.spare, r.min)
			}
			r.limit = min(r.limit, r.most())
			r.begin(now)
		}
	}
	r.short = false
}

// most is the greatest limit by the card's rate, if that is known.
func (r *RingLimit) most() int {
	if r.rate == 0 {
		return r.max
	}
	return min(max(r.rate.Bytes(ringMost), r.min), r.max)
}

// begin begins to look for what is too much.
func (r *RingLimit) begin(now time.Duration) { r.since, r.spare, r.held = now, math.MaxInt, 0 }

// measure takes a look into account at which the card has finished n bytes. One that ran out
// of work meanwhile was as fast at least.
func (r *RingLimit) measure(now time.Duration, n int) {
	took := now - r.looked
	known := r.busy && took > 0 && n > 0
	r.looked, r.busy = now, r.inFlight > 0
	if !known || !r.busy && (!r.short || rateOf(n, took) <= r.rate) {
		return
	}
	if !r.busy {
		r.sent, r.work = 0, 0 // what was known was too little
	}
	r.sent += n
	if r.work += took; r.work > ringWork {
		r.sent, r.work = r.sent/2, r.work/2
	}
	r.rate = rateOf(r.sent, r.work)
}

func rateOf(n int, took time.Duration) Rate { return Rate(float64(n) * 8 / took.Seconds()) }

// Rate is how fast the card is, as far as it was seen at work without a pause; 0: not yet.
func (r *RingLimit) Rate() Rate { return r.rate }

// Reset notes that the ring is empty, as the card was started anew.
func (r *RingLimit) Reset() {
	r.inFlight, r.short, r.spare, r.busy = 0, false, math.MaxInt, false
}

// Forget has the limit be the first one again: the caller works in another way from now on.
func (r *RingLimit) Forget() {
	r.limit, r.learnt, r.short = min(max(RingLimitFirst, r.min), r.max), false, false
	r.begin(r.looked)
}

// Limit is the limit, InFlight what the ring holds, in bytes.
func (r *RingLimit) Limit() int    { return r.limit }
func (r *RingLimit) InFlight() int { return r.inFlight }

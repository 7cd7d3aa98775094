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
	// told are those of the bytes in flight that the card has been told of at the last look or
	// since: it works as long as it has not finished them.
	told int
	// short says that packets were kept back since the last look, asked that some were before.
	short, asked bool
	// spare is the least that there was too much at any look since since, and held the most
	// that the ring had at any: with many short packets it takes less than the limit.
	spare, held int
	since       time.Duration
	// learnt says that the limit is not the first one any more.
	learnt bool
	// looks are those since counted at which packets were kept back, and dry those of them at
	// which the ring was empty; times is how often ringMost the limit may be, because of that,
	// and starved when it was so last. Of all bytes that were finished since then, many were at
	// looks that a ring of half as much could not have waited for.
	looks, dry, times int
	counted, starved  time.Duration
	// waited is for how long of the time since counted the card had nothing and nobody had
	// anything for it; again says that at most looks of the ringCount before the ring was empty.
	waited    time.Duration
	again     bool
	all, many int

	// looked is when the last look was, or when the card was told of something and had nothing;
	// fresh, that it had nothing at the look before. sent bytes in work are how fast it was of
	// late: rate.
	looked time.Duration
	fresh  bool
	sent   int
	work   time.Duration
	rate   Rate
	// known says that rate is of ringWork.
	known bool
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
	// ringMost is the most that the ring is to hold by the card's rate: when somebody looks
	// late now and then, a packet is not to wait longer where nobody can help it. If the ring
	// is found empty at most looks, in two ringCount on end with work all the time, the card is
	// kept waiting, or is faster than it seems by that: then the most is twice as much, each
	// ringCount, up to ringTimes as much. What stands behind the card takes much at the start of
	// each burst: that is no reason. It
	// is half as much again when that was not so for ringHold, and half would have been enough for
	// most of what was finished.
	ringMost  = 3 * time.Millisecond
	ringCount = 100 * time.Millisecond
	ringTimes = 1 << 10
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
	return RingLimit{min: least, max: most, limit: min(max(RingLimitFirst, least), most), spare: math.MaxInt, times: 1}
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

// Sent notes that the ring was given n bytes, of which the card is told later.
func (r *RingLimit) Sent(n int) { r.inFlight += n }

// Told notes that the card was told of all that was sent. What it had finished by then is to be
// taken into account before: if that was all, its work begins now.
func (r *RingLimit) Told(now time.Duration) {
	if r.told == 0 {
		if !r.asked {
			r.waited += now - r.looked
		}
		r.looked, r.fresh = now, true
	}
	r.told = r.inFlight
}

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
	r.count(now, n)
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
	if r.known {
		r.limit = min(r.limit, r.most())
	}
	r.asked, r.short = r.short, false
}

// most is the greatest limit by the card's rate, if that is known.
func (r *RingLimit) most() int {
	if r.rate == 0 {
		return r.max
	}
	return min(max(r.rate.Bytes(ringMost)*r.times, r.min), r.max)
}

// count counts a look, and decides how often ringMost the limit may be.
func (r *RingLimit) count(now time.Duration, n int) {
	if r.times > 1 {
		if r.all += n; n > r.most()/2 {
			r.many += n
		}
	}
	if r.short {
		r.looks++
		if r.inFlight == 0 {
			r.dry++
		}
	}
	if now-r.counted < ringCount {
		return
	}
	dry := r.looks > 1 && 2*r.dry > r.looks && 4*r.waited < now-r.counted
	switch {
	case dry:
		if r.again {
			r.starved, r.all, r.many = now, 0, 0
			if r.limit >= r.most() {
				r.times = min(2*r.times, ringTimes)
			}
		}
	case r.times > 1 && now-r.starved >= ringHold:
		if 2*r.many < r.all {
			r.times /= 2
		}
		r.starved, r.all, r.many = now, 0, 0
	}
	r.looks, r.dry, r.waited, r.counted, r.again = 0, 0, 0, now, dry
}

// begin begins to look for what is too much.
func (r *RingLimit) begin(now time.Duration) { r.since, r.spare, r.held = now, math.MaxInt, 0 }

// measure takes a look into account at which the card has finished n bytes. If it has not finished
// all that it was told of, it worked all the time since the last look. Else it ran out of work,
// nobody knows when, and how fast it is does not show. Nor does it at the first look after it had
// nothing: what is behind the card takes some at once.
func (r *RingLimit) measure(now time.Duration, n int) {
	took, worked := now-r.looked, n < r.told && !r.fresh
	r.looked, r.told, r.fresh = now, max(r.told-n, 0), false
	if !worked || took <= 0 {
		return
	}
	// One look alone says little: a card that was held up makes up for it.
	r.sent += n
	if r.work += took; r.work > ringWork {
		r.sent, r.work, r.known = r.sent/2, r.work/2, true
	}
	r.rate = rateOf(r.sent, r.work)
}

func rateOf(n int, took time.Duration) Rate { return Rate(float64(n) * 8 / took.Seconds()) }

// Rate is how fast the card is, as far as it was seen at work without a pause; 0: not yet.
func (r *RingLimit) Rate() Rate { return r.rate }

// Reset notes that the ring is empty, as the card was started anew.
func (r *RingLimit) Reset() {
	r.inFlight, r.told, r.short, r.spare = 0, 0, false, math.MaxInt
}

// Forget has the limit be the first one again: the caller works in another way from now on. The
// card's rate bounds it, if that is known.
func (r *RingLimit) Forget() {
	r.limit, r.learnt, r.short, r.times = min(max(RingLimitFirst, r.min), r.max), false, false, 1
	r.begin(r.looked)
}

// NewLink has the card's rate be forgotten too: it has another link. What is in flight stays so.
func (r *RingLimit) NewLink() {
	inFlight, told, looked := r.inFlight, r.told, r.looked
	*r = NewRingLimit(r.min, r.max)
	r.inFlight, r.told, r.looked, r.since, r.counted = inFlight, told, looked, looked, looked
}

// Limit is the limit, InFlight what the ring holds, in bytes.
func (r *RingLimit) Limit() int    { return r.limit }
func (r *RingLimit) InFlight() int { return r.inFlight }

package aqm

import "time"

// This file owns the question whether a flow's packets wait too long.

const (
	// little is what is no queue, in bytes, however long it waits: with many flows a
	// packet waits for its turn, and having fewer of them would help nobody.
	little = 2 * quantum
	// stallBytes is how much must wait for a queue that nothing leaves to count as
	// too long.
	stallBytes = 5 * quantum
)

// delay judges one flow's queue. A burst that goes by is no reason to slow anybody down:
// a queue is too long when the least that a packet has waited over a whole interval is
// above the target, which is when none has waited less. It is so until a packet has
// waited less, or what is left will be gone within the target: those that wait do not
// know yet that nothing comes behind them.
type delay struct {
	// until is when an interval ends that began with the last packet that was good,
	// or when the queue had its first one.
	until time.Duration
	last  time.Duration // when a packet left, or the first one came
	high  bool
	// sent is how many bytes have left since from, of late, without the time in
	// which the queue was empty.
	from time.Duration
	sent int
}

// start begins anew: a packet has come to an empty queue.
func (d *delay) start(now, interval time.Duration) {
	if idle := now - d.last; d.sent > 0 && idle < interval {
		d.from += idle
	} else {
		d.from, d.sent = now, 0
	}
	d.until, d.last, d.high = now+interval, now, false
}

// sample takes a packet of so many bytes into account that leaves after it has waited, and
// how many bytes it leaves behind. It reports whether that is good.
func (d *delay) sample(now, waited time.Duration, bytes, left int, target, interval time.Duration) bool {
	d.last = now
	d.sent += bytes
	if d.from < now-2*interval {
		d.from += (now - d.from) / 2
		d.sent /= 2
	}
	switch {
	case waited <= target || left <= max(bytes, little) || !d.exceeds(now, left, target):
		d.high, d.until = false, now+interval
		return true
	case now >= d.until:
		d.high = true
	}
	return false
}

// exceeds says that it will take longer than t until so many bytes have left, if they
// leave as others did before. Of a queue that nothing has left it says no.
func (d *delay) exceeds(now time.Duration, bytes int, t time.Duration) bool {
	// Bytes are below 2^30, and 2^32 microseconds more than an hour.
	past := min((now-d.from)/time.Microsecond, 1<<32)
	return d.sent > 0 && int64(bytes)*int64(past) > int64(t/time.Microsecond)*int64(d.sent)
}

// stalled says that so many bytes wait and that nothing has left for an interval; the
// delay is high then, although there is no packet to see it from.
func (d *delay) stalled(now time.Duration, bytes int, interval time.Duration) bool {
	if d.high || bytes < stallBytes || now-d.last < interval {
		return false
	}
	d.high = true
	return true
}

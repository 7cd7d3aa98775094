package host

// The card's ring as the transmitter sees it: how much of it is to be used, when the card is asked
// to tell of room, and what it has finished.

import (
	"math"
	"time"

	"github.com/sluice-os/sluice/drivers/nic"
)

// askAgain is how long a card may finish nothing before it is asked again, which is how one that
// has stopped is found out.
const askAgain = 10 * time.Millisecond

// room says whether the ring is to be given a packet more, behind the frames that go first. If not, the card will interrupt
// when it has finished some. t.mu is held.
func (t *transmitter) room() bool {
	if !t.sendRaw() {
		return false
	}
	if !t.asked && (t.queue.plain || t.limit.Room()) {
		return true
	}
	// What the device has not been told of it cannot finish.
	t.flush()
	if t.asked && t.look() == 0 && t.seen-t.askedAt < askAgain {
		return false
	}
	for t.asked = false; !t.queue.plain && !t.limit.Room(); {
		if t.dev.Await(t.worth()) {
			t.interrupts()
			return false
		}
		if t.look() == 0 {
			t.limit.Reset() // the card has nothing
		}
	}
	return true
}

// interrupts notes that the device will, when it has finished some of what it holds. t.mu is
// held.
func (t *transmitter) interrupts() { t.asked, t.askedAt = true, t.seen }

// worth is how many frames of the usual length are worth an interrupt: those of a
// millisecond, or as many as the card likes if it is not known how fast it is.
func (t *transmitter) worth() int {
	rate := t.limit.Rate()
	if rate == 0 {
		return math.MaxInt
	}
	return max(rate.Bytes(time.Millisecond)/(ethHeader+t.mtu), 1)
}

// linkChanged has what was learnt of the link that the card had be forgotten.
func (t *transmitter) linkChanged() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit.NewLink()
}

// look takes into account what the card has finished, and returns how many bytes that
// were. t.mu is held.
func (t *transmitter) look() int {
	n := t.dev.Finished()
	if n > 0 {
		t.asked = false
		t.limit.Completed(t.now(), n)
	}
	return n
}

// reserve returns an empty packet with buffers for n bytes, the next of the
// batch, or nil when the ring is full. commit makes it count. t.mu is held.
func (t *transmitter) reserve(n int) *nic.Packet {
	if t.n == len(t.batch) {
		t.flush()
	}
	p := &t.batch[t.n]
	if t.dev.Reserve(p, n) {
		return p
	}
	if t.n == 0 {
		t.limit.Full()
		t.interrupts()
		return nil
	}
	// What the device has not been told of it cannot finish.
	t.flush()
	p = &t.batch[0]
	if t.dev.Reserve(p, n) {
		return p
	}
	t.limit.Full()
	t.interrupts()
	return nil
}

func (t *transmitter) commit(p *nic.Packet, n int) {
	p.Len = n
	t.n++
	t.limit.Sent(n)
	t.counters.inc(txFrames)
	t.counters.add(txBytes, uint64(n))
}

// flush gives the batch to the device. t.mu is held.
func (t *transmitter) flush() {
	if t.n == 0 {
		return
	}
	if t.tap != nil && t.tap.Watched() {
		t.watcher.show(t.tap, true, t.batch[:t.n])
	}
	t.counters.inc(txNotifies)
	t.dev.Transmit(t.batch[:t.n])
	t.n, t.asked = 0, false // it interrupts for nobody any more
	t.look()
	t.limit.Told(t.now())
}

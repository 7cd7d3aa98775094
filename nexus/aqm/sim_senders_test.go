package aqm_test

import (
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

// This file owns the senders of the simulation. They are simple: no more than what makes
// their kind.

// signal is what a sender with a window listens to.
type signal uint8

const (
	losses   signal = iota // as the host stack's TCP: it cannot be told to pause
	ecn                    // RFC 3168: a mark is as a loss
	scalable               // RFC 9331: the part of the packets that is marked counts
	advice                 // it is told to pause, as a domain's TCP
)

const (
	frame = 1514
	// windowMax is how many packets a sender has on their way at most: what its
	// buffer holds.
	windowMax = 700
	// threshold is how many packets must have arrived that were sent after one that is
	// then held to be lost (RFC 9002, section 6.1.1; RFC 6675 has the same).
	threshold = 3
)

// window is a sender that has as many packets on their way as its window, which grows
// and shrinks as RFC 5681 has it. Each packet has a number of its own, and arrives, or
// its loss shows when later ones have.
type window struct {
	flow
	kind signal
	rtt  time.Duration // without what it waits

	size, limit float64 // in packets; below limit it doubles with each round trip
	next        int     // number of the next packet
	outstanding []int   // numbers of those on their way, in order
	// recover is the number before which losses and marks are of a window that has
	// been halved already.
	recover int
	// Of the scalable kind: in this round, which ends with number round.
	marked, acked, round int
	alpha                float64

	last  time.Duration // when something arrived, or was sent after nothing was on its way
	timer bool

	// every, if it is not 0, is the time in which its program has another packet to send, and
	// made how many it has had, those that were lost once more.
	every time.Duration
	made  int
}

func newWindow(kind signal, rtt time.Duration) *window {
	return &window{kind: kind, rtt: rtt, size: 10, limit: windowMax, alpha: 1}
}

// newOffered is a sender whose program has so much to send and no more, which is kept as long
// as the window does not permit it.
func newOffered(kind signal, rtt time.Duration, rate aqm.Rate) *window {
	w := newWindow(kind, rtt)
	w.every = rate.Time(frame)
	return w
}

func (w *window) start() {
	if w.every > 0 {
		w.after(w.every, w.start)
		w.made++
	}
	w.fill()
}

func (w *window) released() { w.fill() }

// fill sends what the window permits.
func (w *window) fill() {
	for !w.paused && len(w.outstanding) < int(w.size) && (w.every == 0 || w.next < w.made) {
		if len(w.outstanding) == 0 {
			w.last = w.now
		}
		n := w.next
		w.next++
		w.outstanding = append(w.outstanding, n)
		p := aqm.Packet{Responsive: true, Advised: w.kind == advice, Ack: uint32(n)}
		switch w.kind {
		case ecn:
			p.ECN = aqm.ECT0
		case scalable:
			p.ECN = aqm.ECT1
		}
		w.send(w, p)
	}
	if !w.timer && len(w.outstanding) > 0 {
		w.timer = true
		w.after(w.timeout(), w.expired)
	}
}

func (w *window) timeout() time.Duration { return max(3*w.rtt, time.Second) }

// expired looks whether nothing has arrived for too long: then all is held to be lost.
func (w *window) expired() {
	w.timer = false
	if len(w.outstanding) == 0 {
		return
	}
	if quiet := w.now - w.last; quiet < w.timeout() {
		w.timer = true
		w.after(w.timeout()-quiet, w.expired)
		return
	}
	w.made += len(w.outstanding)
	w.outstanding = w.outstanding[:0]
	w.limit, w.size, w.recover = max(w.size/2, 2), 2, w.next
	w.fill()
}

func (w *window) arrived(p *aqm.Packet) {
	n, mark := int(p.Ack), p.Mark
	w.after(w.rtt, func() { w.acknowledged(n, mark) })
}

func (w *window) acknowledged(n int, mark bool) {
	w.last = w.now
	full := len(w.outstanding) >= int(w.size)
	known, lost := false, false
	left := w.outstanding[:0]
	for _, k := range w.outstanding {
		switch {
		case k == n:
			known = true
		case k <= n-threshold:
			lost = lost || k >= w.recover
			w.made++ // it is sent again
		default:
			left = append(left, k)
		}
	}
	w.outstanding = left
	w.acked++
	if mark {
		w.marked++
	}
	switch {
	case lost, mark && w.kind == ecn && n >= w.recover:
		w.size = max(w.size/2, 2)
		w.limit, w.recover = w.size, w.next
	case w.kind == scalable && mark && w.size < w.limit:
		w.limit = w.size
	case known && full && n >= w.recover && w.size < windowMax:
		if w.size < w.limit {
			w.size++
		} else {
			w.size += 1 / w.size
		}
	}
	if w.kind == scalable && n >= w.round {
		fraction := float64(w.marked) / float64(w.acked)
		w.alpha += (fraction - w.alpha) / 16
		if w.marked > 0 {
			w.size = max(w.size-float64(w.size*w.alpha)/2, 2)
		}
		w.marked, w.acked, w.round = 0, 0, w.next
	}
	w.fill()
}

// datagrams sends packets at a rate, whatever becomes of them, unless it heeds being told
// to pause: what it would have sent then it never does.
type datagrams struct {
	flow
	every       time.Duration
	burst       int // packets at a time
	told, heeds bool
	// stamps has the packets of a burst leave one after the other, by their times.
	stamps bool
}

func newDatagrams(rate aqm.Rate, length, burst int, told, heeds bool) *datagrams {
	return &datagrams{every: rate.Time(length * burst), burst: burst, told: told, heeds: heeds}
}

// newSmall is a sender of a small packet each 40 ms, which cannot be told anything.
func newSmall() *datagrams { return newDatagrams(64*8*25, 64, 1, false, false) }

func (d *datagrams) start() {
	d.after(d.every, d.start)
	for i := range d.burst {
		if d.heeds && d.paused {
			return
		}
		p := aqm.Packet{Advised: d.told}
		if d.stamps {
			p.TxTime = d.now + time.Duration(i)*d.every/time.Duration(d.burst)
		}
		d.send(d, p)
	}
}

func (d *datagrams) arrived(*aqm.Packet) {}
func (d *datagrams) released()           {}

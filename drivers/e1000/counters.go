// This file owns the counters and their names: the driver's and the card's own.

package e1000

import (
	"sync"
	"sync/atomic"
)

// counter is one of the driver's counters.
type counter uint8

const (
	rxFrames counter = iota
	rxBytes
	rxNotifies

	// Frames dropped on receive, by reason.
	rxShort      // no Ethernet header
	rxPieces     // spread over several buffers, which were not asked for
	rxErrors     // the card says that the frame is broken
	rxBadRelease // buffers that the poller released and did not hold

	txFrames
	txBytes
	txNotifies
	txRefused // Reserve said no

	// Frames dropped on transmit, by reason.
	txBadLength  // shorter than an Ethernet header, or longer than reserved
	txBadPacket  // not reserved
	txBadOffload // outside the frame, or beyond what the card reaches
	txLost       // lent to, or meant for, a device that was reset

	wakeups
	linkChanges

	// Resets, by reason.
	resetRxLength  // a frame longer than its buffer
	resetGone      // registers read as all ones
	resetBlocked   // an IOMMU kept it from an access
	resetTxTimeout // a frame was not sent in time
	stops          // given up

	counterCount

	// ok is no counter: nothing was wrong.
	ok counter = 255
)

var counterNames = [counterCount]string{
	rxFrames: "rx_frames", rxBytes: "rx_bytes", rxNotifies: "rx_notifies",
	rxShort: "rx_short", rxPieces: "rx_pieces", rxErrors: "rx_errors", rxBadRelease: "rx_bad_release",
	txFrames: "tx_frames", txBytes: "tx_bytes", txNotifies: "tx_notifies", txRefused: "tx_refused",
	txBadLength: "tx_bad_length", txBadPacket: "tx_bad_packet", txBadOffload: "tx_bad_offload", txLost: "tx_lost",
	wakeups: "wakeups", linkChanges: "link_changes",
	resetRxLength: "reset_rx_length", resetGone: "reset_gone", resetBlocked: "reset_blocked", resetTxTimeout: "reset_tx_timeout", stops: "stopped",
}

// String returns the counter's name.
func (c counter) String() string { return counterNames[c] }

type counters struct {
	own [counterCount]atomic.Uint64

	mu   sync.Mutex
	card [len(statistics)]uint64 // what was read, and so cleared, so far
}

func (c *counters) add(which counter, n int) {
	if n != 0 {
		c.own[which].Add(uint64(n))
	}
}

// Counters calls f with each counter, in a fixed order: those of the driver, then the
// card's.
func (d *Device) Counters(f func(name string, value uint64)) {
	for i := range d.counters.own {
		f(counterNames[i], d.counters.own[i].Load())
	}
	card := d.readStatistics()
	for i := range statistics {
		f(statistics[i].name, card[i])
	}
}

// readStatistics adds what the card has counted since the last time.
func (d *Device) readStatistics() [len(statistics)]uint64 {
	c := &d.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.recovery.Stopped() {
		return c.card
	}
	for i := range statistics {
		// A card that is gone has not counted so many.
		if v := d.regs.Read32(statistics[i].offset); v != allOnes {
			c.card[i] += uint64(v)
		}
	}
	return c.card
}

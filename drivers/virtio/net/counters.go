// This file owns the counters and their names.

package net

import "sync/atomic"

// counter is one of the device's counters.
type counter uint8

const (
	rxFrames counter = iota
	rxBytes
	rxNotifies

	// Frames dropped on receive, by reason.
	rxShort           // the first buffer holds no Ethernet header
	rxLong            // more than nic.FrameMax
	rxEmptyBuffer     // spread over a buffer with nothing in it
	rxBadChecksum     // checksum offload not negotiated or outside the frame
	rxBadGSOType      // unknown or not negotiated
	rxBadGSOSize      // segments of no bytes
	rxBadHeaderLength // protocol headers outside the frame
	rxBadRelease      // buffers that the poller released and did not hold

	txFrames
	txBytes
	txNotifies
	txRefused // Reserve said no

	// Frames dropped on transmit, by reason.
	txBadLength  // shorter than an Ethernet header, or longer than reserved
	txBadPacket  // not reserved
	txBadOffload // offload not negotiated or outside the frame
	txLost       // lent to, or meant for, a device that was reset

	wakeups
	linkChanges
	controlRefused
	controlTimeouts

	// Resets, by reason. The first ones are in the order of virtio.Reason.
	resetUsedIndex
	resetUsedID
	resetUsedIdle
	resetUsedLength
	resetShortHeader    // a frame shorter than the virtio header
	resetBufferCount    // spread over no buffers, or too many
	resetMissingBuffers // spread over more buffers than came back
	resetNeedsReset     // the device asked
	resetBlocked        // an IOMMU kept it from an access
	resetTxTimeout      // the device holds a full ring
	stops               // given up

	counterCount

	// ok is no counter: nothing was wrong.
	ok counter = 255
)

var counterNames = [counterCount]string{
	rxFrames: "rx_frames", rxBytes: "rx_bytes", rxNotifies: "rx_notifies",
	rxShort: "rx_short", rxLong: "rx_long", rxEmptyBuffer: "rx_empty_buffer",
	rxBadChecksum: "rx_bad_checksum_offload", rxBadGSOType: "rx_bad_gso_type", rxBadGSOSize: "rx_bad_gso_size",
	rxBadHeaderLength: "rx_bad_header_length", rxBadRelease: "rx_bad_release",
	txFrames: "tx_frames", txBytes: "tx_bytes", txNotifies: "tx_notifies", txRefused: "tx_refused",
	txBadLength: "tx_bad_length", txBadPacket: "tx_bad_packet", txBadOffload: "tx_bad_offload", txLost: "tx_lost",
	wakeups: "wakeups", linkChanges: "link_changes",
	controlRefused: "control_refused", controlTimeouts: "control_timeouts",
	resetUsedIndex: "reset_used_index", resetUsedID: "reset_used_id", resetUsedIdle: "reset_used_idle", resetUsedLength: "reset_used_length",
	resetShortHeader: "reset_short_header", resetBufferCount: "reset_buffer_count", resetMissingBuffers: "reset_missing_buffers",
	resetNeedsReset: "reset_needs_reset", resetBlocked: "reset_blocked", resetTxTimeout: "reset_tx_timeout", stops: "stopped",
}

// String returns the counter's name.
func (c counter) String() string { return counterNames[c] }

type counters [counterCount]atomic.Uint64

func (c *counters) add(which counter, n int) {
	if n != 0 {
		c[which].Add(uint64(n))
	}
}

// Counters calls f with each counter, in a fixed order.
func (d *Device) Counters(f func(name string, value uint64)) {
	for i := range d.counters {
		f(counterNames[i], d.counters[i].Load())
	}
}

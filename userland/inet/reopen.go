package inet

import (
	"sync/atomic"
	"time"
	"unsafe"

	"runtime/goos"

	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/channel"
	"github.com/sluice-os/sluice/userland/socket"
)

// This file owns what happens when the kernel takes the channel's memory back: the program
// finds its connections reset, and all else as it was.

// reset is in the copy of gVisor that the builder makes for domains
// (image/overlay/external.go).
//
//go:linkname reset internal/sluice/mod/gvisor.dev/gvisor/pkg/tcpip/transport/tcp.sluiceReset
func reset(*tcp.Endpoint)

const (
	// retryFirst and retryLast are how long it takes to the first and the last of the
	// attempts to get a channel, or a port, again; each wait is twice the one before.
	retryFirst = 50 * time.Millisecond
	retryLast  = 10 * time.Second
)

// receive receives for ever, over one channel after the other.
func (n *node) receive(s *socket.Stack) {
	wait := func() { goos.Wait(uint(channelEvent + n.channel)) }
	for {
		n.link.Receiver(wait)
		for delay := retryFirst; n.renew(s) != nil; delay = min(2*delay, retryLast) {
			// The channel's event tells that there may be memory again.
			wake := time.AfterFunc(delay, n.poke)
			wait()
			wake.Stop()
		}
		if n.names.Missing() > 0 {
			go n.retry(n.link.Counts().Channels)
		}
	}
}

// poke does what the channel's event does.
func (n *node) poke() { atomic.OrUint64(&goos.Pending, 1<<(channelEvent+n.channel)) }

// renew ends all connections and opens the channel anew.
func (n *node) renew(s *socket.Stack) error {
	return n.names.Renew(s.ResetConnections, func() error { return n.link.Renew(n.reopen) })
}

// reopen has the kernel open the channel anew, with rings as they were.
func (n *node) reopen() (*channel.Channel, error) {
	r := &abi.OpenRequest{Channel: n.channel, Slots: n.link.Slots(), Offloads: offloads()}
	copy(r.Schema[:], schema())
	if control(abi.ControlReopen, unsafe.Pointer(r), unsafe.Sizeof(*r)) < 0 {
		return nil, channel.ErrDefunct
	}
	return n.attach(r)
}

// retry asks for ports that are others' since the channel was renewed, until it has them
// or the channel is another one.
func (n *node) retry(channels uint64) {
	for delay := retryFirst; ; delay = min(2*delay, retryLast) {
		time.Sleep(delay)
		if n.link.Counts().Channels != channels || n.names.Missing() == 0 {
			return
		}
	}
}

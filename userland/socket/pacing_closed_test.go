package socket

import (
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/faketime"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/waiter"
)

// TestPacingOfAClosedSocket: who writes to a socket while it is closed sets no timer.
func TestPacingOfAClosedSocket(t *testing.T) {
	clock := faketime.NewManualClock()
	k := &sock{s: &Stack{Net: stack.New(stack.Options{Clock: clock})}, wq: new(waiter.Queue)}
	k.pacing.set(1)
	send := func(uint64) bool { return true }
	k.paced(1, send)
	k.pacing.stop()
	if sent, late := k.paced(1000, send); sent || !late || k.pacing.timer != nil {
		t.Errorf("sent %v, late %v, timer %v", sent, late, k.pacing.timer)
	}
}

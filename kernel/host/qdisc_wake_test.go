package host

import (
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/netif"
)

// roomWaker is a flow switch that says when it is told of room.
type roomWaker struct {
	roomTold
	told chan struct{}
}

func (r *roomWaker) Room() bool {
	select {
	case r.told <- struct{}{}:
	default:
	}
	return false
}

// TestFIFOTellsOfRoom: a channel that was refused memory, and nothing of which waits any more when the
// queue has become a plain one, is told of room by the poller, which sleeps: the card has no reason to
// wake it.
func TestFIFOTellsOfRoom(t *testing.T) {
	b := newQueueBench(t, 3000)
	near := b.far.peer
	near.info.Offloads, b.far.info.Offloads, b.l.tx.offloads = allOffloads, allOffloads, allOffloads
	nexus := &roomWaker{told: make(chan struct{}, 1)}
	b.l.nexus = nexus
	var backlog netif.Backlog
	for r := netif.Sent; r != netif.Full; {
		r = b.card.Output(b.segmentOf(&backlog, 64000, 1448), &b.hop)
	}
	select {
	case <-near.irq:
	default:
	}
	stop, ended := make(chan struct{}), make(chan struct{}, 2)
	b.p.up = true
	go func() { b.p.run(); ended <- struct{}{} }()
	go func() { b.l.tx.runFlusher(stop); ended <- struct{}{} }()
	defer func() {
		b.l.closed.Store(true)
		close(stop)
		near.Kick()
		<-ended
		<-ended
	}()
	until(t, "the poller sleeps", func() bool {
		near.mu.Lock()
		defer near.mu.Unlock()
		return near.armed
	})
	select {
	case <-nexus.told:
		t.Fatal("told of room that there is not")
	default:
	}
	if err := b.s.SetQdisc(QdiscFIFO); err != nil {
		t.Fatal(err)
	}
	select {
	case <-nexus.told:
	case <-time.After(patience):
		t.Error("nobody was told of room")
	}
	b.l.tx.mu.Lock()
	b.empty()
	b.l.tx.mu.Unlock()
}

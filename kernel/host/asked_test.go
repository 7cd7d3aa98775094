package host

import (
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/netif"
)

// askedCard counts how often its interrupt was asked for.
type askedCard struct {
	*port
	asked int
}

func (c *askedCard) Await(n int) bool {
	c.asked++
	return c.port.Await(n)
}

func (c *askedCard) Reserve(p *nic.Packet, n int) bool {
	ok := c.port.Reserve(p, n)
	if !ok {
		c.asked++
	}
	return ok
}

// TestCardIsAskedOnce: for packets that wait the card is asked to interrupt once, however many
// come, and again when it has finished some, has stopped for long, or the poller has looked.
func TestCardIsAskedOnce(t *testing.T) {
	for name, limit := range map[string]int{"limit": 3000, "ring": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			b := newQueueBench(t, limit)
			card := &askedCard{port: b.l.dev.(*port)}
			b.l.dev, b.l.tx.dev = card, card
			var bulk netif.Backlog
			number := uint32(0)
			send := func(n int) {
				for range n {
					if r, _ := b.output(&bulk, 1, number, 10); r != netif.Sent {
						t.Fatal(r)
					}
					number++
				}
			}
			for b.l.tx.queue.length() == 0 {
				send(1)
			}
			before := card.asked
			send(60)
			if card.asked != before || before == 0 {
				t.Fatalf("it was asked %d times, and %d times for 60 packets more", before, card.asked-before)
			}
			b.now += askAgain
			send(5)
			if card.asked != before+1 {
				t.Errorf("asked %d times after it had stopped for long", card.asked-before)
			}
			b.p.turn()
			if card.asked != before+2 {
				t.Errorf("asked %d times when the poller has looked", card.asked-before)
			}
			var order [][2]uint32
			for range 2000 {
				order = append(order, b.arrived(1)...)
				b.p.turn()
			}
			for i, p := range order {
				if p[1] != uint32(i) {
					t.Fatalf("packet %d came in place of %d", p[1], i)
				}
			}
			if len(order) != int(number) {
				t.Errorf("%d of %d have come", len(order), number)
			}
			b.empty()
		})
	}
}

// TestWorkIsOwedOnce: packets that leave while the host stack sends in the poller's turn, or with
// another channel's flush, are on their own account and on no other.
func TestWorkIsOwedOnce(t *testing.T) {
	for _, way := range []string{"turn", "flush"} {
		b := newQueueBench(t, 2000)
		var bulkOwes, littleOwes atomic.Int64
		bulk, little := netif.Backlog{Owed: &bulkOwes}, netif.Backlog{Owed: &littleOwes}
		for n := range uint32(20) {
			b.output(&bulk, 1, n, 1000)
		}
		b.card.Flush(nil)
		b.l.tx.now = func() time.Duration { // which moves with each look at it
			b.now += time.Microsecond
			return b.now
		}
		// There is room for all of them at once.
		b.l.tx.limit.Reset()
		b.arrived(cableSlots)
		wait := b.l.tx.queue.length()
		began := b.now
		switch way {
		case "flush":
			b.l.tx.limit.Reset()
			b.card.Flush(&little)
			littleOwes.Add(int64(b.now - began)) // what the caller is charged for
		case "turn":
			b.l.turn.Begin(b.l.tx.now())
			b.l.turn.For(&little, 0, 1)
			b.l.tx.beginTurn()
			pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: 20, Payload: buffer.MakeWithData(make([]byte, 100))})
			copy(pkt.NetworkHeader().Push(20), udpFrame(9, nil)[ethHeader:])
			pkt.NetworkProtocolNumber = ipv4.ProtocolNumber
			pkt.EgressRoute.RemoteLinkAddress = tcpip.LinkAddress(theirMAC[:])
			var list stack.PacketBufferList
			list.PushBack(pkt)
			b.l.WritePackets(list)
			b.l.tx.endTurn(&b.l.turn)
			b.l.turn.End(b.l.tx.now())
			pkt.DecRef()
		}
		left := wait - b.l.tx.queue.length()
		if left == 0 {
			t.Fatalf("%s: nothing has left", way)
		}
		total := b.now - began
		if got := time.Duration(bulkOwes.Load()); got < time.Duration(left)*time.Microsecond || got > total {
			t.Errorf("%s: %d packets that have waited, of %v: %v", way, left, total, got)
		}
		if sum := time.Duration(bulkOwes.Load() + littleOwes.Load()); sum > total {
			t.Errorf("%s: %v are owed of %v", way, sum, total)
		}
	}
}

package flowswitch_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/userland/channel"
)

// TestWorkIsOwed: the time that the receiver takes for a domain's packets is on its account and
// on nobody else's: for what arrives, if it finds room or not, and for what had to wait for the
// card.
func TestWorkIsOwed(t *testing.T) {
	const each = 10 * time.Microsecond
	w := newWorld(t)
	busy, other := w.domain([]string{"udp/5000"}, []string{"udp/*:*"}), w.domain([]string{"udp/5001"}, nil)
	for i, d := range []*domain{busy, other} {
		if _, errno := d.bind(17, uint16(5000+i)); errno != 0 {
			t.Fatal(errno)
		}
	}
	is := func(what string, first, second time.Duration) {
		t.Helper()
		if a, b := busy.channel.Owed(), other.channel.Owed(); a != first || b != second {
			t.Errorf("%s: %v and %v are owed, want %v and %v", what, a, b, first, second)
		}
	}
	pass := func() {
		w.mu.Lock()
		w.now += each
		w.mu.Unlock()
	}
	// One batch, whose copies take a time.
	batch := func(ports ...uint16) {
		for _, port := range ports {
			b := datagramTo(port, []byte("data"))
			to := w.sw.Match(b, len(b))
			pass() // what is done behind a look that finds nobody is not the next one's
			if to == nil {
				continue
			}
			rest := b
			w.sw.Deliver(to, &netif.Arrived{Head: b, Length: len(b), Verified: true, Fill: func(piece []byte) {
				rest = rest[copy(piece, rest):]
				pass()
			}})
		}
		w.sw.Flush()
	}
	batch(5000, 5001, 9, 5000)
	is("what arrives", 4*each, 2*each)
	for w.drops()["flowswitch_drop_rx_no_room"] == 0 {
		w.arrive(datagramTo(5000, []byte("data")))
	}
	busy.channel.Owed()
	batch(5000, 5000)
	is("what finds no room", 2*each, 0)

	w.mu.Lock()
	w.full = true
	w.onOutput = func([]byte) { w.now += each }
	w.mu.Unlock()
	for range 3 {
		busy.send(datagramFrom(5000, outside, []byte("data")), channel.Outgoing{})
	}
	is("what the domain does itself", 0, 0)
	w.mu.Lock()
	w.full = false
	w.mu.Unlock()
	if w.sw.Room() {
		t.Error("there is more to send")
	}
	is("what has waited", 3*each, 0)
	if w.sw.Room() {
		t.Error("nothing waits, and there is more to send")
	}
	is("nothing", 0, 0)
}

// TestRoomTakesTurns: what waits for the card is sent for a while at a time, the senders in turns,
// and none is forgotten.
func TestRoomTakesTurns(t *testing.T) {
	// It is looked at the clock once for each batch of packets.
	const packets, batch, each = 90, 64, 100 * time.Microsecond
	const longest = time.Millisecond + batch*each
	w := newWorld(t)
	var sent [3]int
	for i := range sent {
		port := uint16(5000 + i)
		d := w.domain([]string{"udp/*"}, []string{"udp/*:*"})
		if _, errno := d.bind(17, port); errno != 0 {
			t.Fatal(errno)
		}
		w.full = true
		for n := range packets {
			b := datagramFrom(port, outside, binary.BigEndian.AppendUint32(nil, uint32(n)))
			for tries := 0; !d.user.Send(&channel.Outgoing{Length: len(b)}, func(piece []byte) { copy(piece, b) }); tries++ {
				if d.user.Flush(); tries == 10 { // which tells that it wants more memory
					t.Fatal("no room")
				}
			}
			d.user.Flush()
		}
	}
	w.onOutput = func(b []byte) {
		w.now += each
		from := binary.BigEndian.Uint16(b[20:]) - 5000
		if n := int(binary.BigEndian.Uint32(b[28:])); n != sent[from] {
			t.Errorf("domain %d: packet %d comes where %d is due", from, n, sent[from])
		}
		sent[from]++
	}
	w.full = false
	calls := 0
	for more := true; more; calls++ {
		if calls > 100 {
			t.Fatal("there is no end to it")
		}
		began, before := w.now, sent
		more = w.sw.Room()
		if took := w.now - began; took > longest {
			t.Errorf("call %d took %v", calls, took)
		}
		least, most := packets, 0
		for i := range sent {
			least, most = min(least, sent[i]), max(most, sent[i])
		}
		if most-least > batch {
			t.Errorf("call %d: the senders have %v of %d, before %v", calls, sent, packets, before)
		}
	}
	if sent != [3]int{packets, packets, packets} {
		t.Errorf("of %d each, %v were sent", packets, sent)
	}
	if calls < 2*len(sent) {
		t.Errorf("all were sent in %d calls", calls)
	}
}

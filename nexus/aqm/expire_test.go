package aqm_test

import (
	"slices"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

func lives(p aqm.Packet, until time.Duration) aqm.Packet {
	p.Expires = until
	return p
}

// TestExpiry: a packet whose lifetime is over when its turn comes is dropped, with a reason of its
// own, and the next one leaves in its place; one whose lifetime is not over leaves.
func TestExpiry(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	now := w.now
	w.must(1, lives(udp(1, 1500), now+10*ms)) // 1
	w.must(1, lives(udp(1, 1500), now+11*ms)) // 2
	w.must(1, udp(1, 1500))                   // 3
	w.must(1, lives(udp(2, 1000), now+1*ms))  // 4
	w.must(1, lives(udp(3, 1000), now+1*ms))  // 5
	w.now = now + ms - 1
	if p := w.get(); p.Handle != 1 {
		t.Errorf("%d leaves, want 1", p.Handle)
	}
	if p := w.get(); p.Handle != 4 || len(w.dropped) != 0 {
		t.Errorf("%d leaves before its end, want 4; dropped %v", p.Handle, w.dropped)
	}
	w.now = now + 11*ms
	w.ok()
	if p := w.get(); p.Handle != 3 {
		t.Errorf("%d leaves, want 3", p.Handle)
	}
	w.none()
	w.ok()
	got := handles(w.dropped, func(d *dropped) uint32 { return d.Handle })
	slices.Sort(got)
	if !slices.Equal(got, []uint32{2, 5}) || w.dropped[0].why != aqm.Expired || w.dropped[1].why != aqm.Expired {
		t.Errorf("dropped %+v, want 2 and 5", w.dropped)
	}
	if c := w.Counts(); c.Drops[aqm.Expired] != (aqm.Count{Packets: 2, Bytes: 2500}) || c.Out.Packets != 3 {
		t.Errorf("%+v", c)
	}
}

// TestExpiryOfPacedPackets: a packet that is to leave later than it is worth sending never does, and
// does not keep those behind it any longer than its time.
func TestExpiryOfPacedPackets(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	p := lives(udp(1, 100), w.now+ms)
	p.TxTime = w.now + 2*ms
	w.must(1, p)
	w.must(1, udp(1, 100))
	w.none()
	w.now += 2 * ms
	if p := w.get(); p.Handle != 2 || len(w.dropped) != 1 {
		t.Errorf("%d leaves, dropped %v", p.Handle, w.dropped)
	}
	w.ok()
}

// TestExpiryReleasesItsFlow: a flow that is to pause and has nothing left, as all of it has expired,
// goes on. Nothing of another flow is dropped for it.
func TestExpiryReleasesItsFlow(t *testing.T) {
	w := newWorld(t, aqm.Config{Packets: 64})
	until := w.now + 20*ms
	for range 40 {
		w.must(1, lives(tcp(1, 1500), until))
	}
	w.must(3, udp(2, 100))
	if c := w.Counts(); c.Controlled != 1 {
		t.Fatalf("%d flows pause, want 1", c.Controlled)
	}
	w.now = until
	for range 3 {
		if p := w.get(); p.Flow.ID != 2 {
			t.Errorf("%+v leaves", p)
		}
	}
	w.none()
	if len(w.released) != 1 || len(w.dropped) != 40 || w.left != 0 {
		t.Errorf("released %v, %d dropped, %d left", w.released, len(w.dropped), w.left)
	}
	w.ok()
}

// TestAcksThatExpire: an acknowledgement that expires takes nobody's place, as the other one might
// have left; one that is not to expire takes its own.
func TestAcksThatExpire(t *testing.T) {
	ack := func(n uint32, life time.Duration) aqm.Packet {
		p := lives(tcp(1, 66), life)
		p.PureAck, p.Ack = true, n
		return p
	}
	w := newWorld(t, aqm.Config{})
	w.must(1, ack(1, 0))
	w.must(1, ack(2, w.now+ms))
	w.must(1, ack(3, 0)) // in the place of 2
	w.now += ms
	if a, b := w.get(), w.get(); a.Ack != 1 || b.Ack != 3 || len(w.dropped) != 1 || w.dropped[0].why != aqm.AckSuperseded {
		t.Errorf("%d and %d leave, dropped %+v", a.Ack, b.Ack, w.dropped)
	}
	w.ok()
}

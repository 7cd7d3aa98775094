// This file owns what must hold for each driver, with the card that it drives.

package cardtest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/nic"
)

// Device is a driver of a card that an IOMMU may stand in front of.
type Device interface {
	nic.Device
	// Blocked says that the card was kept from an access: it is reset.
	Blocked(error)
}

// Card is a card's side of the rings.
type Card struct {
	// Deliver has a frame arrive. It reports false when no receive buffer is lent.
	Deliver func(frame []byte) bool
	// Sent finishes what is queued, and returns it in the order in which it was.
	Sent func() [][]byte
	// Held returns how many receive buffers the card has.
	Held func() int
	// Raised takes a raised interrupt and reports whether there was one.
	Raised func() bool
}

// Works checks that a frame goes each way and that no receive buffer is lost. Nothing may
// be queued, and the poller may hold nothing.
func Works(t testing.TB, d nic.Device, c Card) {
	t.Helper()
	batch := nic.NewBatch(4)
	frame := Frame(100, 9)
	if !c.Deliver(frame) {
		t.Fatal("the driver has lent no buffers")
	}
	if n := d.Receive(batch); n != 1 || !bytes.Equal(Contents(&batch[0]), frame) {
		t.Fatalf("received %d frames: %x", n, Contents(&batch[0]))
	}
	d.Release(batch[:1])
	Send(t, d, frame)
	if got := c.Sent(); len(got) != 1 || !bytes.Equal(got[0], frame) {
		t.Fatalf("the card sent %d frames", len(got))
	}
	if n := c.Held(); n != d.Info().RxRing {
		t.Fatalf("the card holds %d receive buffers, want %d", n, d.Info().RxRing)
	}
}

// Finished checks that what the card has done with is counted once, whichever way it went,
// and that who waits for that is woken.
func Finished(t *testing.T, d Device, c Card) {
	t.Helper()
	if d.Await(8) || d.Finished() != 0 {
		t.Error("something to wait for on an idle card")
	}
	for range 4 {
		Send(t, d, Frame(100, 1))
	}
	if n := d.Finished(); n != 0 || !d.Await(8) || c.Raised() {
		t.Fatalf("%d bytes are finished of frames that the card has", n)
	}
	c.Sent()
	d.Wait()
	if d.Finished() != 400 || d.Finished() != 0 {
		t.Error("not 400 bytes, or told twice")
	}
	Send(t, d, Frame(100, 1))
	c.Sent()
	if d.Await(8) {
		t.Error("what is finished is waited for")
	}
	if n := d.Finished(); n != 100 {
		t.Errorf("%d bytes, want 100", n)
	}
	// What is refused by Transmit, and what a reset takes back.
	batch := nic.NewBatch(1)
	if !d.Reserve(&batch[0], 60) {
		t.Fatal("no room")
	}
	batch[0].GSO = 9
	d.Transmit(batch)
	Send(t, d, Frame(200, 1))
	if n := d.Finished(); n != 60 {
		t.Errorf("%d bytes, want 60", n)
	}
	d.Blocked(errors.New("write beyond"))
	if !d.Await(8) {
		t.Error("a reset is not waited for")
	}
	d.Receive(batch)
	if n := d.Finished(); n != 200 || Count(d, "reset_blocked") != 1 {
		t.Errorf("%d bytes after a reset, want 200", n)
	}
	Works(t, d, c)
}

// AwaitFindsOut checks that a card which finishes nothing for longer than timeout is reset
// when somebody waits for it. clock is the one that d has.
func AwaitFindsOut(t *testing.T, d nic.Device, c Card, clock *Clock, timeout time.Duration) {
	t.Helper()
	batch := nic.NewBatch(1)
	Send(t, d, Frame(100, 1))
	if !d.Await(8) {
		t.Fatal("nothing to wait for")
	}
	clock.Sleep(timeout - 10*time.Millisecond)
	if !d.Await(8) || d.Receive(batch) != 0 || Count(d, "reset_tx_timeout") != 0 {
		t.Fatal("reset too early")
	}
	clock.Sleep(10 * time.Millisecond)
	if !d.Await(8) {
		t.Error("a reset is not waited for")
	}
	d.Wait()
	d.Receive(batch)
	if n := Count(d, "reset_tx_timeout"); n != 1 || d.Finished() != 100 {
		t.Errorf("%d resets", n)
	}
	Works(t, d, c)
}

// Hands are a frame that the poller holds and one that the sender has reserved.
type Hands struct {
	received []nic.Packet
	reserved []nic.Packet
}

// TakeInHand receives a frame and reserves another.
func TakeInHand(t *testing.T, d nic.Device, c Card) *Hands {
	t.Helper()
	h := &Hands{nic.NewBatch(1), nic.NewBatch(1)}
	if !c.Deliver(Frame(99, 7)) || d.Receive(h.received) != 1 {
		t.Fatal("no frame")
	}
	if !d.Reserve(&h.reserved[0], 77) {
		t.Fatal("no room")
	}
	Fill(&h.reserved[0], Frame(77, 8))
	return h
}

// Untouched checks that a reset has left both to those who have them: the one is as it was
// and not the card's, the other is sent.
func (h *Hands) Untouched(t *testing.T, d nic.Device, c Card) {
	t.Helper()
	if !bytes.Equal(Contents(&h.received[0]), Frame(99, 7)) {
		t.Error("a frame in the poller's hands was changed")
	}
	d.Release(h.received)
	d.Transmit(h.reserved)
	if got := c.Sent(); len(got) != 1 || !bytes.Equal(got[0], Frame(77, 8)) {
		t.Errorf("%d frames were sent, want the one that was reserved", len(got))
	}
	Works(t, d, c)
}

// GivenUp checks that d has given its device up: its link is down, nothing moves, all calls
// still return, and nothing spins, as armed is armed.
func GivenUp(t *testing.T, d nic.Device) {
	t.Helper()
	if d.Link().Up || Count(d, "stopped") != 1 {
		t.Errorf("link %v, stopped %d times", d.Link(), Count(d, "stopped"))
	}
	batch := nic.NewBatch(1)
	d.Finished()
	if d.Receive(batch) != 0 || d.Reserve(&batch[0], 60) || !d.Arm() || !d.Await(1) {
		t.Error("a stopped device moves frames")
	}
	d.Disarm()
	batch[0].Len = 60
	lost := Count(d, "tx_lost")
	d.Transmit(batch)
	if n := d.Finished(); n != 60 || Count(d, "tx_lost") != lost+1 {
		t.Errorf("%d bytes are finished of a frame of 60, %d lost", n, Count(d, "tx_lost")-lost)
	}
	d.Release(batch)
	d.Kick()
	d.Wait()
}

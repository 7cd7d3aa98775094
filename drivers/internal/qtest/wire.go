//go:build linux

// This file owns the network behind QEMU's cards.

package qtest

import (
	"bytes"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/nic"
)

// Wire is the other end of a -netdev dgram.
type Wire struct {
	t    testing.TB
	conn *net.UnixConn
	peer *net.UnixAddr
}

// NewWire returns a wire, and what to give to QEMU's -netdev for it. The card is to have
// netdev=n0.
func NewWire(t testing.TB) (w *Wire, netdev string) {
	t.Helper()
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "test"), filepath.Join(dir, "qemu")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: ours, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(deadline))
	return &Wire{t, conn, &net.UnixAddr{Name: theirs, Net: "unixgram"}},
		"dgram,id=n0,local.type=unix,local.path=" + theirs + ",remote.type=unix,remote.path=" + ours
}

// Send sends a frame to the card.
func (w *Wire) Send(frame []byte) {
	w.t.Helper()
	if _, err := w.conn.WriteTo(frame, w.peer); err != nil {
		w.t.Fatal(err)
	}
}

// Receive waits for a frame of the card.
func (w *Wire) Receive() []byte {
	w.t.Helper()
	b := make([]byte, 70_000)
	n, _, err := w.conn.ReadFrom(b)
	if err != nil {
		w.t.Fatal(err)
	}
	return b[:n]
}

// Exercise moves frames of those lengths through d in bursts, as many rounds as asked for,
// both ways, and compares each byte.
func (w *Wire) Exercise(d nic.Device, rounds int, lengths []int) {
	w.t.Helper()
	batch := nic.NewBatch(len(lengths))
	for round := range rounds {
		for i, n := range lengths {
			if !d.Reserve(&batch[i], n) {
				w.t.Fatalf("round %d: no room", round)
			}
			cardtest.Fill(&batch[i], cardtest.Frame(n, byte(round+i)))
		}
		d.Transmit(batch)
		for i, n := range lengths {
			if got := w.Receive(); !bytes.Equal(got, cardtest.Frame(n, byte(round+i))) {
				w.t.Fatalf("round %d: frame %d of %d bytes, want %d", round, i, len(got), n)
			}
		}
		for i, n := range lengths {
			w.Send(cardtest.Frame(n, byte(round-i)))
		}
		for i, frame := range Arrivals(d, len(lengths)) {
			if want := cardtest.Frame(lengths[i], byte(round-i)); !bytes.Equal(frame, want) {
				w.t.Fatalf("round %d: received %d bytes, want %d", round, len(frame), len(want))
			}
		}
	}
}

// Arrivals waits for n frames, in batches of so many at most, and returns them.
func Arrivals(d nic.Device, n int) (frames [][]byte) {
	batch := nic.NewBatch(n)
	for len(frames) < n {
		k := d.Receive(batch[:n-len(frames)])
		for i := range k {
			frames = append(frames, bytes.Clone(cardtest.Contents(&batch[i])))
		}
		d.Release(batch[:k])
		if k == 0 && d.Arm() {
			d.Wait()
			d.Disarm()
		}
	}
	return frames
}

// CheckCounters checks that d has counted that many frames each way, under its own names
// and those of more, and nothing that is not a part of moving them.
func CheckCounters(t testing.TB, d nic.Device, frames int, more ...string) {
	t.Helper()
	d.Counters(func(name string, v uint64) {
		switch {
		case name == "rx_frames" || name == "tx_frames" || slices.Contains(more, name):
			if v != uint64(frames) {
				t.Errorf("%s is %d, want %d", name, v, frames)
			}
		case slices.Contains([]string{"rx_bytes", "tx_bytes", "rx_notifies", "tx_notifies", "wakeups"}, name):
		case v != 0:
			t.Errorf("%s is %d", name, v)
		}
	})
}

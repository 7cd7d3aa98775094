// This file owns a card that looks only where it is told to, and the tests of
// who is told what when a device is reset or never gets ready.

package net

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/internal/recovery"
	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/drivers/virtio"
	"github.com/sluice-os/sluice/drivers/virtio/internal/fake"
)

// lazy is a card that looks at a queue when it is notified, and never else.
type lazy struct {
	*card
	seen [fake.Queues]int // chains that waited at the last look
}

func newLazy(features uint64) *lazy {
	l := &lazy{card: newCard(features)}
	serve := l.OnNotify
	l.OnNotify = func(q int) {
		serve(q)
		l.seen[q] = l.Available(q)
	}
	return l
}

// TestRecoveryWakes has a sender wait for room in a full ring when the device
// must be reset. The poller, back in Wait, is woken although no interrupt
// comes: for the room, or for the link that is down. A device that works again
// knows of every buffer and of the next frame.
func TestRecoveryWakes(t *testing.T) {
	needsReset := func(c *lazy, _ *Device, _ *cardtest.Clock) { c.NeedReset() }
	for _, tt := range []struct {
		name  string
		up    bool
		spoil func(*lazy, *Device, *cardtest.Clock)
	}{
		{"asks for a reset", true, needsReset},
		{"finishes nothing", true, func(_ *lazy, d *Device, now *cardtest.Clock) {
			now.Sleep(DefaultTxTimeout)
			d.Reserve(&nic.NewBatch(1)[0], 60)
		}},
		{"lies", true, func(c *lazy, d *Device, _ *cardtest.Clock) {
			c.SetUsedIndex(queueTransmit, 999)
			d.Reserve(&nic.NewBatch(1)[0], 60)
		}},
		{"reset hangs", false, func(c *lazy, d *Device, now *cardtest.Clock) {
			c.HangReset = true
			needsReset(c, d, now)
		}},
		{"reset too often", false, func(c *lazy, d *Device, now *cardtest.Clock) {
			batch := nic.NewBatch(1)
			for range recovery.ResetsMax {
				d.Blocked(errNeedsReset)
				d.Receive(batch)
			}
			for d.Reserve(&batch[0], 60) {
				d.Transmit(batch)
			}
			if !d.Arm() || !d.Link().Up {
				t.Fatal("given up too early")
			}
			needsReset(c, d, now)
		}},
	} {
		for name, features := range map[string]uint64{"event index": full, "flags": full &^ virtio.FeatureEventIndex} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				c, now := newLazy(features), &cardtest.Clock{}
				d := mustOpen(t, c.card, Config{TxRing: 16, Now: now.Now})
				batch := nic.NewBatch(1)
				for d.Reserve(&batch[0], 60) {
					d.Transmit(batch)
				}
				if !d.Arm() {
					t.Fatal("frames are waiting")
				}

				tt.spoil(c, d, now)
				for c.Irq.Raised() {
					c.Irq.Raise()
					d.Wait()
				}
				d.Disarm()
				c.seen = [fake.Queues]int{}
				if d.Receive(batch) != 0 || d.Link().Up != tt.up {
					t.Fatalf("link %v, want up %v", d.Link(), tt.up)
				}
				if !d.Arm() || !c.Irq.Raised() {
					t.Error("the poller sleeps on")
				}
				d.Disarm()
				if !tt.up {
					return
				}
				if n := c.seen[queueReceive]; n != d.Info().RxRing {
					t.Errorf("the card knows of %d receive buffers, want %d", n, d.Info().RxRing)
				}
				send(t, d, frameOf(60, 1))
				if n := c.seen[queueTransmit]; n != 1 {
					t.Errorf("the card knows of %d frames, want 1", n)
				}
				c.transmitAll()
				works(t, d, c.card)
			})
		}
	}
}

// eager is a card that asks for a reset whenever it is started.
type eager struct{ *card }

func (e eager) SetStatus(s uint8) {
	if s&virtio.StatusDriverOK != 0 {
		s |= virtio.StatusNeedsReset
	}
	e.card.SetStatus(s)
}

// TestNeverReady opens devices whose status does not get to where it should.
// What there is to say is one line, for the caller to log.
func TestNeverReady(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		transport  func(*card) virtio.Transport
	}{
		{"reset hangs", "does not finish its reset", func(c *card) virtio.Transport { c.HangReset = true; return c }},
		{"features refused", "refuses", func(c *card) virtio.Transport { c.RefuseFeatures = true; return c }},
		{"reset wanted", "as soon as it is started", func(c *card) virtio.Transport { return eager{c} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			c := newCard(full)
			d, err := Open(tt.transport(c), c.DMA, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err == nil || d != nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, tt.want)
			}
			if log.Len() != 0 {
				t.Errorf("logged what the caller logs too: %s", log.String())
			}
			if c.Status()&virtio.StatusFailed == 0 || c.Silenced() != 1 || c.Memory.Used() != 0 {
				t.Errorf("status %#x, silenced %d times, %d bytes are lost", c.Status(), c.Silenced(), c.Memory.Used())
			}
		})
	}
}

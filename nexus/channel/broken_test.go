package channel_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/ring"
)

// This file owns what becomes of a broken channel that is looked at in another way than by
// its domain's notification.

// TestBadRingsEachWay (badringtl, badringtp, badringtk, badringts, badringrl, badringrp,
// badringrk, badringrs): a head or a tail that cannot be, in each ring and found in each way
// in which the kernel looks, ends the domain at its next sync at the latest, for that ring. A
// channel that is broken can be taken back as any other.
func TestBadRingsEachWay(t *testing.T) {
	ways := map[string]func(x *pair, kind int){
		"sync":    func(*pair, int) {},
		"resize":  func(x *pair, kind int) { _ = x.Resize(kind, 64) },
		"look":    func(x *pair, _ int) { x.Look(time.Hour) },
		"deliver": func(x *pair, _ int) { x.deliver(content(100)) }, // a Flush would write the tail anew
		"offer":   func(x *pair, _ int) { x.Offer(&channel.Delivery{Length: 100}, func([]byte) {}) },
		"event":   func(x *pair, _ int) { x.Post(abi.Slot{Index: abi.None, Kind: abi.SlotLink}) },
		"resume":  func(x *pair, _ int) { _ = x.Resume(x.send) },
		"shown":   func(x *pair, _ int) { x.Rings() },
		"defunct": func(x *pair, _ int) { _, _ = x.Defunct() },
	}
	for name, look := range ways {
		t.Run(name, func(t *testing.T) {
			for kind := range abi.RingKinds {
				for _, want := range []error{ring.ErrHead, ring.ErrTail, nil} {
					x := resizable(t, arena.Params{Packets: 64, Buffers: 16})
					shared := raw{x}.ring(kind)
					switch want {
					case ring.ErrHead:
						shared.Head = 1<<32 - 1
					case ring.ErrTail:
						shared.Tail ^= 1
					}
					look(x, kind)
					err := x.Channel.Sync(x.send)
					if name == "defunct" {
						want = channel.ErrDefunct
					}
					var v *channel.Violation
					if !errors.Is(err, want) || errors.As(err, &v) && v.Ring != kind {
						t.Errorf("%s ring: got %v, want %v", channel.RingName(kind), err, want)
					}
				}
			}
		})
	}
}

// TestBrokenAndSilent: a domain whose channel was found broken while it asked for nothing
// ends with the kernel's next look, once, and does not keep the channel's memory by never
// asking again. The control goes on.
func TestBrokenAndSilent(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(x *pair)
		want   bool
	}{
		"control": {func(x *pair) { x.deliver(content(100)) }, false},
		"what it gave back is looked at when packets come": {func(x *pair) {
			*raw{x}.slot(abi.RingFree, 0) = abi.Slot{Index: 1 << 20, Kind: abi.SlotPacket}
			raw{x}.ring(abi.RingFree).Head = 1
			for x.deliver(content(100)) {
			}
		}, true},
		"what waits is looked at when the card has room": {func(x *pair) {
			x.full = true
			x.submit(content(100))
			x.submit(content(100))
			x.user.Flush()
			raw{x}.packet(int(raw{x}.slot(abi.RingTx, 1).Index)).Redzone++
			x.full = false
			_ = x.Resume(x.send)
		}, true},
		"a ring is resized": {func(x *pair) {
			raw{x}.ring(abi.RingTx).Head = 1<<32 - 1
			_ = x.Resize(abi.RingTx, 64)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			x := resizable(t, arena.Params{Packets: 64, Buffers: 16})
			ended, why := 0, error(nil)
			x.SetBroken(func(v *channel.Violation) { ended, why = ended+1, v })
			x.Look(time.Hour)
			c.damage(x)
			if broken := x.Err() != nil; broken != c.want {
				t.Fatalf("it is %v", x.Err())
			}
			for i := range time.Duration(3) {
				x.Look(time.Hour + (i+1)*time.Second)
			}
			if (ended == 1) != c.want || ended > 1 || why != x.Err() {
				t.Errorf("it has ended %d times, for %v, want %v", ended, why, x.Err())
			}
		})
	}
}

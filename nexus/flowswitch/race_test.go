package flowswitch_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	pkt "github.com/sluice-os/sluice/nexus/packet"
	"github.com/sluice-os/sluice/userland/channel"
)

// This file owns the races on headers, capability 8.3: the domain writes to a packet that
// the kernel is checking.

// headerForgeries are what a domain may write over the headers of a packet, byte by byte.
var headerForgeries = []struct {
	name string
	at   int
	with []byte
}{
	{"version", 0, []byte{0x65}},
	{"header length", 0, []byte{0x46}},
	{"length", 2, []byte{0, 20}},
	{"longer", 2, []byte{1, 0}},
	{"fragment", 6, []byte{0x20, 0}},
	{"later fragment", 6, []byte{0, 9}},
	{"protocol", 9, []byte{47}},
	{"source", 12, []byte{192, 0, 2, 99}},
	{"destination", 16, []byte{224, 0, 0, 1}},
	{"source port", 20, []byte{0, 22}},
	{"destination port", 22, []byte{0, 22}},
}

// victim is a UDP packet of a domain's in its own view of the tx ring.
type victim struct {
	*scene
	good  []byte
	bytes []byte // in the domain's memory, once it is submitted
}

func newVictim(x *scene) *victim {
	p := x.connected()
	p.payload = 100
	return &victim{scene: x, good: p.bytes()}
}

// submit writes the packet as it ought to be and has the kernel look.
func (v *victim) submit(before func()) {
	if !v.d.user.Send(&channel.Outgoing{Length: len(v.good)}, func(piece []byte) {
		copy(piece, v.good)
		v.bytes = piece
	}) {
		v.t.Fatal("no room")
	}
	if before != nil {
		before()
	}
	v.d.user.Flush()
}

// forged says what is wrong with a packet that left; "" for nothing.
func (v *victim) forged(b []byte) string {
	in, why := pkt.Parse(b[:min(len(b), pkt.FrontMax)], len(b))
	switch {
	case why != pkt.OK:
		return "it is " + why.String()
	case in.Length != len(b) || in.Fragment() || in.HasOptions:
		return fmt.Sprintf("%d bytes of %d, or a fragment, or options", in.Length, len(b))
	case !bytes.Equal(b[9:10], v.good[9:10]) || !bytes.Equal(b[12:24], v.good[12:24]):
		return fmt.Sprintf("%v:%d to %v:%d, protocol %d", in.SrcAddr(), in.SrcPort, in.DstAddr(), in.DstPort, in.Proto)
	}
	return ""
}

// TestCapability83CheckedCopyLeaves writes each forgery between the check and the sending:
// what leaves is what was checked. The control is code that reads again, which each forgery
// deceives.
func TestCapability83CheckedCopyLeaves(t *testing.T) {
	for _, f := range headerForgeries {
		for _, twice := range []bool{false, true} {
			w := newWorld(t)
			v := newVictim(&scene{w, w.domain(nil, []string{"udp/*:*"})})
			if twice {
				w.sw.SendTwice(v.d.channel)
			}
			w.between = func() { copy(v.bytes[f.at:], f.with) } // admit asks for the MTU
			v.submit(nil)
			if len(w.sent) != 1 {
				t.Fatalf("%s: %d left, %v", f.name, len(w.sent), w.drops())
			}
			if caught := v.forged(w.sent[0]); (caught != "") != twice {
				t.Errorf("%s, reading twice %v: %q", f.name, twice, caught)
			}
		}
	}
}

// TestCapability83CheckedFragmentLeaves is the same for fragments: each is forged when it was
// checked, so that the last one lies over the ports of the first.
func TestCapability83CheckedFragmentLeaves(t *testing.T) {
	for _, twice := range []bool{false, true} {
		w := newWorld(t)
		v := newVictim(&scene{w, w.domain(nil, []string{"udp/*:*"})})
		if twice {
			w.sw.SendTwice(v.d.channel)
		}
		var pieces [][]byte
		parts := fragments(v.good, 7, 60)
		for _, part := range parts {
			if !v.d.user.Send(&channel.Outgoing{Length: len(part)}, func(piece []byte) {
				copy(piece, part)
				pieces = append(pieces, piece)
			}) {
				t.Fatal("no room")
			}
		}
		n := 0
		w.between = func() { // admit asks for the MTU, once a packet
			copy(pieces[n][6:], []byte{0, 1})
			copy(pieces[n][20:], []byte{0, 22, 0, 22})
			n++
		}
		v.d.user.Flush()
		if len(w.sent) != len(parts) || n != len(parts) {
			t.Fatalf("%d of %d left, %v", len(w.sent), len(parts), w.drops())
		}
		for i, b := range w.sent {
			want := bytes.Clone(parts[i])
			copy(want[4:6], b[4:6]) // the ID is the kernel's
			copy(want[10:12], b[10:12])
			if same := bytes.Equal(b, want); same == twice {
				t.Errorf("fragment %d of %d, reading twice %v: % x", i, len(parts), twice, b)
			}
		}
	}
}

// huntHeaders has packets sent while another processor writes over their headers, until one
// leaves forged, and returns what it was; else, when enough were sent and refused, "".
func huntHeaders(t *testing.T, twice bool) string {
	if runtime.GOMAXPROCS(0) < 2 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	}
	w := newWorld(t)
	v := newVictim(&scene{w, w.domain(nil, []string{"udp/*:*"})})
	if twice {
		w.sw.SendTwice(v.d.channel)
	}
	caught, left := "", 0
	w.onOutput = func(b []byte) {
		left++
		if c := v.forged(b); c != "" {
			caught = c
		}
	}
	var target atomic.Pointer[byte]
	var over atomic.Bool
	var done sync.WaitGroup
	done.Go(func() {
		r := rand.New(rand.NewPCG(1, 2))
		for !over.Load() {
			p := target.Load()
			if p == nil {
				runtime.Gosched()
				continue
			}
			b := unsafe.Slice(p, 24)
			f := headerForgeries[r.IntN(len(headerForgeries))]
			copy(b[f.at:], f.with)
			copy(b[f.at:], v.good[f.at:f.at+len(f.with)])
		}
	})
	defer func() { over.Store(true); done.Wait() }()
	const enough, refused = 1000, 100
	drops := func() (n uint64) {
		for _, d := range w.drops() {
			n += d
		}
		return n
	}
	for end := time.Now().Add(patience); caught == "" && time.Now().Before(end); {
		if !twice && left >= enough && drops() >= refused {
			return ""
		}
		for range 64 {
			v.submit(func() { target.Store(&v.bytes[0]) })
		}
	}
	if caught == "" {
		t.Fatalf("%d packets left and %d were refused: the hunter has not shot", left, drops())
	}
	return caught
}

// TestCapability83Hunted: no forged packet leaves, whenever it is written.
func TestCapability83Hunted(t *testing.T) {
	if caught := huntHeaders(t, false); caught != "" {
		t.Error(caught)
	}
}

// TestCapability83HunterCatches is the control: of code that reads twice one does.
func TestCapability83HunterCatches(t *testing.T) {
	t.Log(huntHeaders(t, true))
}

// TestChangedAfterSubmit: what a domain writes after the kernel has taken a packet is not in
// it, head and tail.
func TestChangedAfterSubmit(t *testing.T) {
	w := newWorld(t)
	v := newVictim(&scene{w, w.domain(nil, []string{"udp/*:*"})})
	v.submit(nil)
	clear(v.bytes)
	if len(w.sent) != 1 || !bytes.Equal(w.sent[0], v.good) {
		t.Errorf("%d left", len(w.sent))
	}
	// One that waits for the card is checked when it leaves, not before.
	w.full = true
	v.submit(nil)
	binary.BigEndian.PutUint16(v.bytes[20:], 22)
	w.full = false
	w.sw.Room()
	if m := w.drops(); len(w.sent) != 1 || m["flowswitch_drop_tx_not_found"] != 1 {
		t.Errorf("%d left, %v", len(w.sent), m)
	}
}

package channel_test

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/arena"
)

// TestAccountIsOutOfSight: a domain that could write all that it sees, what it may only
// read as well, changes nothing of what the kernel knows: who has each packet, where each ring
// stands, which memory is whose. With its memory as before the channel works.
func TestAccountIsOutOfSight(t *testing.T) {
	p, err := arena.Named("small")
	if err != nil {
		t.Fatal(err)
	}
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	x := newPair(t, p)
	x.works(t)
	// In each ring that carries packets something waits.
	x.full = true
	for range 3 {
		if !x.submit(content(3000)) || !x.deliver(content(3000)) {
			t.Fatal("no room")
		}
	}
	x.user.Flush()
	x.Flush()
	pools, backed := x.Pools(), [arena.Regions]int{}
	for id := range backed {
		backed[id] = x.Arena().Backed(arena.ID(id))
	}
	sees := unsafe.Slice((*byte)(x.base), l.Size)
	before := bytes.Clone(sees)
	for _, b := range []byte{0xff, 0, 0x5a} {
		for i := range sees {
			sees[i] = b
		}
		if got := x.Pools(); got != pools {
			t.Errorf("the account is %+v, was %+v", got, pools)
		}
		for id, was := range backed {
			if got := x.Arena().Backed(arena.ID(id)); got != was {
				t.Errorf("%v has %d bytes, had %d", arena.ID(id), got, was)
			}
		}
		copy(sees, before)
	}
	x.full, x.sent = false, nil
	x.user.Flush()
	got := x.receive(9)
	if x.err != nil || len(x.sent) != 3 || len(got) != 3 {
		t.Errorf("%d packets sent, %d received, %v", len(x.sent), len(got), x.err)
	}
	x.works(t)
}

package e1000

import (
	"errors"
	"slices"
	"testing"

	"github.com/sluice-os/sluice/drivers/nic"
)

// What the tests of the filter send to: groups that have no bit of the table in common, and
// two that have one.
var (
	toAll       = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	allNodes    = [6]byte{0x33, 0x33, 0, 0, 0, 1}
	solicited   = [6]byte{0x33, 0x33, 0xff, 0x12, 0x34, 0x56}
	allSystems  = [6]byte{0x01, 0, 0x5e, 0, 0, 1} // that of allNodes
	allRouters  = [6]byte{0x01, 0, 0x5e, 0, 0, 2}
	allISs      = [6]byte{0x01, 0x80, 0xc2, 0, 0, 0x15}
	nextStation = [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0x57}

	everyAddress = [][6]byte{testMAC, toAll, allNodes, solicited, allSystems, allRouters, allISs, nextStation}
)

func frameTo(to [6]byte) []byte {
	frame := frameOf(60, 0)
	copy(frame, to[:])
	return frame
}

// filterSteps are what a card is told and to whom it then takes frames, beside itself and all.
var filterSteps = []struct {
	name   string
	groups [][6]byte
	all    bool
	want   [][6]byte
}{
	{"one", [][6]byte{solicited}, false, [][6]byte{solicited}},
	{"two", [][6]byte{solicited, allISs}, false, [][6]byte{solicited, allISs}},
	{"another", [][6]byte{allISs, allRouters}, false, [][6]byte{allISs, allRouters}},
	{"with the same bit", [][6]byte{allNodes}, false, [][6]byte{allNodes, allSystems}},
	{"any", [][6]byte{allRouters}, true, [][6]byte{allNodes, solicited, allSystems, allRouters, allISs}},
	{"no longer any", [][6]byte{allRouters}, false, [][6]byte{allRouters}},
	{"none", nil, false, nil},
}

// TestFilter: frames to the card and to all are received, and those to the groups that were asked
// for, of which a reset forgets none; to any group before the first are.
func TestFilter(t *testing.T) {
	each(t, func(t *testing.T, c *card) {
		d := mustOpen(t, c, Config{})
		batch := nic.NewBatch(4)
		check := func(name string, want [][6]byte) {
			t.Helper()
			for _, to := range everyAddress {
				taken := c.deliver(frameTo(to))
				if wanted := to == testMAC || to == toAll || slices.Contains(want, to); taken != wanted {
					t.Errorf("%s: a frame to %x is received: %t", name, to, taken)
				}
			}
			for n := d.Receive(batch); n > 0; n = d.Receive(batch) {
				d.Release(batch[:n])
			}
		}
		check("nothing was asked for", [][6]byte{allNodes, solicited, allSystems, allRouters, allISs})
		for _, s := range filterSteps {
			d.SetGroups(s.groups, s.all)
			check(s.name, s.want)
			resets := c.resets
			d.Blocked(errors.New("write beyond"))
			d.Receive(batch)
			if check(s.name+", after a reset", s.want); c.resets != resets+1 {
				t.Fatalf("%d resets", c.resets-resets)
			}
		}
	})
}

// TestFilterLosesNothing: while a filter is opened, closed or becomes another, frames to a group
// that is asked for before and after are received at every moment.
func TestFilterLosesNothing(t *testing.T) {
	c := newCard(&models[2])
	d := mustOpen(t, c, Config{})
	d.SetGroups(everyAddress[2:4], false)
	c.written = func(off uint64) {
		if off == regRCTL {
			t.Error("RCTL is written: some cards receive nothing for a time after that")
		}
		if !c.accepts(frameTo(allNodes)) {
			t.Error("a frame to a group that is asked for before and after is lost between")
		}
	}
	for range 2 {
		d.SetGroups([][6]byte{allRouters, allNodes}, false)
		d.SetGroups([][6]byte{allNodes, allISs}, false)
		d.SetGroups([][6]byte{solicited}, true)
		d.SetGroups(nil, true)
		d.SetGroups([][6]byte{allNodes}, false)
	}
}

// TestFilterOfStopped: what is asked of a card while it is off turns nothing on.
func TestFilterOfStopped(t *testing.T) {
	c := newCard(&models[2])
	d := mustOpen(t, c, Config{})
	if err := d.reset(); err != nil {
		t.Fatal(err)
	}
	d.SetGroups(nil, true)
	if c.regs[regRCTL] != 0 {
		t.Error("the receiver of a card that is being reset is on")
	}
	d.start()
	d.giveUp()
	d.SetGroups([][6]byte{allISs}, false)
	if c.regs[regRCTL] != 0 {
		t.Error("the receiver of a card that was given up is on")
	}
}

// FuzzFilter: whatever groups are asked for, frames to them are received.
func FuzzFilter(f *testing.F) {
	f.Add(slices.Concat(allNodes[:], allISs[:]), solicited[:])
	f.Fuzz(func(t *testing.T, list, other []byte) {
		c := newCard(&models[0])
		d := mustOpen(t, c, Config{})
		var groups [][6]byte
		for ; len(list) >= 6; list = list[6:] {
			g := [6]byte(list)
			g[0] |= 1
			groups = append(groups, g)
		}
		d.SetGroups(groups, false)
		for _, g := range groups {
			if !c.accepts(frameTo(g)) {
				t.Fatalf("a frame to %x is not received", g)
			}
		}
		// A hash takes frames to others too, but only to those that have all of its bits.
		if len(other) < 6 {
			return
		}
		to := [6]byte(other)
		to[0] |= 1
		same := slices.ContainsFunc(groups, func(g [6]byte) bool { return g[5] == to[5] && g[4]&0xf0 == to[4]&0xf0 })
		if to != toAll && c.accepts(frameTo(to)) != same {
			t.Errorf("a frame to %x is received: %t", to, !same)
		}
	})
}

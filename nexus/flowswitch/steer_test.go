package flowswitch_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/nexus/steer"
	"github.com/sluice-os/sluice/userland/channel"
)

// TestSteering (steering): rules of the card say in which class a flow's packets leave, of both families,
// connected or not, in fragments too; the most specific counts, and a change from the next
// packet on. What no rule is for has the class that its packets ask for.
func TestSteering(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"udp/5000"}, []string{"udp/*:*"})
	must(t)(d.bind(17, 5000))
	f := must(t)(d.connect(17, outside, 7))
	f6 := must(t)(d.connect(17, outside6, 7))
	var classes []uint32
	w.card = func(o *netif.Outgoing) { classes = append(classes, o.Class) }
	change := func(words string, f func(steer.Rule) error) {
		t.Helper()
		r, err := steer.Parse(strings.Fields(words), false)
		if err == nil {
			err = f(r)
		}
		if err != nil {
			t.Fatal(words, err)
		}
	}
	add := func(words string) { t.Helper(); change(words, w.sw.Rules().Add) }
	// look sends a packet of the bound flow, of the connected ones, and one in fragments.
	look := func(what string, bound, v4, v6, parts string) {
		t.Helper()
		classes = classes[:0]
		out := channel.Outgoing{}
		d.send(datagramFrom(5000, outside, []byte("one")), out)
		d.send(packet{src: machine, dst: outside, proto: 17, sport: uint16(f.LocalPort), dport: 7, payload: 3}.bytes(), out)
		d.send(packet{src: machine6, dst: outside6, proto: 17, sport: uint16(f6.LocalPort), dport: 7, payload: 3}.bytes(), out)
		var list []outgoing
		for _, p := range fragments(datagramFrom(5000, outside, make([]byte, 4000)), 9, 1500) {
			list = append(list, outgoing{data: p})
		}
		d.batch(list)
		got := []string{}
		for _, c := range classes {
			name := "" // what the packet itself says, which is nothing
			if c > 0 {
				name = aqm.Class(c - 1).String()
			}
			got = append(got, name)
		}
		if want := []string{bound, v4, v6, parts, parts, parts}; !slices.Equal(got, want) {
			t.Errorf("%s: classes %q, want %q", what, got, want)
		}
	}
	look("without a rule", "", "", "", "")
	add("to 2001:db8::/32 class voice")
	look("a rule for IPv6", "", "", "voice", "")
	add("dport 7 class management")
	look("a rule for a port that only the connected ones have", "", "management", "voice", "")
	add("sport 5000 ipproto udp class background")
	look("a rule for the bound one", "background", "management", "voice", "background")
	add("to 192.0.2.0/24 ipproto udp dport 7 class control")
	look("a more specific one", "background", "control", "voice", "background")
	change("sport 5000 ipproto udp class background", w.sw.Rules().Delete)
	change("to 2001:db8::/32 class voice", w.sw.Rules().Delete)
	look("two have gone", "", "control", "management", "")
	for _, r := range w.sw.Rules().List() {
		if err := w.sw.Rules().Delete(r); err != nil {
			t.Fatal(err)
		}
	}
	look("all have gone", "", "", "", "")
}

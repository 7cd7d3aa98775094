package flowswitch_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/sluice-os/sluice/userland/channel"
)

// TestAccepted: the connections of listeners are told, half made and made, and no others.
func TestAccepted(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"tcp/80"}, []string{"tcp/*:*"})
	d.listen(80)
	if _, errno := d.connect(6, outside, 9); errno != 0 {
		t.Fatal(errno)
	}
	list := func() (got []string) {
		w.sw.Accepted(func(state string, local, remote netip.AddrPort, _ string) {
			got = append(got, fmt.Sprint(state, " ", local, " ", remote))
		})
		return got
	}
	in := packet{src: outside, dst: machine, proto: 6, sport: 5000, dport: 80, flags: syn}
	if got := list(); got != nil {
		t.Errorf("before a connection: %q", got)
	}
	w.arrive(sequence(in.bytes(), 100, 0))
	out := packet{src: machine, dst: outside, proto: 6, sport: 80, dport: 5000, flags: syn | ack}
	d.send(sequence(out.bytes(), 900, 101), channel.Outgoing{})
	if got, want := list(), []string{"syn-received 192.0.2.1:80 192.0.2.2:5000"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	in.flags = ack
	w.arrive(sequence(in.bytes(), 101, 901))
	if got, want := list(), []string{"established 192.0.2.1:80 192.0.2.2:5000"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

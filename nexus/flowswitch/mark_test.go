package flowswitch_test

import (
	"encoding/binary"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/aqm"
	pkt "github.com/sluice-os/sluice/nexus/packet"
	"github.com/sluice-os/sluice/nexus/steer"
	user "github.com/sluice-os/sluice/userland/channel"
)

// TestFastlane (fastlane): with marking on, a packet whose domain has chosen a class leaves with the code
// point of the class that it leaves in, with a right sum; one that has a code point, or whose domain
// has chosen nothing, leaves as it was, and so does what stays in the machine.
func TestFastlane(t *testing.T) {
	w := newWorld(t)
	w.onOutput = func(b []byte) { w.sent = append(w.sent, b) }
	x := &scene{w, w.domain(nil, []string{"udp/*:*"})}
	plain := x.connected()
	steered := x.connected()
	if err := w.sw.Rules().Add(steer.Rule{LocalPort: steered.sport, Class: aqm.Video}); err != nil {
		t.Fatal(err)
	}
	here := plain
	r, errno := x.d.connect(17, machine, 53)
	if errno != 0 {
		t.Fatal(errno)
	}
	here.dst, here.sport = machine, uint16(r.LocalPort)
	for _, c := range []struct {
		name  string
		on    bool
		p     packet
		class uint32
		tos   byte
		want  byte
	}{
		{"off", false, plain, abi.ClassVoice, 0, 0},
		{"voice", true, plain, abi.ClassVoice, 0, 46 << 2},
		{"voice that has been marked", true, plain, abi.ClassVoice, 3, 46<<2 | 3},
		{"background", true, plain, abi.ClassBackground, 2, 1<<2 | 2},
		{"best effort", true, plain, abi.ClassBestEffort, 1, 1},
		{"a code point of its own", true, plain, abi.ClassVoice, 8 << 2, 8 << 2},
		{"no class", true, plain, 0, 0, 0},
		{"no such class", true, plain, 99, 0, 0},
		{"a rule", true, steered, abi.ClassVoice, 0, 34 << 2},
		{"a rule without a choice", true, steered, 0, 0, 0},
		{"inside", true, here, abi.ClassVoice, 0, 0},
		{"off again", false, plain, abi.ClassVoice, 0, 0},
	} {
		w.sw.SetMarks(c.on)
		w.sent, w.inward = nil, nil
		c.p.change = func(b []byte) {
			b[1], b[10], b[11] = c.tos, 0, 0
			binary.BigEndian.PutUint16(b[10:], ^pkt.SumOf(b[:20]))
		}
		x.d.send(c.p.bytes(), user.Outgoing{Class: c.class})
		left := append(w.sent, w.inward...)
		if len(left) != 1 {
			t.Fatalf("%s: %d packets, %v", c.name, len(left), w.drops())
		}
		if b := left[0]; b[1] != c.want || pkt.SumOf(b[:20]) != 0xffff {
			t.Errorf("%s: type of service %#x, want %#x; sum %#x", c.name, b[1], c.want, pkt.SumOf(b[:20]))
		}
	}
}

package flowswitch_test

import (
	"encoding/binary"
	"testing"

	"github.com/sluice-os/sluice/nexus/flowswitch"
)

// admitted are packets of a domain's flows that may leave: a datagram, and a segment of a
// connection.
func admitted(t testing.TB) (w *world, d *domain, packets map[string][]byte) {
	w = newWorld(t)
	w.onOutput = func([]byte) {}
	d = w.domain([]string{"tcp/*"}, []string{"udp/*:*", "tcp/*:*"})
	x := &scene{w, d}
	datagram := x.connected()
	datagram.payload = 1400
	x.knock(80)
	x.send(segment(true, 80, 5000, syn|ack, 900, 101, 0))
	x.arrive(segment(false, 80, 5000, ack, 101, 901, 0).bytes())
	tcp := segment(true, 80, 5000, ack, 901, 101, 1400).bytes()
	binary.BigEndian.PutUint16(tcp[34:], 1000)
	return w, d, map[string][]byte{"UDP": datagram.bytes(), "TCP": tcp}
}

// TestAdmitAllocatesNothing: neither does a packet that is refused.
func TestAdmitAllocatesNothing(t *testing.T) {
	w, d, packets := admitted(t)
	forged := append([]byte(nil), packets["UDP"]...)
	forged[12]++
	packets["forged"] = forged
	for name, b := range packets {
		judge := flowswitch.Judge(w.sw, d.channel, b)
		if why := judge(); (why == flowswitch.Admitted) != (name != "forged") {
			t.Errorf("%s: %v", name, why)
		}
		if n := testing.AllocsPerRun(1000, func() { judge() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkAdmit is what a packet costs between the copy of its front and the copy of its
// body: the headers are read, the flow is found, and admit decides.
func BenchmarkAdmit(b *testing.B) {
	w, d, packets := admitted(b)
	for _, name := range []string{"UDP", "TCP"} {
		b.Run(name, func(b *testing.B) {
			judge := flowswitch.Judge(w.sw, d.channel, packets[name])
			b.ReportAllocs()
			for b.Loop() {
				judge()
			}
		})
	}
}

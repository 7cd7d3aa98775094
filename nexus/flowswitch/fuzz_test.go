package flowswitch_test

import (
	"testing"
)

// FuzzArrived has anything arrive at a machine with flows of all kinds: nothing may come
// of it but packets for their domains, and drops.
func FuzzArrived(f *testing.F) {
	udp := packet{src: machine, dst: outside, proto: 17, sport: 5000, dport: 53, payload: 40}.bytes()
	tcp := packet{src: machine, dst: outside, proto: 6, sport: 80, dport: 5000, flags: ack, payload: 40}.bytes()
	f.Add(routerError(3, 4, 1300, udp))
	f.Add(routerError(3, 4, 0, tcp))
	f.Add(routerError(11, 0, 0, udp)[:50])
	f.Add(packet{src: outside, dst: machine, proto: 6, sport: 5000, dport: 80, flags: syn}.bytes())
	f.Add(inParts(datagramTo(5000, make([]byte, 3000)), 1)[0])
	f.Fuzz(func(t *testing.T, b []byte) {
		w := newWorld(t)
		d := w.domain([]string{"tcp/80", "udp/5000"}, nil)
		d.listen(80)
		d.bind(17, 5000)
		w.arrive(packet{src: outside, dst: machine, proto: 6, sport: 5000, dport: 80, flags: syn}.bytes())
		w.arrive(b)
		for range 3 {
			w.wait(1e9)
		}
		d.received()
		d.events()
		d.user.Sync()
	})
}

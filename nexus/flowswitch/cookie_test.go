package flowswitch_test

import (
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// TestCookiesMakeConnections: a listener of gVisor's that remembers no SYN makes connections
// through the switch; also when others have pushed the half-open flow out of the table before
// the handshake's last segment comes.
func TestCookiesMakeConnections(t *testing.T) {
	for _, floods := range []bool{false, true} {
		w := newWorld(t)
		d := w.domain([]string{"tcp/7"}, nil).start()
		always := tcpip.TCPAlwaysUseSynCookies(true)
		if err := d.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &always); err != nil {
			t.Fatal(err)
		}
		d.listen(7)
		echoOnce(t, d.stack, 7)
		flooded := false
		if floods {
			w.ahead = func(b []byte) {
				if b[9] != 6 || b[33] != ack || flooded {
					return
				}
				flooded = true
				for i := range 300 {
					from := netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
					w.arrive(packet{src: from, dst: machine, proto: 6, sport: uint16(5000 + i), dport: 7, flags: syn}.bytes())
				}
			}
		}
		c, err := gonet.DialTCP(w.peer, full(machine, 7), ipv4.ProtocolNumber)
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, 100_000)
		c.Close()
		if n := w.drops()["flowswitch_drop_rx_half_open_evicted"]; flooded != floods || floods != (n > 0) {
			t.Errorf("%d half-open flows were pushed out", n)
		}
	}
}

package suites

import (
	"strings"
	"testing"

	"github.com/sluice-os/sluice/qemutest"
)

// TestLink pulls the cable out and plugs it in again: both are logged and
// shown, and a connection that was open goes on.
func TestLink(t *testing.T) {
	for _, n := range nics {
		t.Run(n.String(), func(t *testing.T) {
			vm, peer := startWithPeer(t, qemutest.Config{Machine: n.machine, Card: n.card})
			c := dial(t, vm, peer.Dial, "tcp", qemutest.HostPort(peer.Address4(), 7))
			echo(t, c, 1000)
			for range 2 {
				vm.SetLink(t, false)
				vm.Expect(t, "link down name=eth0")
				if text := vm.Command(t, "ip link"); !strings.Contains(text, "NO-CARRIER") {
					t.Errorf("ip link does not show that the cable is out:\n%s", text)
				}
				vm.SetLink(t, true)
				vm.Expect(t, "link up name=eth0")
				peer.Ping(t, peer.Address4())
				echo(t, c, 1000)
			}
			if text := vm.Command(t, "ip link"); strings.Contains(text, "NO-CARRIER") {
				t.Errorf("ip link does not show that the cable is in:\n%s", text)
			}
		})
	}
}

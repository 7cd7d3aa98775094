package suites

import (
	"testing"

	"github.com/sluice-os/sluice/qemutest"
)

func TestSmoke(t *testing.T) {
	vm := qemutest.Start(t, qemutest.Config{Net: qemutest.RawWire})
	peer := vm.Peer(t, qemutest.PeerConfig{})
	m := vm.ExpectRegexp(t, `dhcp: address acquired address=(\S+)`)
	t.Log(m)
	t.Log(peer.Ping(t, peer.Address4()))
}

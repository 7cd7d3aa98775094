package flowswitch_test

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/netns"
)

// TestOpenedWhileDefunct: while the last channel of a domain loses its memory the domain
// opens another and asks for flows in both. The flow of the new channel stays, with its
// port, and nothing of the old one is left.
func TestOpenedWhileDefunct(t *testing.T) {
	w := newWorld(t)
	policy, err := netns.ParsePolicy([]string{"udp/*"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := arena.NewLayout(arena.Params{Packets: 64, Buffers: 16})
	if err != nil {
		t.Fatal(err)
	}
	memories := [2]*arenatest.Memory{arenatest.New(t, l.Size), arenatest.New(t, l.Size)}
	owners++
	open := func(m *arenatest.Memory) *channel.Channel {
		a, err := arena.New(l, m, 3)
		if err != nil {
			t.Fatal(err)
		}
		c := channel.New(a, 3)
		c.Owner = owners
		return c
	}
	bind := func(c *channel.Channel, port uint16) (abi.FlowRequest, bool) {
		r := abi.FlowRequest{Op: abi.FlowBind, Protocol: 17, Local: netip.IPv4Unspecified().As16(), LocalPort: uint32(port)}
		return r, w.sw.Flow(c, &r) == 0
	}
	taken := func(port uint16) bool {
		r, err := w.names.Reserve(time.Hour, netns.Request{
			Kind: netns.Host, Proto: netns.UDP, Local: netip.AddrPortFrom(netip.IPv4Unspecified(), port),
		})
		if err == nil {
			r.Release(time.Hour, 0)
		}
		return err != nil
	}
	for round := range 1500 {
		before, after := open(memories[0]), open(memories[1])
		w.sw.Attach(before, policy)
		bind(before, 6999)
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := w.sw.Defunct(before); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			for i := range uint16(4) {
				bind(before, 7001+i)
			}
		})
		for range round % 64 * 20 {
			_ = before.Err()
		}
		w.sw.Attach(after, policy)
		r, ok := bind(after, 7000)
		both.Wait()
		if !ok || !taken(7000) {
			t.Fatalf("round %d: the new channel has its flow: %v, its port: %v", round, ok, taken(7000))
		}
		for port := uint16(7001); port <= 7004; port++ {
			if taken(port) {
				t.Fatalf("round %d: port %d is a channel's that is defunct", round, port)
			}
		}
		r.Op = abi.FlowClose
		if errno := w.sw.Flow(after, &r); errno != 0 {
			t.Fatalf("round %d: the new channel's flow is gone: %v", round, errno)
		}
		for _, c := range []*channel.Channel{before, after} {
			w.sw.Detach(c)
			c.Arena().Free()
		}
	}
}

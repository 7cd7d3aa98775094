package names

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
)

// kernel notes the requests, and gives flows of a channel.
type kernel struct {
	mu      sync.Mutex
	calls   []string
	channel uint32 // changes when it is opened; 0: it is defunct
	last    uint32
	refuse  map[uint32]syscall.Errno // by local port
}

func (k *kernel) ask(r *abi.FlowRequest) syscall.Errno {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.channel == 0 {
		return syscall.ENXIO
	}
	if r.Flow != 0 && r.Flow/100 != k.channel {
		return syscall.ENOENT
	}
	op := map[uint32]string{abi.FlowBind: "bind", abi.FlowListen: "listen", abi.FlowConnect: "connect", abi.FlowClose: "close",
		abi.FlowJoin: "join", abi.FlowLeave: "leave"}[r.Op]
	switch r.Op {
	case abi.FlowBind:
		if errno := k.refuse[r.LocalPort]; errno != 0 {
			return errno
		}
		if r.LocalPort == 0 {
			r.LocalPort = 40000
		}
		op += fmt.Sprintf(" %d", r.LocalPort)
	case abi.FlowJoin, abi.FlowLeave:
		op += fmt.Sprintf(" %v", netip.AddrFrom16(r.Remote).Unmap())
	case abi.FlowConnect:
		op += fmt.Sprintf(" %d", r.RemotePort)
		if r.Flow == 0 {
			r.LocalPort = 41000
		}
		r.Local = netip.MustParseAddr("192.0.2.1").As16()
	}
	if r.Op == abi.FlowBind || r.Op == abi.FlowConnect {
		k.last++
		r.Flow, r.Generation = k.channel*100+k.last, 1
	}
	k.calls = append(k.calls, op)
	return 0
}

func (k *kernel) open(channel uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.channel = channel
}

// expect compares the calls since the last time, in any order if they are sorted.
func (k *kernel) expect(t *testing.T, want ...string) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	slices.Sort(k.calls)
	slices.Sort(want)
	if !slices.Equal(k.calls, want) {
		t.Errorf("calls %q, want %q", k.calls, want)
	}
	k.calls = nil
}

var (
	any4 = netip.MustParseAddrPort("0.0.0.0:0")
	peer = netip.MustParseAddrPort("192.0.2.2:7")
)

const (
	tcp = syscall.IPPROTO_TCP
	udp = syscall.IPPROTO_UDP
)

// TestRenew: what waits for others is asked for again with its port, a connection is over,
// and what was given back is not asked for.
func TestRenew(t *testing.T) {
	k := &kernel{channel: 1}
	n := New(k.ask)
	_, l, _ := n.Bind(tcp, netip.MustParseAddrPort("0.0.0.0:80"), false, false)
	n.Listen(l)
	_, bound, _ := n.Bind(tcp, netip.MustParseAddrPort("0.0.0.0:81"), false, false)
	at, picked, _ := n.Bind(udp, any4, false, true)
	_, stream, _ := n.Connect(nil, tcp, peer)
	local, asks, errno := n.Connect(nil, udp, peer)
	if errno != 0 || at.Port() != 40000 || local.Port() != 41000 {
		t.Fatal(errno, at, local)
	}
	_, gone, _ := n.Bind(udp, netip.MustParseAddrPort("0.0.0.0:99"), false, false)
	n.Release(gone)
	k.expect(t, "bind 80", "listen", "bind 81", "bind 40000", "connect 7", "connect 7", "bind 99", "close")
	k.open(0)
	told := false
	err := n.Renew(func() {
		told = true
		if !stream.(*claim).over || l.(*claim).over {
			t.Error("connections end before they are known to be over, or what is none does")
		}
	}, func() error { k.open(2); return nil })
	if err != nil || !told || n.Missing() != 0 {
		t.Fatal(err, told)
	}
	k.expect(t, "bind 80", "listen", "bind 81", "bind 40000", "bind 41000", "connect 7")
	if !n.Over(stream) || n.Over(asks) || n.Over(l) {
		t.Error("the connection is not over, or something else is")
	}
	// All of it is worth something in the new channel, but for the connection.
	if errno := n.Listen(bound); errno != 0 {
		t.Error(errno)
	}
	if _, _, errno := n.Connect(stream, tcp, peer); errno != syscall.ENETDOWN {
		t.Errorf("a connection that is over: %v", errno)
	}
	for _, c := range []any{l, bound, picked, stream, asks} {
		n.Release(c)
	}
	k.expect(t, "listen", "close", "close", "close", "close")
	if len(n.claims) != 0 {
		t.Errorf("%d claims are left", len(n.claims))
	}
}

// TestGroupsAreRenewed: who is in a group when the channel is defunct is in it again, and
// who has left meanwhile is not.
func TestGroupsAreRenewed(t *testing.T) {
	k := &kernel{channel: 1}
	n := New(k.ask)
	_, c, _ := n.Bind(udp, netip.MustParseAddrPort("0.0.0.0:5353"), false, false)
	groups := []netip.Addr{netip.MustParseAddr("224.0.0.1"), netip.MustParseAddr("224.0.0.2"), netip.MustParseAddr("224.0.0.3")}
	for _, g := range groups {
		if errno := n.Join(c, g); errno != 0 {
			t.Fatal(errno)
		}
	}
	n.Leave(c, groups[0])
	k.expect(t, "bind 5353", "join 224.0.0.1", "join 224.0.0.2", "join 224.0.0.3", "leave 224.0.0.1")
	k.open(0)
	err := n.Renew(func() {}, func() error { k.open(2); return nil })
	if err != nil || n.Missing() != 0 {
		t.Fatal(err)
	}
	k.expect(t, "bind 5353", "join 224.0.0.2", "join 224.0.0.3")
	n.Leave(c, groups[1])
	n.Release(c)
	k.expect(t, "leave 224.0.0.2", "close")
}

// TestMissing: a port that is another's meanwhile is asked for again until it is free.
func TestMissing(t *testing.T) {
	k := &kernel{channel: 1}
	n := New(k.ask)
	_, l, _ := n.Bind(tcp, netip.MustParseAddrPort("0.0.0.0:80"), false, false)
	n.Listen(l)
	n.Bind(udp, netip.MustParseAddrPort("0.0.0.0:53"), false, false)
	k.calls, k.refuse = nil, map[uint32]syscall.Errno{80: syscall.EADDRINUSE}
	if err := n.Renew(func() {}, func() error { k.open(2); return nil }); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if m := n.Missing(); m != 1 {
			t.Fatalf("%d are missing", m)
		}
	}
	k.expect(t, "bind 53")
	if errno := n.Listen(l); errno != syscall.ENETDOWN {
		t.Errorf("a port that is another's: %v", errno)
	}
	k.refuse = nil
	if m := n.Missing(); m != 0 {
		t.Errorf("%d are missing", m)
	}
	k.expect(t, "bind 80", "listen")
}

// TestRequestsMeanwhile: one that finds the channel defunct waits for the end of the
// attempt; when that fails, and until the next one, requests fail at once.
func TestRequestsMeanwhile(t *testing.T) {
	k := &kernel{channel: 1}
	n := New(k.ask)
	k.open(0)
	type answer struct {
		port  uint16
		errno syscall.Errno
	}
	ask := func() chan answer {
		c := make(chan answer, 1)
		go func() {
			at, _, errno := n.Bind(udp, any4, false, false)
			c <- answer{at.Port(), errno}
		}()
		return c
	}
	nothing := func() {}
	first := ask()
	if err := n.Renew(nothing, func() error { return errors.New("no memory") }); err == nil {
		t.Error("no error")
	}
	for _, c := range []chan answer{first, ask()} {
		if a := <-c; a.errno != syscall.ENETDOWN {
			t.Errorf("without a channel: %+v", a)
		}
	}
	if err := n.Renew(nothing, func() error { k.open(2); return nil }); err != nil {
		t.Error(err)
	}
	if a := <-ask(); a.errno != 0 || a.port != 40000 {
		t.Errorf("with a channel: %+v", a)
	}
	// Many ask while the channel becomes defunct and is renewed.
	for channel := uint32(3); channel < 50; channel++ {
		k.open(0)
		waiting := []chan answer{ask(), ask(), ask()}
		if err := n.Renew(nothing, func() error { k.open(channel); return nil }); err != nil {
			t.Error(err)
		}
		for _, c := range waiting {
			if a := <-c; a.errno != 0 {
				t.Errorf("%+v", a)
			}
		}
	}
}

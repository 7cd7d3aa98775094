package flowswitch_test

import (
	"net/netip"
	"runtime"
	"syscall"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/flowswitch"
)

// TestRequests: what a domain asks for and must not have, or cannot (flowreq).
func TestRequests(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"tcp/80", "udp/53"}, []string{"tcp/*:*", "udp/192.0.2.2:53"})
	e := w.domain([]string{"tcp/80"}, nil)
	if _, errno := d.bind(6, 80); errno != 0 {
		t.Fatal(errno)
	}
	v6 := func(r abi.FlowRequest) (abi.FlowRequest, syscall.Errno) {
		r.Op, r.Protocol, r.Flags = abi.FlowBind, 6, abi.FlowDual
		return d.request(r)
	}
	cases := []struct {
		name string
		ask  func() (abi.FlowRequest, syscall.Errno)
		want syscall.Errno
	}{
		{"a port that the domain has", func() (abi.FlowRequest, syscall.Errno) { return d.bind(6, 80) }, syscall.EADDRINUSE},
		{"a port that another has", func() (abi.FlowRequest, syscall.Errno) { return e.bind(6, 80) }, syscall.EADDRINUSE},
		{"the same in both families", func() (abi.FlowRequest, syscall.Errno) { return v6(abi.FlowRequest{LocalPort: 80}) }, syscall.EADDRINUSE},
		{"a port that is not in the manifest", func() (abi.FlowRequest, syscall.Errno) { return d.bind(6, 81) }, syscall.EACCES},
		{"any port of TCP", func() (abi.FlowRequest, syscall.Errno) { return d.bind(6, 0) }, syscall.EACCES},
		{"any port of UDP", func() (abi.FlowRequest, syscall.Errno) { return d.bind(17, 0) }, 0},
		{"an address of another machine", func() (abi.FlowRequest, syscall.Errno) {
			return d.request(abi.FlowRequest{Op: abi.FlowBind, Protocol: 17, Local: outside.As16(), LocalPort: 53})
		}, syscall.EADDRNOTAVAIL},
		{"a peer that is not in the manifest", func() (abi.FlowRequest, syscall.Errno) { return d.connect(17, outside, 54) }, syscall.EACCES},
		{"a domain that may connect to nobody", func() (abi.FlowRequest, syscall.Errno) { return e.connect(6, outside, 80) }, syscall.EACCES},
		{"port 0 (xfertcpportzero)", func() (abi.FlowRequest, syscall.Errno) { return d.connect(6, outside, 0) }, syscall.EINVAL},
		{"port 0 (xferudpportzero)", func() (abi.FlowRequest, syscall.Errno) { return d.connect(17, outside, 0) }, syscall.EINVAL},
		{"a group", func() (abi.FlowRequest, syscall.Errno) { return d.connect(6, netip.MustParseAddr("224.0.0.1"), 80) }, syscall.EADDRNOTAVAIL},
		{"a protocol that the manifest does not name", func() (abi.FlowRequest, syscall.Errno) { return d.bind(132, 0) }, syscall.EACCES},
		{"a protocol of the host's", func() (abi.FlowRequest, syscall.Errno) { return d.bind(2, 0) }, syscall.EPROTONOSUPPORT},
		{"no protocol", func() (abi.FlowRequest, syscall.Errno) { return d.bind(256, 0) }, syscall.EPROTONOSUPPORT},
		{"a peer of a protocol", func() (abi.FlowRequest, syscall.Errno) { return d.connect(132, outside, 80) }, syscall.EPROTONOSUPPORT},
		{"a port beyond 65535", func() (abi.FlowRequest, syscall.Errno) {
			return d.request(abi.FlowRequest{Op: abi.FlowBind, Protocol: 17, LocalPort: 1 << 16})
		}, syscall.EINVAL},
		{"an unknown operation", func() (abi.FlowRequest, syscall.Errno) { return d.request(abi.FlowRequest{Op: 77}) }, syscall.EINVAL},
		{"a flow that is not there", func() (abi.FlowRequest, syscall.Errno) {
			return d.request(abi.FlowRequest{Op: abi.FlowListen, Flow: 99, Generation: 1})
		}, syscall.ENOENT},
	}
	for _, c := range cases {
		if _, errno := c.ask(); errno != c.want {
			t.Errorf("%s: %v, want %v", c.name, errno, c.want)
		}
	}
	// Another's flow is as one that is not there, whatever is known of it.
	own, errno := d.connect(6, outside, 80)
	if errno != 0 {
		t.Fatal(errno)
	}
	if _, errno := e.request(abi.FlowRequest{Op: abi.FlowClose, Flow: own.Flow, Generation: own.Generation}); errno != syscall.ENOENT {
		t.Errorf("another closed the flow: %v", errno)
	}
	if _, errno := d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: own.Flow, Generation: own.Generation + 1}); errno != syscall.ENOENT {
		t.Errorf("an old handle closed the flow: %v", errno)
	}
}

// TestManyFlows: one owner has 512 (mf1xall), the next request is refused and the
// others still work.
func TestManyFlows(t *testing.T) {
	w := newWorld(t)
	d, e := w.domain(nil, []string{"udp/*:*"}), w.domain(nil, []string{"udp/*:*"})
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 512 {
		if _, errno := d.connect(17, outside, uint16(1000+i)); errno != 0 {
			t.Fatalf("flow %d: %v", i, errno)
		}
	}
	var after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := int64(after.HeapAlloc-before.HeapAlloc) / 512; each > flowswitch.FlowMemory {
		t.Errorf("a flow takes %d bytes", each)
	} else {
		t.Logf("a flow takes %d bytes", each)
	}
	if _, errno := d.connect(17, outside, 9); errno != syscall.ENOMEM {
		t.Errorf("the 513th: %v", errno)
	}
	if _, errno := e.connect(17, outside, 9); errno != 0 {
		t.Errorf("another's: %v", errno)
	}
}

package flowswitch_test

import (
	"encoding/binary"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/flowswitch"
	pkt "github.com/sluice-os/sluice/nexus/packet"
)

// many is how many of each thing are asked for, or arrive: a million with SLUICE_ALL, which
// takes half a minute, and else enough to pass every bound many times.
func many() int {
	if os.Getenv("SLUICE_ALL") != "" {
		return 1_000_000
	}
	return 20_000
}

// live is the heap after a collection, in bytes.
func live() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMillions: whatever a domain asks for a million times, and whatever arrives so often, the
// memory that it takes is bounded, and all is as before when it is over.
func TestMillions(t *testing.T) {
	w := newWorld(t)
	w.onOutput = func([]byte) {}
	d := w.domain([]string{"tcp/80", "udp/5353", "ip/89"}, []string{"udp/*:*", "tcp/*:*"})
	d.listen(80)
	trunk := must(t)(d.bindAt(netip.IPv4Unspecified(), 17, 5353), 0)
	w.sw.Reap()
	syns := packet{src: outside, dst: machine, proto: 6, sport: 5000, dport: 80, flags: syn}.bytes()
	part := inParts(datagramTo(80, make([]byte, 5000)), 1)[0]
	before := live()
	for _, c := range []struct {
		name string
		one  func(i int)
		most int64 // bytes that may be held at its end
	}{
		{"flows that are closed", func(i int) {
			r, errno := d.connect(17, outside, uint16(1+i%60000))
			if errno != 0 {
				t.Fatalf("request %d: %v", i, errno)
			}
			d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: r.Flow, Generation: r.Generation})
		}, 512 << 10},
		{"memberships", func(i int) {
			group := netip.AddrFrom4([4]byte{239, byte(i >> 16), byte(i >> 8), byte(i)})
			if errno := d.member(abi.FlowJoin, trunk, group); errno != 0 && errno != syscall.ENOBUFS {
				t.Fatalf("group %d: %v", i, errno)
			}
			if i%3 == 0 { // else it is in as many as it may be
				d.member(abi.FlowLeave, trunk, group)
			}
		}, 64 << 10},
		{"branches", func(i int) {
			if _, errno := d.branch(trunk, uint32(i%900), string(binary.BigEndian.AppendUint32(nil, uint32(i)))); errno != 0 && errno != syscall.ENOMEM && errno != syscall.ENOBUFS {
				t.Fatalf("branch %d: %v", i, errno)
			}
		}, 64*flowswitch.FlowMemory + 512<<10},
		{"claims of a whole protocol", func(i int) {
			r, errno := d.bind(89, 0)
			if errno != 0 {
				t.Fatalf("request %d: %v", i, errno)
			}
			d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: r.Flow, Generation: r.Generation})
		}, 64*flowswitch.FlowMemory + 512<<10},
		{"flows that are not", func(i int) {
			if _, errno := d.connect(17, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 53); errno != 0 && errno != syscall.ENOMEM {
				t.Fatalf("request %d: %v", i, errno)
			}
		}, 512*flowswitch.FlowMemory + 512<<10},
		{"requests that are refused", func(i int) { d.connect(17, outside, 0) }, 512*flowswitch.FlowMemory + 512<<10},
		{"SYNs from everywhere", func(i int) {
			binary.BigEndian.PutUint32(syns[12:], uint32(i)|0x0a000000)
			w.arrive(syns)
			if i%100 == 0 {
				d.received()
			}
		}, 512*flowswitch.FlowMemory + 512<<10},
		{"first fragments", func(i int) {
			binary.BigEndian.PutUint16(part[4:], uint16(i))
			part[15] = byte(i >> 16)
			part[10], part[11] = 0, 0
			binary.BigEndian.PutUint16(part[10:], ^pkt.SumOf(part[:20]))
			w.arrive(part)
		}, 512*flowswitch.FlowMemory + 2*flowswitch.FragmentMemory + 512<<10},
	} {
		for i := range many() {
			c.one(i)
		}
		if held := live() - before; held > c.most {
			t.Errorf("%d %s hold %d KiB, want %d at most", many(), c.name, held>>10, c.most>>10)
		} else {
			t.Logf("%d %s hold %d KiB", many(), c.name, held>>10)
		}
	}
	w.sw.Detach(d.channel)
	w.wait(200e9)
	w.sw.Reap()
	if n := len(w.sw.Flows().Rows); n != 0 {
		t.Errorf("%d flows are left", n)
	}
}

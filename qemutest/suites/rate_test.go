package suites

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/qemutest"
)

// The rates of TestDomainRate, in bits a second: what the manifest says, and what it is changed to.
const (
	rateFirst = 2_000_000
	rateMore  = 4_000_000
)

// limited is a machine with a domain that sends as much as it may.
type limited struct {
	vm   *qemutest.VM
	peer *qemutest.Peer
	// bits are those of IP that have come from the domain.
	bits atomic.Int64
	// phases are the rates that it has had since it began, and the machine's time before each was
	// set. ended is the time at which the one before was surely over.
	phases []ratePhase
}

type ratePhase struct {
	rate        int
	from, ended time.Duration
}

// see counts what the domain sends.
func (x *limited) see(frame []byte) { x.bits.Add(8 * int64(datagramOf(frame))) }

// datagramOf is how many bytes of IP a frame has that the command pour has sent, 0 for others.
func datagramOf(frame []byte) uint16 {
	ip := header.IPv4(frame[header.EthernetMinimumSize:])
	if len(ip) < 28 || frame[12] != 8 || frame[13] != 0 || ip.Protocol() != uint8(header.UDPProtocolNumber) ||
		header.UDP(ip.Payload()).DestinationPort() != pourPort {
		return 0
	}
	return ip.TotalLength()
}

// now is the machine's time.
func (x *limited) now(t *testing.T) time.Duration {
	t.Helper()
	var up struct {
		NS int64 `json:"up_ns"`
	}
	text := x.vm.Command(t, "uptime -j")
	if err := json.Unmarshal([]byte(jsonLine(text)), &up); err != nil || up.NS == 0 {
		t.Fatalf("uptime -j printed %q: %v", text, err)
	}
	return time.Duration(up.NS)
}

// set does something at the console that gives the domain another rate.
func (x *limited) set(t *testing.T, rate int, command string) {
	t.Helper()
	from := x.now(t)
	x.vm.Command(t, command)
	x.phases = append(x.phases, ratePhase{rate, from, x.now(t)})
	if shown := x.shown(t); shown != rate {
		t.Fatalf("after %q the domain's channel has a rate of %d, want %d", command, shown, rate)
	}
}

// shown is the rate that the domain's channel shows.
func (x *limited) shown(t *testing.T) int {
	t.Helper()
	var rows []struct {
		Domain string
		Rate   int
	}
	text := x.vm.Command(t, "netstat --channels -j")
	if err := json.Unmarshal([]byte(jsonLine(text)), &rows); err != nil {
		t.Fatalf("netstat --channels -j printed %q: %v", text, err)
	}
	for _, r := range rows {
		if r.Domain == "pour" {
			return r.Rate
		}
	}
	t.Fatalf("no channel of the domain's in %s", text)
	return 0
}

// rateMark is how many bits had come at a time of the machine's that lies between two.
type rateMark struct {
	after, before time.Duration
	bits          int64
}

// mark looks at what has come. The answer to a ping comes behind what was sent before it.
func (x *limited) mark(t *testing.T) (m rateMark) {
	t.Helper()
	m.after = x.now(t)
	x.peer.Ping(t, x.peer.Address4())
	m.bits = x.bits.Load()
	m.before = x.now(t)
	return m
}

// within fails the test if more has come than the rates since the domain began let pass, and a fifth.
func (x *limited) within(t *testing.T, m rateMark) {
	t.Helper()
	most := 0.0
	for i, p := range x.phases {
		end := m.before
		if i+1 < len(x.phases) {
			end = x.phases[i+1].ended
		}
		most += float64(p.rate) * (end - p.from).Seconds()
	}
	t.Logf("%v to %v: %d bits have come, %.0f were allowed", m.after, m.before, m.bits, most)
	if float64(m.bits) > 1.2*most {
		t.Fatalf("%d bits have come, of %.0f that the rates allow", m.bits, most)
	}
}

// carries waits for two seconds of the machine's in which so many bits a second come, as a host that
// has no time for the machine takes some from it. more is called with what was seen.
func (x *limited) carries(t *testing.T, least int, more func(rateMark)) {
	t.Helper()
	for {
		a := x.mark(t)
		x.vm.Command(t, "top -n 1") // which takes two seconds
		b := x.mark(t)
		more(b)
		rate := float64(b.bits-a.bits) / (b.before - a.after).Seconds()
		if t.Logf("%.2f Mbit/s, want %.2f", rate/1e6, float64(least)/1e6); rate >= float64(least) {
			return
		}
	}
}

// TestDomainRate: a domain with a rate in its manifest sends that much when it sends all that it can,
// and no more; the rate is changed and taken away while it sends. All by the machine's clock.
func TestDomainRate(t *testing.T) {
	pour := serverDomain(t, "pour", nil, []string{fmt.Sprintf("udp/10.0.2.2:%d", pourPort)})
	pour.Rate = rateFirst
	vm, peer := startWithPeer(t, qemutest.Config{Memory: 192, Limit: 20 * time.Minute, Image: imageWith(t, "microvm", pour)})
	x := &limited{vm: vm, peer: peer}
	t.Cleanup(vm.Wire(t).Tap(x.see))
	vm.Seen(t, "pour: serving")
	sink := peer.Packets(t, netip.MustParseAddrPort(fmt.Sprintf("10.0.2.2:%d", pourPort)))
	go func() {
		for b := make([]byte, 2048); ; {
			if _, _, err := sink.ReadFrom(b); err != nil {
				return
			}
		}
	}()
	if text := vm.Command(t, "qdisc rate nobody 1mbit"); !strings.Contains(text, `no domain "nobody"`) {
		t.Errorf("the rate of no domain was set: %q", text)
	}

	first := vm.Capture(t, func(frame []byte) bool { return datagramOf(frame) > 0 })
	from := x.now(t)
	vm.Command(t, fmt.Sprintf("domain send pour pour 10.0.2.2:%d 1400 10m", pourPort))
	x.phases = []ratePhase{{rateFirst, from, 0}}
	first.Next(t)
	if shown := x.shown(t); shown != rateFirst {
		t.Fatalf("the domain's channel has a rate of %d, want that of the manifest, %d", shown, rateFirst)
	}
	within := func(m rateMark) { x.within(t, m) }
	x.carries(t, rateFirst*4/5, within)
	x.set(t, rateMore, "qdisc rate pour 4mbit")
	x.carries(t, rateMore*4/5, within)
	// Less again, for twice as long as all before: more would be seen in the sum.
	x.set(t, rateFirst, "qdisc rate pour 2mbit")
	for x.now(t) < 3*x.phases[2].ended-2*from {
		x.carries(t, rateFirst*4/5, within)
	}
	x.set(t, 0, "qdisc rate pour off")
	x.carries(t, 2*rateMore, func(rateMark) {})
	vm.Command(t, "domain kill pour")
	powerOff(t, vm)
}

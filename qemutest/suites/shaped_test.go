package suites

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/qemutest"
	"github.com/sluice-os/sluice/qemutest/hostile/forge"
)

// shapedRate is how much the cable of TestShapedLink carries, in bits a second.
const shapedRate = 10_000_000

// shaped is a machine on a slow cable, with its peer.
type shaped struct {
	vm   *qemutest.VM
	peer *qemutest.Peer
	wire *qemutest.Wire

	mu sync.Mutex
	// next is the number of the datagram that is to come next, by port; of those that did
	// not, missing is how many.
	next, missing map[uint16]uint64
	// answer is the frame of the echo that came last.
	answer []byte
	asking *asking // nil: nobody asks
}

// see counts the datagrams of the command pour, and sees echoes.
func (x *shaped) see(frame []byte) {
	ip := header.IPv4(frame[header.EthernetMinimumSize:])
	if len(ip) < 20+8+8 || frame[12] != 8 || ip.Protocol() != uint8(header.UDPProtocolNumber) {
		return
	}
	udp := header.UDP(ip.Payload())
	if udp.SourcePort() == 7 && len(udp.Payload()) == 64 {
		x.mu.Lock()
		x.answered(frame, udp.Payload())
		x.mu.Unlock()
		return
	}
	if udp.DestinationPort() != pourPort || udp.SourcePort() == forge.OwnUDP {
		return
	}
	n := binary.BigEndian.Uint64(udp.Payload())
	x.mu.Lock()
	defer x.mu.Unlock()
	port := udp.SourcePort()
	x.missing[port] += n - x.next[port] // one that comes late, or twice, makes it huge
	x.next[port] = n + 1
}

// pouring begins to count anew, and poured returns how many datagrams have come since, and how
// many of those before the last one have not.
func (x *shaped) pouring() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.next, x.missing = map[uint16]uint64{}, map[uint16]uint64{}
}

func (x *shaped) poured() (n, missing uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for port := range x.next {
		n += x.next[port] - x.missing[port]
		missing += x.missing[port]
	}
	return n, missing
}

const pourPort = 9000

// load is what was measured while one domain sent a file, another one datagrams, and a third
// echoed.
type load struct {
	// p50 and p99 are of the echo, by the clock of the cable: how long it needs for what it
	// has carried from the question to the answer. It is always busy here, and stands
	// still when the host has no time for the machine. real is by the host's clock.
	p50, p99, real time.Duration
	lost           int     // of the echoes
	goodput        float64 // of the file, bits a second
	share          float64 // of what the cable has carried, the file's part
	sent           uint64  // datagrams that were written
	said           string  // "ok", or how writing them ended
	poured         uint64  // datagrams that have come
	missing        uint64  // of them
}

const (
	// probes are how many echoes are asked for, one each probeEvery.
	probes     = 150
	probeEvery = 20 * time.Millisecond
	pourFor    = 6 * time.Second
	loadFirst  = 1500 * time.Millisecond
	// shapedRounds is how often each queue is measured, one after the other: who gets how much
	// of a plain queue is chance, and the host may be busy.
	shapedRounds = 3
)

// measure loads the cable and looks at it.
func (x *shaped) measure(t *testing.T) (l load) {
	t.Helper()
	at := len(x.vm.Output())
	x.pouring()
	x.vm.Command(t, fmt.Sprintf("domain send pour pour 10.0.2.2:%d 1400 %v", pourPort, pourFor))
	client := x.peer.HTTP()
	r, err := client.Get(url(x.peer.Address4(), "/bytes/100000000"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	var got atomic.Int64
	var reading sync.WaitGroup
	reading.Go(func() {
		b := make([]byte, 64<<10)
		for {
			n, err := r.Body.Read(b)
			if got.Add(int64(n)); err != nil {
				return
			}
		}
	})
	time.Sleep(loadFirst) // the load is to be a standing one
	before, carried, began := got.Load(), x.wire.Carried(), time.Now()
	cable, real := x.echoes(t)
	file := float64(got.Load() - before)
	l.goodput = file * 8 / time.Since(began).Seconds()
	l.share = file / float64(x.wire.Carried()-carried)
	r.Body.Close()
	reading.Wait()
	n := len(cable)
	if l.lost = probes - n; n == 0 {
		t.Fatal("no echo came back")
	}
	slices.Sort(cable)
	slices.Sort(real)
	l.p50, l.p99, l.real = cable[n/2], cable[n*99/100], real[n*99/100]
	said := x.vm.Times(t, at, fmt.Sprintf(`pour: pour 10.0.2.2:%d (\d+): (.*)`, pourPort), 1)
	l.sent, l.said = uint64(number(t, said[1])), said[2]
	untilNoMore(func() (uint64, bool) {
		l.poured, l.missing = x.poured()
		return l.poured, l.poured+l.missing >= l.sent
	})
	return l
}

const (
	stillEvery = 100 * time.Millisecond
	stillLooks = 200
)

// untilNoMore calls f, which returns how many have come and whether these are all, until it says so or
// no more have come in stillLooks looks: however long a host stands still, that is one of them.
func untilNoMore(f func() (n uint64, all bool)) {
	last, all := f()
	for looks := 0; !all && looks < stillLooks; looks++ {
		time.Sleep(stillEvery)
		n, done := f()
		if all = done; n != last {
			last, looks = n, 0
		}
	}
}

// complete fails the test when not all datagrams that were written have come.
func (l load) complete(t *testing.T) {
	t.Helper()
	if l.said != "ok" || l.poured != l.sent {
		t.Errorf("%d datagrams were written (%s), %d have come", l.sent, l.said, l.poured)
	}
}

// middle is the median of several loads, of each number by itself; losses are added up.
func middle(all []load) (m load) {
	of := func(f func(l load) float64) float64 {
		var list []float64
		for _, l := range all {
			list = append(list, f(l))
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	for _, l := range all {
		m.lost += l.lost
		m.missing += l.missing
		m.poured += l.poured
	}
	m.p50 = time.Duration(of(func(l load) float64 { return float64(l.p50) }))
	m.p99 = time.Duration(of(func(l load) float64 { return float64(l.p99) }))
	m.real = time.Duration(of(func(l load) float64 { return float64(l.real) }))
	m.goodput = of(func(l load) float64 { return l.goodput })
	return m
}

// advisories are those of a domain's channels: how many flows are to pause, and how often one was
// told so.
type advisories struct{ Paused, Pauses int }

// advised returns what domains are told of their flows.
func (x *shaped) advised(t *testing.T) map[string]advisories {
	t.Helper()
	var rows []struct {
		Domain string
		advisories
	}
	text := x.vm.Command(t, "netstat --channels -j")
	if err := json.Unmarshal([]byte(jsonLine(text)), &rows); err != nil {
		t.Fatalf("netstat --channels -j printed %q: %v", text, err)
	}
	m := map[string]advisories{}
	for _, r := range rows {
		a := m[r.Domain]
		m[r.Domain] = advisories{a.Paused + r.Paused, a.Pauses + r.Pauses}
	}
	return m
}

// quiet waits until nothing waits in the queue, and wants that no flow is to pause then.
func (x *shaped) quiet(t *testing.T) {
	t.Helper()
	for {
		var rows []struct {
			Class   string
			Backlog int `json:"backlog_packets"`
			Paused  int
		}
		text := x.vm.Command(t, "qdisc -j")
		if err := json.Unmarshal([]byte(jsonLine(text)), &rows); err != nil {
			t.Fatalf("qdisc -j printed %q: %v", text, err)
		}
		for _, r := range rows {
			switch {
			case r.Class != "all" || r.Backlog > 0:
				continue
			case r.Paused > 0:
				t.Errorf("%d flows are to pause, and nothing waits", r.Paused)
			}
			for d, a := range x.advised(t) {
				if a.Paused > 0 {
					t.Errorf("%d flows of %s are to pause, and nothing waits", a.Paused, d)
				}
			}
			return
		}
	}
}

// ofSending says that a counter is of packets that were to leave and have not.
func ofSending(drop string) bool {
	return strings.HasPrefix(drop, "flowswitch_drop_tx") || strings.HasPrefix(drop, "host_tx_drop") || strings.HasPrefix(drop, "aqm_") && strings.Contains(drop, "drop")
}

// TestShapedLink has three domains share a cable of 10 Mbit/s: one sends a file, one datagrams
// as fast as it can, and one echoes 64 bytes. With the class queue the echo's 99th percentile
// is five times lower at least than with a plain one in the same boot, the file has 0.9 of
// what it had at least, both in the median of rounds in turns, and who sends too much is told to
// pause, heeds it and loses nothing within the machine. A domain that does not loses its own
// datagrams, and nobody anything else; when nothing waits nobody is to pause.
func TestShapedLink(t *testing.T) {
	bulk := serverDomain(t, "bulk", []string{"tcp/80"}, nil, "http/80")
	pour := serverDomain(t, "pour", nil, []string{fmt.Sprintf("udp/10.0.2.2:%d", pourPort)})
	echo := serverDomain(t, "echo", []string{"udp/7"}, nil, "udp/7")
	bad := domainOf("wire", programFor(t, "wire"))
	bad.Listen = []string{fmt.Sprintf("udp/%d", forge.OwnUDP), fmt.Sprintf("tcp/%d", forge.OwnTCP)}
	bad.Connect = []string{"udp/10.0.2.2:*", "tcp/10.0.2.2:*"}
	bad.Start = false
	vm, peer := startWithPeer(t, qemutest.Config{
		Memory: 320, Limit: 20 * time.Minute, Rate: shapedRate, Image: imageWith(t, "microvm", bulk, pour, echo, bad), Append: "qdisc=fifo",
	})
	x := &shaped{vm: vm, peer: peer, wire: vm.Wire(t)}
	x.pouring()
	t.Cleanup(x.wire.Tap(x.see))
	for _, d := range []string{"bulk", "pour", "echo"} {
		vm.Seen(t, d+": serving")
	}
	sink := peer.Packets(t, netip.MustParseAddrPort(fmt.Sprintf("10.0.2.2:%d", pourPort)))
	go func() {
		for b := make([]byte, 2048); ; {
			if _, _, err := sink.ReadFrom(b); err != nil {
				return
			}
		}
	}()
	// The machine knows its neighbour before anything is counted: what comes before is lost.
	x.firstEcho(t, dial(t, vm, peer.Dial, "udp", "10.0.2.15:7"))
	report := func(name string, l load) {
		t.Logf("%s: echo p50 %v, p99 %v, %v by the host's clock, %d lost; file %.2f Mbit/s, %.2f of the cable; %d datagrams, %d missing", name,
			l.p50.Round(100*time.Microsecond), l.p99.Round(100*time.Microsecond), l.real.Round(100*time.Microsecond), l.lost, l.goodput/1e6, l.share, l.poured, l.missing)
	}
	// told is what domains are told that the link carries, from what the last moments have shown.
	told := func() int {
		at := len(vm.Output())
		vm.Command(t, "domain send echo channel")
		return number(t, vm.Times(t, at, `echo: channel .*"link_rate":(\d+)`, 1)[1])
	}
	// steady measures again where the cable took nothing for so long, as it does on a host that has
	// stopped, that the driver gave the card up with the frames that it had: those are lost. With the
	// class queue nothing else is, but for what may be counted.
	steady := func(name string, may ...string) load {
		resets := func() uint64 { return counters(t, vm)["reset_tx_timeout"] }
		for {
			dropped, before := drops(t, vm), resets()
			l := x.measure(t)
			report(name, l)
			if n := resets() - before; n > 0 {
				t.Logf("%d resets: measured again", n)
				continue
			}
			l.complete(t)
			for drop, n := range drops(t, vm) {
				if n != dropped[drop] && name != "fifo" && ofSending(drop) && !slices.Contains(may, drop) {
					t.Errorf("%s: %d", drop, n-dropped[drop])
				}
			}
			return l
		}
	}
	var plains, queueds []load
	var rates []int
	pauses := map[string]int{} // by domain, with the class queue
	for range shapedRounds {
		vm.Command(t, "qdisc fifo")
		before := x.advised(t)
		plains = append(plains, steady("fifo"))
		plain := x.advised(t)
		vm.Command(t, "qdisc aqm")
		queueds = append(queueds, steady("aqm"))
		rates = append(rates, told())
		queued := x.advised(t)
		for _, d := range []string{"bulk", "pour", "echo"} {
			if n := plain[d].Pauses - before[d].Pauses; n > 0 {
				t.Errorf("a plain queue has told %s to pause %d times", d, n)
			}
			pauses[d] += queued[d].Pauses - plain[d].Pauses
		}
	}
	// So those that lose nothing have heeded what they were told.
	if t.Logf("how often a flow was told to pause: %v", pauses); pauses["bulk"] == 0 || pauses["pour"] == 0 {
		t.Error("who sends too much was not told to pause")
	}
	plain, queued := middle(plains), middle(queueds)
	if queued.p99*5 > plain.p99 {
		t.Errorf("the echo's 99th percentile is %v, and was %v without the queue: want a fifth", queued.p99, plain.p99)
	}
	if queued.goodput < 0.9*plain.goodput {
		t.Errorf("the file has %.2f Mbit/s, and had %.2f without the queue: want 0.9 of that", queued.goodput/1e6, plain.goodput/1e6)
	}
	if queued.lost > 0 || queued.missing > 0 || queued.poured == 0 {
		t.Errorf("%d echoes and %d of %d datagrams are lost", queued.lost, queued.missing, queued.poured)
	}
	t.Log(vm.Command(t, "qdisc"))
	slices.Sort(rates)
	if rate := rates[len(rates)/2]; rate < shapedRate/2 || rate > 2*shapedRate {
		t.Errorf("domains are told that the link carries %d bits a second, want %d", rates, shapedRate)
	}

	// One that does not heed what it is told.
	at := len(vm.Output())
	vm.Command(t, "domain start wire")
	vm.Times(t, at, "wire: start", 1)
	vm.Command(t, "domain send wire flood datagrams")
	vm.Times(t, at, "wire: flooding datagrams", 1)
	before := drops(t, vm)["flowswitch_drop_tx_paused"]
	beside := steady("aqm, beside one that does not pause", "flowswitch_drop_tx_paused", "aqm_drop_flow_controlled", "aqm_best_effort_dropped_packets")
	if n := drops(t, vm)["flowswitch_drop_tx_paused"] - before; n == 0 || x.advised(t)["wire"].Pauses == 0 {
		t.Errorf("the domain that does not pause has lost %d packets, and was told to pause %d times", n, x.advised(t)["wire"].Pauses)
	}
	if beside.lost > 0 || beside.missing > 0 {
		t.Errorf("others have lost %d echoes and %d datagrams", beside.lost, beside.missing)
	}
	// Three flows share the cable.
	if beside.share < 0.2 {
		t.Errorf("the file has %.2f of the cable, want 0.2 at least", beside.share)
	}
	vm.Command(t, "domain kill wire")
	x.quiet(t)
	powerOff(t, vm)
}

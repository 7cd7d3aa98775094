package isis

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// up is a pair that is Up.
func upPair(t *testing.T, name string, config func(*Config), circuit func(*CircuitConfig)) *pair {
	t.Helper()
	p := newPair(t, name, config, circuit)
	p.e.set(nil)
	p.n.start()
	p.run(20 * sec)
	if p.e.state() != Up {
		t.Fatalf("%v %v", p.e.state(), p.e.why())
	}
	return p
}

// last is why the last change of an adjacency was.
func (r *router) last() Event {
	for n := len(r.events) - 1; n >= 0; n-- {
		if r.events[n].Kind == AdjacencyChange {
			return r.events[n]
		}
	}
	return Event{}
}

// TestHoldTime: a neighbour that is not heard for as long as it said itself is gone.
func TestHoldTime(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		p := upPair(t, name, nil, strict)
		p.n.hello.Hold = 7
		p.n.say()
		heard := p.now + ms
		p.n.stop()
		p.n.follow = false
		p.until(heard + 7*sec - 1)
		if p.e.state() != Up {
			t.Errorf("%v before", p.e.state())
		}
		p.until(heard + 7*sec)
		if e := p.r.last(); p.e.state() != Down || e.Text != "hold time over" || e.From != Up {
			t.Errorf("%v after: %v", p.e.state(), e)
		}
		p.run(5 * sec)
		if n := len(p.r.own(2).Neighbours); n > 0 {
			t.Errorf("the LSP lists %d neighbours", n)
		}
	})
}

// TestLinkLost: without a carrier there are no neighbours and no hellos, and all comes back with it.
func TestLinkLost(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		p := upPair(t, name, nil, strict)
		p.e.set(func(l *Link) { l.Carrier = false })
		if e := p.r.last(); p.e.state() != Down || e.Text != "carrier lost" {
			t.Errorf("%v: %v", p.e.state(), e)
		}
		sent := len(p.n.hellos)
		p.run(20 * sec)
		if len(p.n.hellos) != sent || p.r.Drops(0, LinkDown) < 15 {
			t.Errorf("%d hellos sent, %d dropped", len(p.n.hellos)-sent, p.r.Drops(0, LinkDown))
		}
		p.e.set(func(l *Link) { l.Carrier = true })
		p.run(20 * sec)
		if p.e.state() != Up {
			t.Errorf("%v in the end", p.e.state())
		}
	})
}

// TestRefusedHellos: each makes or keeps no adjacency, is counted, and an alarm is told once.
func TestRefusedHellos(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		key := pdu.Key{Algorithm: pdu.MD5, Secret: []byte("right")}
		for _, tt := range []struct {
			name   string
			change func(*neighbour)
			why    Reason
			ends   bool // an adjacency that there is
			alarm  bool
		}{
			{"own system ID", func(n *neighbour) { n.hello.Source = systemOf(1) }, OwnSystem, true, true},
			{"no protocols", func(n *neighbour) { n.hello.NLPIDs = nil }, NoProtocol, false, true},
			{"no hold time", func(n *neighbour) { n.hello.Hold = 0 }, BadHold, false, false},
			{"no key", func(n *neighbour) { n.key = nil }, Reason(pdu.NoAuth), false, true},
			{"another key", func(n *neighbour) { n.key = &pdu.Key{Algorithm: pdu.MD5, Secret: []byte("wrong")} }, Reason(pdu.BadAuth), false, true},
			{"another area", func(n *neighbour) { n.hello.Areas = []pdu.Area{"\x49\x00\x02"} }, NoArea, true, true},
		} {
			levels := pdu.Levels(1)
			make := func() *pair {
				p := newPair(t, name, func(c *Config) { c.Levels = levels }, func(c *CircuitConfig) { c.Keys = Keys{{Key: key}} })
				p.n.key = &key
				p.n.hello.Levels = levels
				if p.kind == LAN {
					p.n.hello.Type = pdu.HelloL1
				}
				p.e.set(nil)
				return p
			}
			p := make()
			tt.change(p.n)
			p.n.start()
			p.run(90 * sec)
			if p.e.state() != Down || p.r.Drops(0, tt.why) < 90 || p.r.count(Alarm) != map[bool]int{true: 1}[tt.alarm] {
				t.Errorf("%s: %v, %d dropped, %d alarms", tt.name, p.e.state(), p.r.Drops(0, tt.why), p.r.count(Alarm))
			}
			p = make()
			p.n.start()
			p.run(20 * sec)
			if p.e.state() != Up {
				t.Fatalf("%s: the twin is %v", tt.name, p.e.state())
			}
			tt.change(p.n)
			p.n.hello.ThreeWay = nil
			p.run(2 * sec)
			if (p.e.state() != Up) != tt.ends {
				t.Errorf("%s, when Up: %v", tt.name, p.e.state())
			}
			p.run(40 * sec)
			if p.e.state() != Down {
				t.Errorf("%s, after the hold time: %v", tt.name, p.e.state())
			}
		}
	})
}

func TestRefusedPDUs(t *testing.T) {
	p := newPair(t, "p2p", nil, nil)
	give := func(b []byte, want Reason) {
		t.Helper()
		if why := p.r.Receive(p.now, 0, p.n.e.snpa, b); why != want || want != OK && p.r.Drops(0, want) == 0 {
			t.Errorf("%v, want %v", why, want)
		}
	}
	hello := p.n.hello
	good := hello.Append(nil, 0, nil)
	give(good, LinkDown)
	p.e.set(nil)
	give(nil, Reason(pdu.Short))
	hello.Type = pdu.HelloL2
	give(hello.Append(nil, 0, nil), WrongKind)
	hello.Type = pdu.HelloL1
	give(hello.Append(nil, 0, nil), WrongLevel)
	hello.Type, hello.Levels = pdu.HelloP2P, 1
	give(hello.Append(nil, 0, nil), NoLevel)
	hello.Levels = 2
	for _, w := range []pdu.ThreeWay{{HasNeighbour: true, Neighbour: systemOf(3), NeighbourCircuit: 1}, {HasNeighbour: true, Neighbour: systemOf(1), NeighbourCircuit: 2}} {
		hello.ThreeWay = &w
		give(hello.Append(nil, 0, nil), NotForUs)
	}
	c := p.lsp(1)
	give(c.Append(nil, nil), NoAdjacency)
	give((&pdu.SNP{Type: pdu.PSNPL2, Source: p.n.system.Node(0)}).Append(nil, nil), NoAdjacency)
	give(good, OK)
	if why := p.r.Receive(p.now, 1, p.n.e.snpa, good); why != NoCircuit {
		t.Errorf("on circuit 1: %v", why)
	}
	for r := range ReasonCount {
		if r.String() == "unknown" {
			t.Errorf("reason %d has no name", r)
		}
	}
}

// TestThreeWay is the table of RFC 5303 with what it leaves open: our state, what is heard, and
// the state after it.
func TestThreeWay(t *testing.T) {
	says := func(p *pair, s pdu.ThreeWayState, names bool) {
		w := &pdu.ThreeWay{State: s, Local: 1, HasLocal: true}
		if names {
			w.Neighbour, w.NeighbourCircuit, w.HasNeighbour = systemOf(1), 1, true
		}
		p.n.hello.ThreeWay = w
		p.n.say()
		p.run(ms)
	}
	start := func() *pair {
		p := newPair(t, "p2p", nil, nil)
		p.n.follow = false
		p.e.set(nil)
		p.run(sec)
		return p
	}
	for _, tt := range []struct {
		before []pdu.ThreeWayState // what was heard before
		heard  pdu.ThreeWayState
		want   State
	}{
		{nil, pdu.SaysDown, Init},
		{nil, pdu.SaysInit, Up},
		{nil, pdu.SaysUp, Init},
		{[]pdu.ThreeWayState{pdu.SaysDown}, pdu.SaysDown, Init},
		{[]pdu.ThreeWayState{pdu.SaysDown}, pdu.SaysInit, Up},
		{[]pdu.ThreeWayState{pdu.SaysDown}, pdu.SaysUp, Up},
		{[]pdu.ThreeWayState{pdu.SaysInit}, pdu.SaysDown, Init},
		{[]pdu.ThreeWayState{pdu.SaysInit}, pdu.SaysInit, Up},
		{[]pdu.ThreeWayState{pdu.SaysInit}, pdu.SaysUp, Up},
	} {
		p := start()
		for _, s := range tt.before {
			says(p, s, s != pdu.SaysDown)
			p.run(100 * ms)
		}
		says(p, tt.heard, tt.heard != pdu.SaysDown)
		if p.e.state() != tt.want {
			t.Errorf("after %v, %d: %v, want %v", tt.before, tt.heard, p.e.state(), tt.want)
		}
	}
	// One that is Up with a router that we were before: it is told Down until it has understood,
	// and after a while taken as it is.
	p := start()
	for n, want := range []pdu.ThreeWayState{pdu.SaysDown, pdu.SaysDown, pdu.SaysInit} {
		says(p, pdu.SaysUp, true)
		p.run(100 * ms)
		if got := p.n.heard.ThreeWay.State; p.e.state() != Init && n < 2 || n < 2 && got != want {
			t.Errorf("hello %d is answered %d, want %d, %v", n, got, want, p.e.state())
		}
	}
	p.run(sec)
	says(p, pdu.SaysUp, true)
	if p.e.state() != Up {
		t.Errorf("%v after hellos that go on", p.e.state())
	}
}

// TestNeighbourRestarted: a neighbour that begins anew is taken out and comes back.
func TestNeighbourRestarted(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		p := upPair(t, name, nil, strict)
		p.n.follow = false
		p.n.hello.ThreeWay, p.n.hello.SNPAs = nil, nil
		p.n.say()
		p.run(100 * ms)
		if e := p.r.last(); p.e.state() != Init || e.From != Up || e.Text == "" {
			t.Errorf("%v: %v", p.e.state(), e)
		}
		p.n.follow = true
		p.run(10 * sec)
		if p.e.state() != Up || len(p.r.own(2).Neighbours) != 1 {
			t.Errorf("%v in the end", p.e.state())
		}
	})
}

// TestStaysUp: a neighbour that takes no notice of our Down, as FRR, is told Init and then Up when
// the gate opens again.
func TestStaysUp(t *testing.T) {
	p := upPair(t, "p2p", nil, trust)
	p.n.follow = false
	p.e.set(func(l *Link) { l.LinkLocals[0].DAD = gate.Tentative })
	p.run(30 * sec)
	if w := p.n.heard.ThreeWay; p.e.state() != Wait || w.State != pdu.SaysDown {
		t.Errorf("%v, says %d", p.e.state(), w.State)
	}
	p.n.hellos = nil
	p.e.set(func(l *Link) { l.LinkLocals[0].DAD = gate.Done })
	p.run(5 * sec)
	var said []pdu.ThreeWayState
	for _, h := range p.n.hellos {
		if w := h.hello.ThreeWay.State; len(said) == 0 || said[len(said)-1] != w {
			said = append(said, w)
		}
	}
	if p.e.state() != Up || !slices.Equal(said, []pdu.ThreeWayState{pdu.SaysInit, pdu.SaysUp}) {
		t.Errorf("%v, said %v", p.e.state(), said)
	}
}

// TestAnotherNeighbour: on a p2p circuit there is one; a LAN's card is that of one system.
func TestAnotherNeighbour(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		p := upPair(t, name, nil, nil)
		p.n.hello.Source = systemOf(9)
		p.n.hello.ThreeWay = nil
		p.run(5 * sec)
		list := p.r.circuits[0].adjacencies()
		if len(list) != 1 || list[0].system != systemOf(9) || list[0].state != Up {
			t.Errorf("%d neighbours, %v", len(list), list[0].system)
		}
	})
}

// TestWithoutThreeWay: a neighbour from before RFC 5303 is Up when it is heard.
func TestWithoutThreeWay(t *testing.T) {
	p := newPair(t, "p2p", nil, strict)
	p.n.follow = false
	p.e.set(nil)
	x := &timer{}
	x.call = func(now time.Duration) {
		p.n.hello.ThreeWay = nil
		p.carry(p.n.e, p.n.hello.Append(nil, 0, nil))
		p.timers.set(x, now+sec)
	}
	p.timers.set(x, 0)
	p.run(15 * sec)
	if p.e.state() != Wait {
		t.Errorf("%v while the gate is closed", p.e.state())
	}
	p.run(2 * ms)
	if p.e.state() != Up {
		t.Errorf("%v", p.e.state())
	}
	q := newPair(t, "p2p", nil, func(c *CircuitConfig) { c.TwoWay = true })
	q.n.follow = false
	q.e.set(nil)
	q.n.say()
	q.run(sec)
	if q.e.state() != Up || q.n.heard.ThreeWay != nil {
		t.Errorf("%v, says %v", q.e.state(), q.n.heard.ThreeWay)
	}
}

// TestHelloTimes: hellos come in time and not all at once, and one that a change calls for within
// 50 ms.
func TestHelloTimes(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		p := newPair(t, name, nil, func(c *CircuitConfig) { c.Priority = -1 })
		p.n.follow = false
		p.e.set(nil)
		p.run(300 * sec)
		least, most := time.Hour, time.Duration(0)
		for n := 1; n < len(p.n.hellos); n++ {
			d := p.n.hellos[n].at - p.n.hellos[n-1].at
			least, most = min(least, d), max(most, d)
		}
		if least < helloInterval*3/4 || most > helloInterval || most-least < helloInterval/8 {
			t.Errorf("%v to %v apart", least, most)
		}
		for n := range 50 {
			before := p.now
			p.e.set(func(l *Link) { l.LinkLocals[0].DAD = gate.DAD(n % 2) })
			p.run(60 * ms)
			if last := p.n.hellos[len(p.n.hellos)-1]; last.at < before || last.at > before+helloBreak+ms {
				t.Errorf("a change at %v is told at %v", before, last.at)
			}
		}
	})
}

func TestConfigRefused(t *testing.T) {
	send := func(int, pdu.SNPA, []byte) {}
	base := Config{System: systemOf(1), Areas: []pdu.Area{"\x49"}, Send: send}
	for name, change := range map[string]func(*Config){
		"no system":      func(c *Config) { c.System = pdu.SystemID{} },
		"no area":        func(c *Config) { c.Areas = nil },
		"four areas":     func(c *Config) { c.Areas = []pdu.Area{"1", "2", "3", "4"} },
		"long area":      func(c *Config) { c.Areas = []pdu.Area{pdu.Area(make([]byte, 14))} },
		"levels":         func(c *Config) { c.Levels = 4 },
		"hostname":       func(c *Config) { c.Hostname = string(make([]byte, 256)) },
		"LSP length 511": func(c *Config) { c.LSPLength = 511 },
		"LSP length":     func(c *Config) { c.LSPLength = 1493 },
		"ECMP":           func(c *Config) { c.ECMP = 65 },
		"MaxLSPs":        func(c *Config) { c.MaxLSPs = -1 },
		"Send":           func(c *Config) { c.Send = nil },
	} {
		c := base
		change(&c)
		if _, err := New(0, c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := base
	c.Keys[1] = Keys{{}}
	if _, err := New(0, c); !errors.Is(err, pdu.ErrKey) {
		t.Errorf("keys: %v", err)
	}
	i, err := New(0, base)
	if err != nil {
		t.Fatal(err)
	}
	for name, cc := range map[string]CircuitConfig{
		"no family":      {},
		"levels":         {IPv4: true, Levels: 4},
		"metric":         {IPv4: true, Metric: 1 << 24},
		"priority":       {IPv4: true, Priority: 128},
		"hello interval": {IPv4: true, HelloInterval: sec - 1},
		"multiplier":     {IPv4: true, HelloMultiplier: 1},
		"strict, IPv4":   {IPv4: true, Gate: gate.Config{Strict: true}},
		"strict, 2-way":  {IPv4: true, IPv6: true, TwoWay: true, Gate: gate.Config{Strict: true}},
		"topologies":     {IPv4: true, Gate: gate.Config{Topologies: true}},
		"keys":           {IPv4: true, Keys: make(Keys, KeysMax+1)},
	} {
		if _, err := i.AddCircuit(0, cc); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := i.AddCircuit(0, CircuitConfig{IPv4: true, Gate: gate.Config{Hold: 1}}); !errors.Is(err, gate.ErrConfig) {
		t.Errorf("gate: %v", err)
	}
	for n := range CircuitsMax + 1 {
		if _, err := i.AddCircuit(0, CircuitConfig{IPv4: true}); (err == nil) != (n < CircuitsMax) {
			t.Fatalf("circuit %d: %v", n, err)
		}
	}
}

// TestNotHeard: a neighbour that we hear and that does not list us while our hellos are long is shown
// after its hold time until it does, with what its own hellos tell of its MTU, and told of once: of
// an MTU that is less then too, else when a gate would have opened. Without padding of ours nothing is
// told.
func TestNotHeard(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		for _, x := range []struct {
			off  bool // we do not pad
			mtu  int  // ours; 0: 1500
			pads int  // how long its own hellos are; 0: they are not padded
			want Unheard
			text string
		}{
			{want: Unclear, text: "is its MTU less?"},
			{pads: 1491, want: Unclear, text: "is its MTU less?"}, // as LSPs are, whatever its MTU
			{pads: 1492, want: Unclear, text: "is its MTU less?"},
			{pads: 1490, want: Smaller, text: "its MTU is less,"},
			{pads: 1493, want: Smaller, text: "its MTU is less,"},
			{mtu: 1495, pads: 1492, want: NotMTU, text: "its MTU is no reason,"},
			{mtu: 9000, pads: 1492, want: Unclear, text: "is its MTU less?"},
			{mtu: 9000, pads: 1497, want: Smaller, text: "its MTU is less,"},
			{pads: 1197, want: Smaller, text: "its MTU is less,"},
			{pads: 1495, want: Smaller, text: "its MTU is less,"},
			{pads: 1496, want: NotMTU, text: "its MTU is no reason,"},
			{pads: 1497, want: NotMTU, text: "its MTU is no reason,"},
			{off: true, pads: 1197, text: "Init"},
		} {
			p := newPair(t, name, nil, func(c *CircuitConfig) { c.NoPadding = x.off })
			p.n.follow, p.n.pad = false, x.pads
			p.e.set(func(l *Link) {
				if x.mtu > 0 {
					l.MTU = x.mtu
				}
			})
			p.n.start()
			p.run(30 * sec)
			if p.e.state() != Init || p.r.count(Alarm) != 0 {
				t.Fatalf("%v, %d alarms within the hold time", p.e.state(), p.r.count(Alarm))
			}
			var want [UnheardCount]int
			if x.want != Heard {
				want[x.want] = 1
			}
			p.run(85 * sec)
			if v := p.r.Circuits()[0]; v.Unheard != want || (p.r.count(Alarm) > 0) != (x.want == Smaller) {
				t.Errorf("%+v: after 115 s %d is shown, with %d alarms", x, v.Unheard, p.r.count(Alarm))
			}
			p.run(200 * sec)
			v, n := p.r.Circuits()[0], p.r.Neighbours(p.now)[0]
			if v.Padded == x.off || v.Unheard != want || n.Unheard != x.want || p.r.count(Alarm) != want[x.want] || !strings.Contains(n.Text(p.now), x.text) {
				t.Errorf("%+v: shown as %v, %d, %q, %d alarms", x, v.Padded, v.Unheard, n.Text(p.now), p.r.count(Alarm))
			}
			p.n.follow = true
			p.run(10 * sec)
			if v := p.r.Circuits()[0]; p.e.state() != Up || v.Unheard != [UnheardCount]int{} {
				t.Errorf("then %v, %d", p.e.state(), v.Unheard)
			}
		}
	})
}

// TestHeardAgain: what was said of a neighbour that does not list us is not shown any more when its
// hold time has become longer than it has been silent of us, and again after that.
func TestHeardAgain(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		p := newPair(t, name, nil, nil)
		p.n.follow, p.n.pad = false, 1197
		p.e.set(nil)
		p.n.start()
		shown := func() Unheard { return p.r.Neighbours(p.now)[0].Unheard }
		if p.run(60 * sec); shown() != Smaller {
			t.Fatalf("%v after its hold time", shown())
		}
		p.n.hello.Hold = 300
		if p.run(20 * sec); shown() != Heard {
			t.Errorf("%v within a longer hold time", shown())
		}
		if p.run(300 * sec); shown() != Smaller || p.r.count(Alarm) != 1 {
			t.Errorf("%v after that, %d alarms", shown(), p.r.count(Alarm))
		}
	})
}

// TestNotListedAlarm: the alarm of a neighbour whose MTU is no reason comes after the longer of two
// minutes and four hold times, and the list shows it after one.
func TestNotListedAlarm(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		for hold, after := range map[uint16]time.Duration{10: 120 * sec, 30: 120 * sec, 60: 240 * sec} {
			p := newPair(t, name, nil, nil)
			p.n.follow, p.n.pad, p.n.hello.Hold = false, 1497, hold
			p.e.set(nil)
			p.n.start()
			shown, told := time.Duration(0), time.Duration(0)
			for range 300 {
				p.run(sec)
				n := p.r.Neighbours(p.now)[0]
				if shown == 0 && n.Unheard == NotMTU {
					shown = p.now - n.Since
				}
				if told == 0 && p.r.count(Alarm) > 0 {
					told = p.now - n.Since
				}
			}
			if one := time.Duration(hold) * sec; shown <= one || shown > one+5*sec || told <= after || told > after+5*sec || p.r.count(Alarm) != 1 {
				t.Errorf("hold time %d s: shown after %v, told after %v, %d alarms", hold, shown, told, p.r.count(Alarm))
			}
		}
	})
}

// TestBadNextHops: no address is a next hop that cannot be another host's, whatever a neighbour says.
func TestBadNextHops(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		p := newPair(t, name, nil, nil)
		other := p.r.on(p.wired(), P2P, nil)
		other.set(nil)
		p.e.set(func(l *Link) {
			l.IPv4 = append(l.IPv4, netip.MustParsePrefix("203.0.113.4/30"), netip.MustParsePrefix("203.0.113.8/31"))
		})
		good := p.n.hello.IPv4[0]
		for _, tt := range []struct {
			addr string
			want bool
		}{
			{"0.0.0.0", false}, {"0.1.2.3", false}, {"127.0.0.1", false}, {"224.0.0.5", false}, {"239.255.255.255", false},
			{"240.0.0.1", false}, {"255.255.255.255", false},
			{"10.0.0.0", false}, {"10.0.255.255", false}, {"10.0.0.255", true}, {"10.0.254.255", true}, {"10.0.1.0", true},
			{p.e.link.IPv4[0].Addr().String(), false}, {other.link.IPv4[0].Addr().String(), false},
			{"203.0.113.4", false}, {"203.0.113.5", true}, {"203.0.113.7", false}, {"203.0.113.8", false}, {"203.0.113.9", true},
		} {
			addr := netip.MustParseAddr(tt.addr)
			h := p.n.hello
			h.IPv4 = []netip.Addr{addr}
			hop := func() netip.Addr {
				p.r.Receive(p.now, 0, p.n.e.snpa, h.Append(nil, 0, nil))
				return p.r.circuits[0].adjacencies()[0].hops[gate.V4]
			}
			if got := hop(); (got == addr) != tt.want || got.IsValid() != tt.want {
				t.Errorf("%v: next hop %v", addr, got)
			}
			h.IPv4 = append(h.IPv4, good)
			if got := hop(); !tt.want && got != good {
				t.Errorf("%v and %v: next hop %v", addr, good, got)
			}
		}
	})
}

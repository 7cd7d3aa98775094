package isis

import (
	"net/netip"
	"testing"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// TestStartOverload: others keep off a router that starts until it holds what its neighbours do, or
// for a minute.
func TestStartOverload(t *testing.T) {
	for _, kind := range []Kind{P2P, LAN} {
		w := newWorld(t)
		x := w.wired()
		a := w.add(1, nil)
		a.on(x, kind, nil).set(nil)
		for n := range 100 {
			c := stranger(100+n, 1)
			v, _ := pdu.Check(c.Append(nil, nil))
			a.levels[2].put(0, v, nil)
		}
		w.run(20 * sec)
		b := w.add(2, func(c *Config) { c.StartOverload = 0 })
		e := b.on(x, kind, nil)
		e.set(nil)
		begun := w.now
		w.run(sec)
		if b.own(2).Flags&pdu.FlagOverload == 0 {
			t.Errorf("kind %d: not overloaded at the start", kind)
		}
		for b.starting && w.now < begun+100*sec {
			w.run(100 * ms)
		}
		if n := len(b.levels[2].order); n < 102 || w.now > begun+30*sec || kind == P2P && w.now > begun+8*sec {
			t.Errorf("kind %d: overloaded until %v, with %d LSPs", kind, w.now-begun, n)
		}
		w.run(5 * sec)
		if b.own(2).Flags&pdu.FlagOverload != 0 || a.entry(2, 0).lsp.Flags&pdu.FlagOverload != 0 {
			t.Errorf("kind %d: still says so", kind)
		}
	}
	p := newPair(t, "p2p", func(c *Config) { c.StartOverload = 0 }, nil)
	p.e.set(nil)
	p.run(startOverload - ms)
	if !p.r.starting {
		t.Error("alone: over before a minute")
	}
	p.run(ms + sec)
	if p.r.starting || p.r.own(2).Flags&pdu.FlagOverload != 0 {
		t.Error("alone: not over after a minute")
	}
}

// TestOverload: no way leads through a router that says to be overloaded, and its own prefixes are
// reached.
func TestOverload(t *testing.T) {
	d := newDiamond(t, nil)
	d.run(30 * sec)
	d.r[2].SetOverload(d.now, true)
	d.touch(d.r[2])
	d.run(5 * sec)
	if v := d.via(); v != [2]int{1, 1} {
		t.Errorf("over %v", v)
	}
	d.r[3].SetOverload(d.now, true)
	d.touch(d.r[3])
	d.run(10 * sec)
	if v := d.via(); v != [2]int{-1, -1} {
		t.Errorf("with both ways overloaded over %v", v)
	}
	w, r := chain(t, 3, func(n int, c *Config) { c.Overload = n == 2 }, nil)
	w.run(30 * sec)
	if _, ok := r[0].route("198.51.100.2/32"); !ok {
		t.Error("no route to an overloaded router")
	}
	if _, ok := r[0].route("198.51.100.3/32"); ok {
		t.Error("a route through an overloaded router")
	}
	r[1].SetOverload(w.now, false)
	w.touch(r[1])
	w.run(5 * sec)
	if _, ok := r[0].route("198.51.100.3/32"); !ok {
		t.Error("no route through one that is not any more")
	}
}

// TestFullDatabase: a router whose database has no room has others keep off at that level, once, and
// until nothing was refused for a while.
func TestFullDatabase(t *testing.T) {
	p := upPair(t, "p2p", func(c *Config) { c.MaxLSPs, c.Levels = 50, 3 }, nil)
	overloaded := func(n pdu.Level) bool { return p.r.own(n).Flags&pdu.FlagOverload != 0 }
	for n := range 60 {
		c := stranger(100+n, 1)
		p.n.send(c)
	}
	p.run(10 * sec)
	if !overloaded(2) || overloaded(1) || !p.r.Overloaded() || p.n.last(1).Flags&pdu.FlagOverload == 0 {
		t.Errorf("overloaded in L1 %v, in L2 %v, the neighbour is told %v", overloaded(1), overloaded(2), p.n.last(1).Flags)
	}
	// While more is refused it stays so.
	for range 3 {
		p.run(40 * sec)
		c := stranger(300, 1)
		p.n.send(c)
	}
	p.run(fullFor)
	if !overloaded(2) {
		t.Error("over before nothing was refused for a while")
	}
	p.run(10 * sec)
	if overloaded(2) || p.r.Overloaded() {
		t.Error("it stays overloaded")
	}
	if n := p.r.count(OverloadChange); n != 2 {
		t.Errorf("%d events:\n%s", n, p.r.log(OverloadChange))
	}
}

// TestTopologyOverload: the LSP's bit is that of IPv4's topology, and each other one has its own.
func TestTopologyOverload(t *testing.T) {
	for _, four := range []bool{true, false} {
		w, r := chain(t, 3, func(n int, c *Config) {
			c.Topologies = true
			c.Prefixes = append(c.Prefixes, netip.PrefixFrom(linkGlobal(n), 128))
		}, nil)
		w.run(30 * sec)
		c := *r[1].levels[2].entries[systemOf(2).Node(0).LSP(0)].content
		c.Topologies = []pdu.Topology{{ID: pdu.MT0}, {ID: pdu.MTIPv6, Overload: !four}}
		if four {
			c.Flags |= pdu.FlagOverload
		}
		r[1].levels[2].emit(w.now, c, nil)
		w.touch(r[1])
		w.run(5 * sec)
		_, ok4 := r[0].route("198.51.100.3/32")
		_, ok6 := r[0].route(netip.PrefixFrom(linkGlobal(3), 128).String())
		if ok4 == four || ok6 != four {
			t.Errorf("overloaded for IPv4 %v: IPv4 %v, IPv6 %v", four, ok4, ok6)
		}
	}
}

func linkGlobal(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: byte(n)})
}

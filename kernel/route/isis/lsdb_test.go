package isis

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// entry is what a router holds of an LSP of a router; nil: nothing.
func (r *router) entry(n int, fragment uint8) *entry {
	return r.levels[2].entries[systemOf(n).Node(0).LSP(fragment)]
}

// last is the last LSP that a neighbour was sent of a router.
func (p *neighbour) last(n int) *pdu.LSP {
	for i := len(p.lsps) - 1; i >= 0; i-- {
		if p.lsps[i].ID == systemOf(n).Node(0).LSP(0) {
			return p.lsps[i]
		}
	}
	return &pdu.LSP{}
}

// stranger is an LSP of a router that is somewhere behind the neighbour.
func stranger(n int, sequence uint32) pdu.Content {
	return pdu.Content{Level: 2, ID: systemOf(n).Node(0).LSP(0), Sequence: sequence, Lifetime: 1200, Flags: 3, Hostname: fmt.Sprint("s", n)}
}

// chain is routers in a row, each joined to the next one.
func chain(tb testing.TB, n int, config func(n int, c *Config), circuit func(*CircuitConfig)) (*world, []*router) {
	w := newWorld(tb)
	for i := range n {
		r := w.add(i+1, func(c *Config) {
			c.Prefixes = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}), 32)}
			if config != nil {
				config(i+1, c)
			}
		})
		if i > 0 {
			x := w.wired()
			a, b := w.routers[i-1].on(x, P2P, circuit), r.on(x, P2P, circuit)
			a.set(nil)
			b.set(nil)
		}
	}
	return w, w.routers
}

// sameDatabases checks that all routers hold the same.
func sameDatabases(t *testing.T, when string, n pdu.Level, all []*router) {
	t.Helper()
	first := all[0].levels[n]
	for _, r := range all[1:] {
		l := r.levels[n]
		if len(l.order) != len(first.order) {
			t.Errorf("%s: %s holds %d LSPs, %s %d", when, r.name, len(l.order), all[0].name, len(first.order))
			continue
		}
		for i, e := range l.order {
			if o := first.order[i]; e.id != o.id || e.compare(o.header(0)) != equal || !equalButLifetime(e.raw, o.raw) {
				t.Errorf("%s: %s holds %v %d, %s %v %d", when, r.name, e.id, e.lsp.Sequence, all[0].name, o.id, o.lsp.Sequence)
			}
		}
	}
}

// TestFlooding: what one says all hold, once, and nothing is sent again that was acknowledged.
func TestFlooding(t *testing.T) {
	w, r := chain(t, 5, nil, nil)
	w.run(30 * sec)
	sameDatabases(t, "begin", 2, r)
	if x, ok := r[4].route("198.51.100.1/32"); !ok || x.Metric != 40 || len(x.NextHops) != 1 || x.NextHops[0].Addr != netip.MustParseAddr("10.3.0.4") {
		t.Errorf("route %+v", x)
	}
	lsps := 0
	for _, x := range w.wires {
		x.lose = func(b []byte) bool {
			if b[4] == byte(pdu.LSPL2) {
				lsps++
			}
			return false
		}
	}
	r[0].SetOverload(w.now, true)
	w.touch(r[0])
	w.run(20 * sec)
	sameDatabases(t, "changed", 2, r)
	if lsps != 4 {
		t.Errorf("one LSP was sent %d times over 4 wires", lsps)
	}
	if r[4].entry(1, 0).lsp.Flags&pdu.FlagOverload == 0 {
		t.Error("the change has not come to the end")
	}
}

// TestLossyFlooding: with a third of all frames lost the databases still become the same.
func TestLossyFlooding(t *testing.T) {
	for _, kind := range []Kind{P2P, LAN} {
		w := newWorld(t)
		var r []*router
		x := w.wired()
		for n := range 3 {
			r = append(r, w.add(n+1, nil))
			r[n].on(x, kind, func(c *CircuitConfig) { c.HelloMultiplier = 100 })
			if n == 1 && kind == P2P {
				break
			}
		}
		n := uint32(1)
		x.lose = func([]byte) bool {
			n = n*1664525 + 1013904223
			return n>>16%3 == 0
		}
		for _, e := range x.ends {
			e.set(nil)
		}
		w.run(60 * sec)
		for range 20 {
			r[0].SetOverload(w.now, !r[0].config.Overload)
			w.touch(r[0])
			w.run(7 * sec)
		}
		w.run(60 * sec)
		sameDatabases(t, fmt.Sprint("kind ", kind), 2, r)
		if r[1].entry(1, 0).lsp.Sequence < 10 {
			t.Errorf("kind %d: sequence %d", kind, r[1].entry(1, 0).lsp.Sequence)
		}
	}
}

// TestRetransmit: an LSP is sent again every 5 s until it is acknowledged, by a PSNP or a CSNP.
func TestRetransmit(t *testing.T) {
	for _, kind := range []pdu.Type{pdu.PSNPL2, pdu.CSNPL2} {
		p := upPair(t, "p2p", nil, nil)
		p.n.lsps = nil
		p.run(26 * sec)
		if n := len(p.n.lsps); n < 4 || n > 6 {
			t.Errorf("sent %d times in 26 s", n)
		}
		h := p.n.last(1).Header
		ack := &pdu.SNP{Type: kind, Source: p.n.system.Node(0), Last: pdu.LastLSPID, TLVs: pdu.TLVs{Entries: []pdu.Header{h}}}
		p.carry(p.n.e, ack.Append(nil, nil))
		p.run(10 * ms)
		p.n.lsps = nil
		p.run(26 * sec)
		if n := len(p.n.lsps); n != 0 {
			t.Errorf("sent %d times after %v", n, kind)
		}
	}
}

// TestCompare is ISO 10589 7.3.16 as a table.
func TestCompare(t *testing.T) {
	h := func(sequence uint32, lifetime, checksum uint16) pdu.Header {
		return pdu.Header{Sequence: sequence, Lifetime: lifetime, Checksum: checksum}
	}
	for _, tt := range []struct {
		have, is pdu.Header
		want     order
	}{
		{h(5, 100, 7), h(5, 200, 7), equal},
		{h(5, 100, 7), h(6, 0, 0), newer},
		{h(5, 100, 7), h(4, 1200, 9), older},
		{h(5, 100, 7), h(5, 0, 0), newer},
		{h(5, 0, 0), h(5, 100, 7), older},
		{h(5, 0, 0), h(5, 0, 9), equal},
		{h(5, 100, 7), h(5, 100, 8), clash},
		{h(5, 0, 0), h(6, 100, 8), newer},
	} {
		e := &entry{lsp: &pdu.LSP{Header: tt.have}, purged: tt.have.Lifetime == 0}
		if got := e.compare(tt.is); got != tt.want {
			t.Errorf("%+v beside %+v: %d, want %d", tt.is, tt.have, got, tt.want)
		}
	}
}

// TestAgesOut: what its origin does not refresh is purged when its time is over and forgotten a
// minute later; a lifetime that was cut on the way counts as a full one, a longer one as it is.
func TestAgesOut(t *testing.T) {
	for lifetime, want := range map[uint16]time.Duration{1200: 1200 * sec, 3: 1200 * sec, 2000: 2000 * sec} {
		p := upPair(t, "p2p", nil, nil)
		c := stranger(7, 9)
		c.Lifetime = lifetime
		p.n.send(c)
		p.run(ms)
		came := p.now
		if e := p.r.entry(7, 0); e == nil || e.lifetime(p.now) != uint16(want/sec) {
			t.Fatalf("lifetime %d: held as %+v", lifetime, e)
		}
		p.until(came + want - 1)
		if e := p.r.entry(7, 0); e.purged || e.lifetime(p.now) != 1 {
			t.Errorf("lifetime %d: %d a moment before the end", lifetime, e.lifetime(p.now))
		}
		p.until(came + want)
		if !p.r.entry(7, 0).purged {
			t.Errorf("lifetime %d: not purged at the end", lifetime)
		}
		p.run(50 * ms)
		if l := p.n.last(7); l.Lifetime != 0 || l.Sequence != 9 || l.Hostname != "" {
			t.Errorf("lifetime %d: the neighbour was sent %+v", lifetime, l.Header)
		}
		p.until(came + want + zeroAge)
		if p.r.entry(7, 0) != nil {
			t.Errorf("lifetime %d: not forgotten", lifetime)
		}
	}
}

// TestRefresh: our LSP is written anew before its time is over, which finds no paths anew.
func TestRefresh(t *testing.T) {
	w, r := chain(t, 2, nil, nil)
	w.run(60 * sec)
	was, runs := r[1].entry(1, 0).lsp.Sequence, r[1].Counts().SPF
	w.run(900 * sec)
	if now := r[1].entry(1, 0).lsp.Sequence; now != was+1 {
		t.Errorf("sequence %d, then %d", was, now)
	}
	w.run(3 * time.Hour)
	if now := r[1].entry(1, 0).lsp.Sequence; now < was+13 || now > was+18 {
		t.Errorf("sequence %d, after 3 hours more %d", was, now)
	}
	if now := r[1].Counts(); now.SPF != runs || now.Purged > 0 || now.Refreshed < 13 {
		t.Errorf("SPF runs %v, then %+v", runs, now)
	}
}

// TestOwnLSPs: what comes in our name is gone over, or purged if we have no such thing: at once if
// nothing such came for a minute, and then it is no alarm.
func TestOwnLSPs(t *testing.T) {
	p := upPair(t, "p2p", nil, nil)
	mine := func(sequence uint32, fragment uint8, lifetime uint16) pdu.Content {
		c := stranger(1, sequence)
		c.ID, c.Lifetime = systemOf(1).Node(0).LSP(fragment), lifetime
		return c
	}
	expect := func(what string, sequence uint32, name string) {
		t.Helper()
		p.run(200 * ms)
		if e := p.r.entry(1, 0); e.lsp.Sequence != sequence || e.lsp.Hostname != name || p.n.last(1).Sequence != sequence {
			t.Errorf("%s: we hold %d, the neighbour was sent %d", what, e.lsp.Sequence, p.n.last(1).Sequence)
		}
		p.run(claimQuiet)
	}
	p.n.send(mine(100, 0, 1200))
	expect("a newer one", 101, "r1")
	p.n.send(mine(50, 0, 1200))
	expect("an older one", 101, "r1")
	p.n.send(mine(101, 0, 1200))
	expect("another one of the same number", 102, "r1")
	p.n.send(mine(102, 0, 0))
	expect("purged", 103, "r1")
	p.n.send(mine(200, 0, 0))
	expect("purged ahead", 201, "r1")
	p.n.send(mine(7, 3, 1200))
	p.run(200 * ms)
	if e := p.r.entry(1, 3); e == nil || !e.purged || e.lsp.Sequence != 7 {
		t.Errorf("a fragment that we do not have: %+v", e)
	}
	p.n.send(mine(7, 4, 0))
	p.run(200 * ms)
	if p.r.entry(1, 4) != nil {
		t.Error("a purge of what is not there is held")
	}
	if n := p.r.Drops(0, SystemClash); n != 0 || p.r.count(Alarm) != 0 {
		t.Errorf("%d clashes of system IDs are counted, %d alarms", n, p.r.count(Alarm))
	}
}

// TestClaims: what comes in our name again and again is gone over after waits that become longer, and
// is one alarm. One that comes during a wait makes it no longer, and a change of ours ends it.
func TestClaims(t *testing.T) {
	p := upPair(t, "p2p", nil, nil)
	e := p.r.entry(1, 0)
	sequence := uint32(100)
	claim := func(want Reason) {
		t.Helper()
		c := stranger(1, sequence)
		if why := p.r.Receive(p.now, 0, p.n.e.snpa, c.Append(nil, nil)); why != want {
			t.Errorf("%d: %v, want %v", sequence, why, want)
		}
		p.touch(p.r)
	}
	claim(OK)
	clashes := 0
	for _, wait := range []time.Duration{50 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5 * sec, 5 * sec, 5 * sec} {
		if e.lsp.Sequence != sequence+1 {
			t.Errorf("we hold %d, want %d", e.lsp.Sequence, sequence+1)
		}
		sequence += 10
		claim(SystemClash)
		p.run(wait / 2)
		sequence += 10
		claim(SystemClash)
		clashes += 2
		p.run(wait - wait/2 - 1)
		if e.lsp.Sequence > sequence {
			t.Errorf("%d is answered before %v", sequence, wait)
		}
		p.run(1)
	}
	if n := p.r.Drops(0, SystemClash); e.lsp.Sequence != sequence+1 || n != uint64(clashes) || p.r.count(Alarm) != 1 || !strings.Contains(p.r.log(Alarm), "alarm e0: system_id_clash") {
		t.Errorf("we hold %d, %d clashes are counted:\n%s", e.lsp.Sequence, n, p.r.log(Alarm))
	}
	// What changes here does not wait for it.
	sequence += 10
	claim(SystemClash)
	p.r.SetOverload(p.now, true)
	p.touch(p.r)
	p.run(generateFirst)
	if e.lsp.Sequence != sequence+1 || e.lsp.Flags&pdu.FlagOverload == 0 {
		t.Errorf("we hold %d with flags %x, want %d with the overload bit", e.lsp.Sequence, e.lsp.Flags, sequence+1)
	}
	p.run(generateMost)
	if e.lsp.Sequence != sequence+1 {
		t.Errorf("it is answered twice: %d", e.lsp.Sequence)
	}
	// Nor does what we never wrote come back faster.
	for n := range uint32(3) {
		c := stranger(1, 5+n)
		c.ID = systemOf(1).Node(0).LSP(9)
		if why, want := p.r.Receive(p.now, 0, p.n.e.snpa, c.Append(nil, nil)), map[bool]Reason{true: OK, false: SystemClash}[n == 0]; why != want {
			t.Errorf("a fragment that we do not have: %v, want %v", why, want)
		}
	}
	if got := p.r.entry(1, 9).lsp.Sequence; got != 5 {
		t.Errorf("it is purged at once with %d", got)
	}
	p.touch(p.r)
	p.run(generateFirst)
	if f := p.r.entry(1, 9); f.lsp.Sequence != 7 || !f.purged {
		t.Errorf("it is not purged: %d", f.lsp.Sequence)
	}
	p.run(zeroAge + sec)
	if n := len(p.r.levels[2].order); n != 1 {
		t.Errorf("%d LSPs are held", n)
	}
	// After a minute without any all is as at first.
	sequence += 10
	claim(OK)
}

// TestSameSystem: two routers with one system ID and a third one between them do not fill the network
// with LSPs, and each of the two says once what is wrong.
func TestSameSystem(t *testing.T) {
	w, r := chain(t, 3, func(n int, c *Config) { c.System = systemOf(1 + n%2) }, nil)
	lsps := 0
	for _, x := range w.wires {
		x.lose = func(b []byte) bool {
			if b[4] == byte(pdu.LSPL2) {
				lsps++
			}
			return false
		}
	}
	w.run(2 * sec)
	// Each waits for up to generateMost, so the two write 12 a minute, and a few more at first. What is
	// counted on the wires is each of them going over both, and again when it is asked for.
	written := func() uint32 { return r[1].entry(2, 0).lsp.Sequence }
	for minute := range 10 {
		before := written()
		lsps = 0
		w.run(60 * sec)
		n, most := written()-before, uint32(13)
		if minute == 0 {
			most = 26
		}
		if n > most || n < 8 || lsps > 6*int(most) {
			t.Errorf("minute %d: %d LSPs are written, %d are on the wires", minute, n, lsps)
		}
	}
	for _, x := range []*router{r[0], r[2]} {
		if n := x.Drops(0, SystemClash); n < 50 || x.count(Alarm) != 1 || !strings.Contains(x.log(Alarm), "system_id_clash") {
			t.Errorf("%s: %d clashes are counted\n%s", x.name, n, x.log(Alarm))
		}
	}
	if r[1].count(Alarm) != 0 {
		t.Errorf("the one between them:\n%s", r[1].log(Alarm))
	}
}

// TestSequenceWraps: when there is no number left we are silent until all have forgotten us.
func TestSequenceWraps(t *testing.T) {
	w, r := chain(t, 3, nil, strict)
	w.run(60 * sec)
	forged := stranger(2, sequenceMax-1)
	x := r[1].ends[0].wire
	b := forged.Append(nil, nil)
	w.carry(x.ends[0], b)
	w.run(sec)
	if n := r[1].entry(2, 0).lsp.Sequence; n != sequenceMax || r[1].silent {
		t.Fatalf("sequence %d", n)
	}
	forged = stranger(2, sequenceMax)
	w.carry(x.ends[0], forged.Append(nil, nil))
	w.run(sec)
	silence := w.now
	if !r[1].silent || len(r[1].levels[2].order) > 0 || len(r[1].Routes()) > 0 && w.now > silence+sec {
		t.Errorf("silent %v, %d LSPs are held", r[1].silent, len(r[1].levels[2].order))
	}
	said := 0
	for _, e := range r[1].ends {
		e.wire.lose = func(b []byte) bool {
			if pdu.SystemID(b[9:15]) == systemOf(2) {
				said++
			}
			return false
		}
	}
	w.run(1250 * sec)
	if said > 0 || r[0].ends[0].state() != Down || r[1].Drops(0, Silent) == 0 {
		t.Errorf("%d hellos in silence, r1 has it %v", said, r[0].ends[0].state())
	}
	w.run(60 * sec)
	if r[1].silent || r[0].ends[0].state() != Up || r[0].entry(2, 0).lsp.Sequence > 10 {
		t.Errorf("after it: silent %v, r1 has it %v", r[1].silent, r[0].ends[0].state())
	}
	sameDatabases(t, "after silence", 2, r)
	if _, ok := r[0].route("198.51.100.3/32"); !ok {
		t.Error("no route through it")
	}
}

// TestClash: two contents under one number are purged, and their origin goes on with the next.
func TestClash(t *testing.T) {
	w, r := chain(t, 3, nil, nil)
	w.run(30 * sec)
	was := r[0].entry(3, 0).lsp.Sequence
	forged := stranger(3, was)
	w.carry(r[0].ends[0].wire.ends[0], forged.Append(nil, nil)) // to r2, as if by r1
	w.run(10 * sec)
	if now := r[0].entry(3, 0).lsp; now.Sequence <= was || now.Hostname != "r3" {
		t.Errorf("sequence %d of %s, then %d", was, now.Hostname, now.Sequence)
	}
	sameDatabases(t, "clash", 2, r)
}

// TestBadLSPs: whatever single octet is changed on the way, the database is as before.
func TestBadLSPs(t *testing.T) {
	p := upPair(t, "p2p", nil, nil)
	c := stranger(7, 9)
	p.n.send(c)
	p.run(sec)
	was := append([]byte(nil), p.r.entry(7, 0).raw...)
	c.Sequence = 10
	good := c.Append(nil, nil)
	for i := range good {
		for _, x := range []byte{1, 0x80, 0x7f} { // 0xff is 0 to the checksum
			if i == 10 || i == 11 || i == 6 || i == 4 && x == 0x80 {
				continue // the lifetime, and what is reserved
			}
			b := append([]byte(nil), good...)
			b[i] ^= x
			why := p.r.Receive(p.now, 0, p.n.e.snpa, b)
			if e := p.r.entry(7, 0); why == OK || !equalButLifetime(e.raw, was) || len(p.r.levels[2].order) != 2 {
				t.Fatalf("octet %d: %v, held %d", i, why, e.lsp.Sequence)
			}
		}
	}
	if why := p.r.Receive(p.now, 0, p.n.e.snpa, good); why != OK || p.r.entry(7, 0).lsp.Sequence != 10 {
		t.Errorf("the twin: %v", why)
	}
	zero := stranger(8, 0)
	if why := p.r.Receive(p.now, 0, p.n.e.snpa, zero.Append(nil, nil)); why != BadSequence {
		t.Errorf("sequence 0: %v", why)
	}
}

// TestUnknownTLVsAreFlooded: what is not known goes on as it came.
func TestUnknownTLVsAreFlooded(t *testing.T) {
	w, r := chain(t, 3, nil, nil)
	w.run(30 * sec)
	c := stranger(7, 9)
	b := c.Append(nil, nil)
	// A TLV 250 with an odd sum, and the checksum that a router that knows it would write.
	b = append(b, 250, 3, 1, 2, 3)
	b[9] += 5
	v, _ := pdu.Check(pdu.Checksummed(b))
	w.carry(r[0].ends[0].wire.ends[0], v.Bytes())
	w.run(sec)
	if e := r[2].entry(7, 0); e == nil || !equalButLifetime(e.raw, b) || len(e.lsp.Others) != 1 {
		t.Errorf("r3 holds %+v", e)
	}
}

// TestMaxLSPs: a flood of strangers does not fill the memory.
func TestMaxLSPs(t *testing.T) {
	p := upPair(t, "p2p", func(c *Config) { c.MaxLSPs = 50 }, nil)
	for n := range 100 {
		c := stranger(100+n, 1)
		why := p.r.Receive(p.now, 0, p.n.e.snpa, c.Append(nil, nil))
		if want := map[bool]Reason{true: OK, false: TooManyLSPs}[n < 49]; why != want {
			t.Fatalf("LSP %d: %v", n, why)
		}
	}
	// Long ones fill it sooner.
	q := upPair(t, "p2p", func(c *Config) { c.MaxLSPs = 50 }, nil)
	held := 0
	for n := range 20 {
		c := stranger(100+n, 1)
		for i := range 700 {
			c.Items = append(c.Items, pdu.Neighbour{Node: pdu.NodeID{byte(i >> 8), byte(i)}}.Item())
		}
		if q.r.Receive(q.now, 0, q.n.e.snpa, c.Append(nil, nil)) == OK {
			held++
		}
	}
	if l := q.r.levels[2]; held < 5 || held > 10 || l.bytes > 50*lspLengthMax {
		t.Errorf("%d of 8 kB are held, %d bytes", held, l.bytes)
	}
	if e := q.r.entry(100, 0); e != nil {
		c := stranger(100, 2)
		if why := q.r.Receive(q.now, 0, q.n.e.snpa, c.Append(nil, nil)); why != OK {
			t.Errorf("a shorter version: %v", why)
		}
	}
	s := &pdu.SNP{Type: pdu.CSNPL2, Source: p.n.system.Node(0), Last: pdu.LastLSPID}
	for n := range 300 {
		s.Entries = append(s.Entries, pdu.Header{ID: systemOf(1000 + n).Node(0).LSP(0), Sequence: 1, Lifetime: 1, Checksum: 1})
	}
	p.r.Receive(p.now, 0, p.n.e.snpa, s.Append(nil, nil))
	if f := p.r.circuits[0].floods[2]; len(f.snp) > 50 || len(f.asked) > 50 {
		t.Errorf("%d are asked for", len(f.asked))
	}
}

// TestForgedOwnLSPs: LSPs with our name that we never wrote fill no memory either, and what we write
// does not wait for their purges.
func TestForgedOwnLSPs(t *testing.T) {
	p := upPair(t, "p2p", func(c *Config) { c.MaxLSPs = 50 }, nil)
	refused := 0
	for n := range 5000 {
		c := stranger(1, 9)
		c.ID = systemOf(1).Node(uint8(1 + n/256)).LSP(uint8(n))
		if p.r.Receive(p.now, 0, p.n.e.snpa, c.Append(nil, nil)) == TooManyLSPs {
			refused++
		}
	}
	l := p.r.levels[2]
	if len(l.order) > 50 || refused != 5000-49 {
		t.Errorf("%d LSPs are held, %d were refused", len(l.order), refused)
	}
	// What is held is still gone over.
	if why := p.r.Receive(p.now, 0, p.n.e.snpa, func() []byte { c := stranger(1, 100); return c.Append(nil, nil) }()); why != OK || p.r.entry(1, 0).lsp.Sequence != 101 {
		t.Errorf("our own: %v, sequence %d", why, p.r.entry(1, 0).lsp.Sequence)
	}
	p.touch(p.r)
	p.run(2*pacing + 2*ms)
	if got := p.n.last(1).Sequence; got != 101 {
		t.Errorf("two turns later the neighbour has sequence %d of our LSP", got)
	}
	p.run(zeroAge + sec)
	if n := len(l.order); n != 1 {
		t.Errorf("%d LSPs are held when all purges are forgotten", n)
	}
}

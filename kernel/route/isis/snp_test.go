package isis

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// TestSynchronise: a neighbour that comes Up is told what we hold, asked for what we lack, and
// given what it lacks or has an older one of.
func TestSynchronise(t *testing.T) {
	p := newPair(t, "p2p", nil, nil)
	p.e.set(nil)
	p.n.start()
	p.run(100 * ms)
	for _, n := range []int{10, 11, 12} {
		c := stranger(n, 5)
		p.n.send(c)
	}
	p.run(10 * sec)
	var csnp *pdu.SNP
	for _, s := range p.n.snps {
		if s.Type == pdu.CSNPL2 {
			csnp = s
		}
	}
	if csnp == nil || csnp.First != (pdu.LSPID{}) || csnp.Last != pdu.LastLSPID || len(csnp.Entries) != 4 || csnp.Entries[1].Sequence != 5 {
		t.Fatalf("CSNP %+v", csnp)
	}
	p.n.lsps, p.n.snps = nil, nil
	list := &pdu.SNP{Type: pdu.CSNPL2, Source: p.n.system.Node(0), Last: pdu.LastLSPID}
	list.Entries = []pdu.Header{
		csnp.Entries[0], // the same: nothing to do
		{ID: systemOf(10).Node(0).LSP(0), Sequence: 4, Lifetime: 9, Checksum: 1}, // older
		{ID: systemOf(11).Node(0).LSP(0), Sequence: 6, Lifetime: 9, Checksum: 1}, // newer
		// 12 is not there
		{ID: systemOf(13).Node(0).LSP(0), Sequence: 1, Lifetime: 9, Checksum: 1}, // lacking here
		{ID: systemOf(14).Node(0).LSP(0), Sequence: 1, Lifetime: 0, Checksum: 1}, // purged: nobody needs it
	}
	p.carry(p.n.e, list.Append(nil, nil))
	p.run(3 * sec)
	var sent []string
	for _, l := range p.n.lsps {
		sent = append(sent, l.Hostname)
	}
	if fmt.Sprint(sent) != "[s10 s12]" {
		t.Errorf("sent %v", sent)
	}
	var asked []pdu.Header
	for _, s := range p.n.snps {
		if s.Type == pdu.PSNPL2 {
			asked = append(asked, s.Entries...)
		}
	}
	if len(asked) != 2 || asked[0].ID != list.Entries[2].ID || asked[0].Sequence != 5 || asked[1].ID != list.Entries[3].ID || asked[1].Sequence != 0 {
		t.Errorf("asked for %+v", asked)
	}
	// A list of a part says nothing of the rest.
	p.n.lsps = nil
	h10, h12 := p.r.entry(10, 0).header(p.now), p.r.entry(12, 0).header(p.now)
	part := &pdu.SNP{Type: pdu.CSNPL2, Source: p.n.system.Node(0), First: h10.ID, Last: systemOf(11).Node(0).LSP(255)}
	p.carry(p.n.e, part.Append(nil, nil))
	acks := &pdu.SNP{Type: pdu.PSNPL2, Source: p.n.system.Node(0), TLVs: pdu.TLVs{Entries: []pdu.Header{h10, h12}}}
	p.run(ms)
	p.carry(p.n.e, acks.Append(nil, nil))
	p.run(3 * sec)
	sent = nil
	for _, l := range p.n.lsps {
		sent = append(sent, l.Hostname)
	}
	if fmt.Sprint(sent) != "[s10 s11]" && fmt.Sprint(sent) != "[s11]" {
		t.Errorf("after a part of the list: sent %v", sent)
	}
}

// TestAcknowledged: a p2p neighbour is told within 2 s what has come, also a purge of what is not
// held.
func TestAcknowledged(t *testing.T) {
	p := upPair(t, "p2p", nil, nil)
	p.n.snps = nil
	c, gone := stranger(10, 5), stranger(11, 6)
	gone.Lifetime = 0
	p.n.send(c)
	p.n.send(gone)
	p.run(2*sec + 2*ms)
	var got []pdu.Header
	for _, s := range p.n.snps {
		if s.Type == pdu.PSNPL2 {
			got = append(got, s.Entries...)
		}
	}
	if len(got) != 2 || got[0].ID != gone.ID || got[0].Sequence != 6 || got[1].ID != c.ID || got[1].Sequence != 5 {
		t.Errorf("acknowledged %+v", got)
	}
}

// TestLANLists: the DIS lists all every 10 s and gives what it is asked for; others do not.
func TestLANLists(t *testing.T) {
	for _, dis := range []bool{true, false} {
		p := newPair(t, "LAN", nil, nil)
		if !dis {
			p.n.hello.Priority = 100
			p.n.hello.LAN = p.n.system.Node(5)
		}
		p.e.set(nil)
		p.n.start()
		p.run(20 * sec)
		if us := p.r.circuits[0].lans[2].us; us != dis {
			t.Fatalf("we are the DIS: %v", us)
		}
		p.n.snps, p.n.lsps = nil, nil
		p.run(60 * sec)
		if n := len(p.n.snps); (n >= 6 && n <= 8) != dis || !dis && n > 0 {
			t.Errorf("DIS %v: %d lists in a minute", dis, n)
		}
		if len(p.n.lsps) > 0 {
			t.Errorf("DIS %v: %d LSPs without a reason", dis, len(p.n.lsps))
		}
		ask := &pdu.SNP{Type: pdu.PSNPL2, Source: p.n.system.Node(0), TLVs: pdu.TLVs{Entries: []pdu.Header{{ID: systemOf(1).Node(0).LSP(0)}}}}
		p.carry(p.n.e, ask.Append(nil, nil))
		p.run(sec)
		if n := len(p.n.lsps); n != map[bool]int{true: 1, false: 0}[dis] {
			t.Errorf("DIS %v: %d LSPs when asked", dis, n)
		}
		// What the DIS lacks of ours it is sent, and what we lack we ask it for.
		p.n.lsps, p.n.snps = nil, nil
		list := &pdu.SNP{Type: pdu.CSNPL2, Source: p.n.system.Node(0), Last: pdu.LastLSPID}
		list.Entries = []pdu.Header{{ID: systemOf(9).Node(0).LSP(0), Sequence: 1, Lifetime: 9, Checksum: 1}}
		p.carry(p.n.e, list.Append(nil, nil))
		p.run(3 * sec)
		if len(p.n.lsps) == 0 || len(p.n.snps) == 0 || p.n.snps[0].Entries[0].ID != list.Entries[0].ID {
			t.Errorf("DIS %v: %d LSPs sent, asked for %v", dis, len(p.n.lsps), p.n.snps)
		}
	}
}

// TestLongLists: a list of more than fits is several, whose ranges join.
func TestLongLists(t *testing.T) {
	p := upPair(t, "p2p", nil, nil)
	for n := range 500 {
		c := stranger(100+n, 1)
		p.r.Receive(p.now, 0, p.n.e.snpa, c.Append(nil, nil))
	}
	p.n.snps = nil
	p.run(10 * sec)
	var next pdu.LSPID
	entries, lists := 0, 0
	for _, s := range p.n.snps {
		if s.Type != pdu.CSNPL2 {
			continue
		}
		if s.First != next {
			t.Errorf("begins at %v, want %v", s.First, next)
		}
		for _, e := range s.Entries {
			if bytes.Compare(e.ID[:], s.First[:]) < 0 || bytes.Compare(e.ID[:], s.Last[:]) > 0 {
				t.Errorf("%v is not within %v to %v", e.ID, s.First, s.Last)
			}
		}
		entries += len(s.Entries)
		lists++
		next = following(s.Last)
		if s.Last == pdu.LastLSPID {
			break
		}
	}
	if entries != 501 || lists != 6 || next != (pdu.LSPID{}) {
		t.Errorf("%d entries in %d lists", entries, lists)
	}
}

// many are n prefixes.
func many(n int) (list []netip.Prefix) {
	for i := range n {
		list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), 32))
	}
	return list
}

// TestFragments: a thousand prefixes go in several LSPs, one more changes one of them, and those
// that are not needed any more are purged.
func TestFragments(t *testing.T) {
	w, r := chain(t, 3, nil, nil)
	e := r[0].on(w.wired(), LAN, func(c *CircuitConfig) { c.Passive = true })
	e.set(func(l *Link) { l.Prefixes = many(1000) })
	w.run(60 * sec)
	sameDatabases(t, "1000", 2, r)
	fragments := 0
	for _, x := range r[2].levels[2].nodeEntries(systemOf(1).Node(0)) {
		fragments++
		if len(x.raw) > 1492 {
			t.Errorf("fragment %d has %d bytes", x.id.Fragment(), len(x.raw))
		}
	}
	if n := len(r[2].Routes()); fragments < 6 || fragments > 9 || n < 1000 {
		t.Errorf("%d fragments, %d routes", fragments, n)
	}
	written := r[0].Counts().Generated
	e.set(func(l *Link) { l.Prefixes = append(many(1000), netip.MustParsePrefix("192.0.2.0/24")) })
	w.run(20 * sec)
	if n := r[0].Counts().Generated - written; n != 1 {
		t.Errorf("one prefix more is %d LSPs", n)
	}
	if _, ok := r[2].route("192.0.2.0/24"); !ok {
		t.Error("no route to it")
	}
	e.set(func(l *Link) { l.Prefixes = many(10) })
	w.run(20 * sec)
	live := 0
	for _, x := range r[2].levels[2].nodeEntries(systemOf(1).Node(0)) {
		if !x.purged {
			live++
		}
	}
	if n := len(r[2].Routes()); live > 2 || n > 20 {
		t.Errorf("10 are left: %d fragments, %d routes", live, n)
	}
	sameDatabases(t, "10", 2, r)
}

// TestNoFirstFragment: what a router says in other fragments counts for nothing without the first.
func TestNoFirstFragment(t *testing.T) {
	p := upPair(t, "p2p", nil, nil)
	p.n.send(p.lsp(1))
	c := pdu.Content{Level: 2, ID: p.n.system.Node(0).LSP(1), Sequence: 1, Lifetime: 1200, Flags: 3}
	c.Items = []pdu.Item{pdu.Prefix{Prefix: netip.MustParsePrefix("203.0.113.0/24")}.Item()}
	p.n.send(c)
	p.run(10 * sec)
	if _, ok := p.r.route("203.0.113.0/24"); !ok {
		t.Error("no route to what the second fragment says")
	}
	purge := pdu.AppendPurge(nil, 2, p.n.system.Node(0).LSP(0), 1, p.n.system, "", nil)
	p.carry(p.n.e, purge)
	p.run(10 * sec)
	if n := len(p.r.Routes()); n > 0 {
		t.Errorf("%d routes without the first", n)
	}
}

// TestLongerThanTheLink: an LSP that a link cannot carry is counted, and others pass.
func TestLongerThanTheLink(t *testing.T) {
	w, r := chain(t, 2, nil, func(c *CircuitConfig) { c.NoPadding = true })
	for _, e := range []*end{r[0].ends[0], r[1].ends[0]} {
		e.set(func(l *Link) { l.MTU = 1300 })
	}
	e := r[0].on(w.wired(), LAN, func(c *CircuitConfig) { c.Passive = true })
	e.set(func(l *Link) { l.Prefixes = many(200) })
	w.run(60 * sec)
	if r[0].circuits[0].tooLong == 0 || r[1].entry(1, 1) == nil || r[1].entry(1, 0) != nil && len(r[1].entry(1, 0).raw) > 1297 {
		t.Errorf("%d are too long", r[0].circuits[0].tooLong)
	}
}

// TestHostname: a router is known by the name that it gives itself, as long as it does.
func TestHostname(t *testing.T) {
	w, r := chain(t, 3, nil, nil)
	w.run(30 * sec)
	if name := r[0].levels[2].names[systemOf(3)]; name != "r3" {
		t.Errorf("it is known as %q", name)
	}
	purge := pdu.AppendPurge(nil, 2, systemOf(9).Node(0).LSP(0), 5, systemOf(9), "", nil)
	c := stranger(9, 5)
	x := r[0].ends[0].wire.ends[1]
	w.carry(x, c.Append(nil, nil))
	w.run(sec)
	name := r[0].levels[2].names[systemOf(9)]
	w.carry(x, purge)
	w.run(sec)
	if again := r[0].levels[2].names[systemOf(9)]; name != "s9" || again != "" {
		t.Errorf("it is known as %q, and when purged as %q", name, again)
	}
}

// TestDISListsForNewNeighbours: a neighbour that comes up on a LAN need not wait for the next list.
func TestDISListsForNewNeighbours(t *testing.T) {
	p := upPair(t, "LAN", nil, nil)
	for range 10 {
		p.n.follow, p.n.hello.SNPAs = false, nil
		p.run(1500 * ms)
		if p.e.state() != Init {
			t.Fatalf("%v", p.e.state())
		}
		p.n.snps, p.n.follow = nil, true
		p.n.hello.SNPAs = []pdu.SNPA{p.e.snpa}
		p.n.say()
		p.run(ms + csnpSoon + ms)
		if p.e.state() != Up || len(p.n.snps) == 0 {
			t.Errorf("%v, %d lists", p.e.state(), len(p.n.snps))
		}
	}
}

// TestGhosts: a neighbour that lists LSPs which nobody has is still acknowledged and asked for what
// there is, and what it lists no more is waited for no more.
func TestGhosts(t *testing.T) {
	p := upPair(t, "p2p", func(c *Config) { c.MaxLSPs = 50 }, nil)
	list := func(from, n int) {
		s := &pdu.SNP{Type: pdu.CSNPL2, Source: p.n.system.Node(0), Last: pdu.LastLSPID}
		s.Entries = []pdu.Header{p.r.entry(1, 0).header(p.now)}
		for k := range n {
			s.Entries = append(s.Entries, pdu.Header{ID: systemOf(from + k).Node(0).LSP(0), Sequence: 1, Lifetime: 1000, Checksum: 1})
		}
		p.carry(p.n.e, s.Append(nil, nil))
	}
	told := func(id pdu.LSPID) (h pdu.Header, ok bool) {
		for _, s := range p.n.snps {
			for _, h := range s.Entries {
				if s.Type == pdu.PSNPL2 && h.ID == id {
					return h, true
				}
			}
		}
		return h, false
	}
	list(1000, 90)
	p.run(3 * sec)
	p.n.snps = nil
	c := stranger(10, 5)
	p.n.send(c)
	list(20, 1)
	p.run(3 * sec)
	if h, ok := told(c.ID); !ok || h.Sequence != 5 {
		t.Errorf("an LSP is acknowledged: %v, %+v", ok, h)
	}
	if h, ok := told(systemOf(20).Node(0).LSP(0)); !ok || h.Sequence != 0 {
		t.Errorf("an LSP that there is now is asked for: %v, %+v", ok, h)
	}
	list(20, 1)
	p.run(ms)
	if f := p.r.circuits[0].floods[2]; len(f.asked) != 1 {
		t.Errorf("%d are waited for, want the one that is still listed", len(f.asked))
	}
}

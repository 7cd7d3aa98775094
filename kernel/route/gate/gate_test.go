package gate

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

const sec = time.Second

// good is all there is to want, and full what a gate is open for then.
var (
	good = Facts{Peer: [2]bool{true, true}, Lists: [2]bool{true, true}, Common: [2]bool{true, true}}
	full = Open{true, true}
)

// with changes the good facts.
func with(change func(*Facts)) Facts {
	f := good
	change(&f)
	return f
}

var (
	no4     = with(func(f *Facts) { f.Local[V4] = NoIPv4 })
	no6     = with(func(f *Facts) { f.Local[V6] = DADTentative })
	noPeer6 = with(func(f *Facts) { f.Peer[V6] = false })
	single  = with(func(f *Facts) { f.Peer[V6], f.Lists[V6] = false, false })
)

// step is what happens to a gate at a time, and what must be true then.
type step struct {
	at    time.Duration
	facts Facts
	open  Open
	why   Reason
}

func play(t *testing.T, name string, c Config, steps ...step) *Gate {
	t.Helper()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	g := New(c)
	for i, s := range steps {
		// What the gate does by itself meanwhile.
		for {
			at, ok := g.Next()
			if !ok || at >= s.at {
				break
			}
			g.Look(at)
		}
		open, _ := g.Update(s.at, s.facts, true)
		if why, _ := g.Why(); open != s.open || why != s.why {
			t.Errorf("%s, step %d at %v: %v %v, want %v %v", name, i, s.at, open, why, s.open, s.why)
		}
	}
	return g
}

func TestGate(t *testing.T) {
	strict, trust := Config{Strict: true}, Config{Strict: true, TrustHello: true}
	hold1 := Config{Strict: true, Hold: sec}
	none := with(func(f *Facts) { f.Peer = [2]bool{} })
	for _, tt := range []struct {
		name  string
		c     Config
		steps []step
	}{
		{"off: one family is enough", Config{}, []step{{0, no6, Open{true, false}, OK}, {1, no4, Open{false, true}, OK}, {2, none, Open{}, PeerIPv4}}},
		{"off: what is missing here is said first", Config{}, []step{{0, Facts{Local: [2]Reason{NoCarrier, NoCarrier}}, Open{}, NoCarrier}}},
		{"strict: 15 s", strict, []step{{5 * sec, good, Open{}, Hold}, {20*sec - 1, good, Open{}, Hold}, {20 * sec, good, full, OK}}},
		{"strict: a fall begins anew", strict, []step{{0, good, Open{}, Hold}, {14 * sec, no6, Open{}, DADTentative}, {15 * sec, good, Open{}, Hold},
			{30*sec - 1, good, Open{}, Hold}, {30 * sec, good, full, OK}, {40 * sec, noPeer6, Open{}, PeerIPv6}, {41 * sec, good, Open{}, Hold}, {56 * sec, good, full, OK}}},
		{"trusted: at once", trust, []step{{0, no6, Open{}, DADTentative}, {1, good, full, OK}, {2, noPeer6, Open{}, PeerIPv6}, {3, good, full, OK}}},
		{"trusted, with a hold", Config{Strict: true, TrustHello: true, Hold: 2 * sec}, []step{{0, good, Open{}, Hold}, {2 * sec, good, full, OK}}},
		{"single-stack peer", hold1, []step{{0, single, Open{}, SingleStackPeer}, {100 * sec, single, Open{}, SingleStackPeer}, {101 * sec, good, Open{}, Hold}}},
		{"relaxed: what the peer has", Config{Strict: true, Relaxed: true, Hold: sec}, []step{{0, single, Open{}, Hold}, {sec, single, Open{true, false}, OK},
			{2 * sec, good, Open{}, Hold}, {3 * sec, good, full, OK}, {4 * sec, single, Open{true, false}, OK}}},
		{"relaxed: not what it says to have", Config{Strict: true, Relaxed: true, Hold: sec}, []step{{0, noPeer6, Open{}, PeerIPv6}, {9 * sec, noPeer6, Open{}, PeerIPv6}}},
		{"timed: IPv6 is not looked at", Config{Strict: true, Timed: true}, []step{{5 * sec, noPeer6, Open{}, Hold}, {20*sec - 1, no6, Open{}, Hold},
			{20 * sec, no6, Open{true, false}, OK}, {21 * sec, good, full, OK}}},
		{"timed: IPv4 is", Config{Strict: true, Timed: true}, []step{{0, no4, Open{}, NoIPv4}, {16 * sec, good, full, OK}, {17 * sec, no4, Open{}, NoIPv4},
			{18 * sec, good, Open{}, Hold}, {33 * sec, good, full, OK}}},
		{"max-wait: as if not strict", Config{Strict: true, MaxWait: 60 * sec}, []step{{0, noPeer6, Open{}, PeerIPv6}, {60*sec - 1, noPeer6, Open{}, PeerIPv6},
			{60 * sec, noPeer6, Open{true, false}, OK}, {70 * sec, good, full, OK}, {90 * sec, good, full, OK},
			// It was open by itself since 85 s: the wait is a new one.
			{100 * sec, noPeer6, Open{}, PeerIPv6}, {160*sec - 1, noPeer6, Open{}, PeerIPv6}, {160 * sec, noPeer6, Open{true, false}, OK}}},
		{"max-wait: nothing works", Config{Strict: true, MaxWait: 60 * sec}, []step{{0, none, Open{}, PeerIPv4}, {61 * sec, none, Open{}, PeerIPv4}, {62 * sec, no6, Open{true, false}, OK}}},
		{"max-wait before hold", Config{Strict: true, MaxWait: 5 * sec}, []step{{0, good, Open{}, Hold}, {5 * sec, good, full, OK}}},
		{"topologies: one is enough, the other joins", Config{Strict: true, Hold: sec, Topologies: true}, []step{{0, no6, Open{}, Hold}, {sec, no6, Open{true, false}, OK},
			{5 * sec, good, Open{true, false}, OK}, {6 * sec, good, full, OK}, {7 * sec, no4, Open{false, true}, OK}, {8 * sec, good, Open{false, true}, OK}, {9 * sec, good, full, OK}}},
		{"topologies, not strict", Config{Topologies: true}, []step{{0, no6, Open{true, false}, OK}, {1, good, full, OK}}},
		{"topologies: none in common", Config{Topologies: true}, []step{{0, with(func(f *Facts) { f.Common = [2]bool{} }), Open{}, NoTopology},
			{1, with(func(f *Facts) { f.Common, f.Peer = [2]bool{false, true}, [2]bool{} }), Open{}, PeerIPv6}}},
	} {
		play(t, tt.name, tt.c, tt.steps...)
	}
}

// TestNotHeard: facts alone open nothing.
func TestNotHeard(t *testing.T) {
	for _, c := range []Config{{}, {Strict: true, TrustHello: true}, {Strict: true, Timed: true}, {Strict: true, MaxWait: 1}, {Topologies: true}} {
		g := New(c)
		if open, forced := g.Update(time.Hour, good, false); open.Any() || forced {
			t.Errorf("%+v: open", c)
		}
		if why, _ := g.Why(); why != NotHeard {
			t.Errorf("%+v: %v", c, why)
		}
	}
}

// TestForcedIsSaidOnce, and until when a hold is.
func TestForcedIsSaidOnce(t *testing.T) {
	g := New(Config{Strict: true, MaxWait: 20 * sec})
	g.Update(0, noPeer6, true)
	at, ok := g.Next()
	if !ok || at != 20*sec {
		t.Fatalf("next at %v, %v", at, ok)
	}
	if _, forced := g.Look(at); !forced || !g.Forced() {
		t.Error("not forced")
	}
	if _, forced := g.Look(at + 1); forced {
		t.Error("forced twice")
	}
	g.Update(30*sec, good, true)
	if at, ok := g.Next(); !ok || at != 45*sec || !g.Forced() {
		t.Errorf("next at %v, %v", at, ok)
	}
	if open, _ := g.Look(45 * sec); open != full || g.Forced() {
		t.Error("still forced")
	}
	h := New(Config{Strict: true})
	h.Update(sec, good, true)
	if why, until := h.Why(); why != Hold || until != 16*sec {
		t.Errorf("%v until %v", why, until)
	}
}

// TestRandomFacts: whatever happens, a strict gate that is not forced is open exactly when all
// four facts have been there for as long as it wants, and Next names each moment at which it
// opens by itself.
func TestRandomFacts(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		hold := time.Duration(1+r.IntN(20)) * sec
		g := New(Config{Strict: true, Hold: hold})
		f := Facts{Local: [2]Reason{NoIPv4, NoIPv6}, Lists: [2]bool{true, true}}
		now, since, all := time.Duration(0), time.Duration(0), false
		g.Update(0, f, true)
		for range 300 {
			next := now + time.Duration(r.Int64N(int64(8*sec)))
			if at, ok := g.Next(); ok && at <= next {
				if at <= now || all && at != since+hold {
					t.Fatalf("seed %d: next is at %v, after %v", seed, at, now)
				}
				if open, _ := g.Look(at - 1); open.Any() {
					t.Fatalf("seed %d: open before %v", seed, at)
				}
				if open, _ := g.Look(at); open != full {
					t.Fatalf("seed %d: not open at %v", seed, at)
				}
			}
			now = next
			switch r.IntN(6) {
			case 0:
				f.Local[V4] = []Reason{OK, NoIPv4}[r.IntN(2)]
			case 1:
				f.Local[V6] = []Reason{OK, DADTentative, DADFailed}[r.IntN(3)]
			case 2:
				f.Peer[V4] = r.IntN(3) > 0
			case 3:
				f.Peer[V6] = r.IntN(3) > 0
			default:
				f.Local, f.Peer = [2]Reason{}, [2]bool{true, true}
			}
			was := all
			all = f.Local == [2]Reason{} && f.Peer == [2]bool{true, true}
			if all && !was {
				since = now
			}
			open, _ := g.Update(now, f, r.IntN(2) == 0)
			if want := all && now >= since+hold; open.Any() != want || open.Any() && open != full {
				t.Fatalf("seed %d at %v: open %v, want %v", seed, now, open, want)
			}
		}
	}
}

func TestConfigRefused(t *testing.T) {
	for _, c := range []Config{{Relaxed: true}, {Hold: sec}, {Timed: true}, {TrustHello: true}, {MaxWait: 1}, {Strict: true, Hold: sec - 1},
		{Strict: true, Hold: HoldMax + 1}, {Strict: true, MaxWait: -1}, {Strict: true, Timed: true, Topologies: true}, {Strict: true, Timed: true, TrustHello: true}} {
		if err := c.Check(); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []Config{{}, {Strict: true}, {Topologies: true}, {Strict: true, Hold: HoldMax, Relaxed: true, TrustHello: true, MaxWait: 1}} {
		if err := c.Check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestLink(t *testing.T) {
	ll := netip.MustParseAddr("fe80::1")
	at := func(d DAD) LinkLocal { return LinkLocal{ll, d} }
	base := Link{Carrier: true, MTU: 1500, IPv4: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, LinkLocals: []LinkLocal{at(Done)}}
	link := func(change func(*Link)) Link {
		l := base
		change(&l)
		return l
	}
	for _, tt := range []struct {
		name   string
		l      Link
		v4, v6 Reason
	}{
		{"good", base, OK, OK},
		{"no carrier", link(func(l *Link) { l.Carrier = false }), NoCarrier, NoCarrier},
		{"no addresses", link(func(l *Link) { l.IPv4, l.LinkLocals = nil, nil }), NoIPv4, NoIPv6},
		{"conflict", link(func(l *Link) { l.IPv4Conflict = true }), IPv4Conflict, OK},
		{"MTU 1279", link(func(l *Link) { l.MTU = 1279 }), OK, MTUBelow1280},
		{"MTU 1280", link(func(l *Link) { l.MTU = 1280 }), OK, OK},
		{"tentative", link(func(l *Link) { l.LinkLocals = []LinkLocal{at(Tentative)} }), OK, DADTentative},
		{"duplicate", link(func(l *Link) { l.LinkLocals = []LinkLocal{at(Duplicate)} }), OK, DADFailed},
		{"duplicate, another tentative", link(func(l *Link) { l.LinkLocals = []LinkLocal{at(Tentative), at(Duplicate)} }), OK, DADTentative},
		{"duplicate, another done", link(func(l *Link) { l.LinkLocals = []LinkLocal{at(Duplicate), at(Done)} }), OK, OK},
		{"global alone", link(func(l *Link) { l.LinkLocals = []LinkLocal{{netip.MustParseAddr("2001:db8::1"), Done}} }), OK, NoIPv6},
		{"IPCP", link(func(l *Link) { l.PPP = &PPP{IPCP: true} }), OK, IPv6CP},
		{"IPV6CP", link(func(l *Link) { l.PPP = &PPP{IPv6CP: true} }), IPCP, OK},
	} {
		if v4, v6 := tt.l.V4(), tt.l.V6(); v4 != tt.v4 || v6 != tt.v6 {
			t.Errorf("%s: %v %v, want %v %v", tt.name, v4, v6, tt.v4, tt.v6)
		}
		if n4, n6 := len(tt.l.Usable4()), len(tt.l.Usable6()); (n4 > 0) != (tt.v4 == OK) || (n6 > 0) != (tt.v6 == OK) {
			t.Errorf("%s: %d and %d addresses are usable", tt.name, n4, n6)
		}
	}
	for r := range ReasonCount {
		if r.String() == "" || r.Text() == "" {
			t.Errorf("reason %d has no name", r)
		}
	}
}

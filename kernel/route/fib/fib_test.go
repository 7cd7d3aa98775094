package fib

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// model finds the longest prefix by trying all lengths.
type model map[netip.Prefix]uint32

func (m model) lookup(a netip.Addr) (uint32, bool) {
	for n := a.BitLen(); n >= 0; n-- {
		p, _ := a.Prefix(n)
		if v, ok := m[p]; ok {
			return v, true
		}
	}
	return 0, false
}

// some is a prefix in a small part of the addresses, so that many lie in each other.
func some(r *rand.Rand, six bool) netip.Prefix {
	a := near(r, six)
	p, _ := a.Prefix(r.IntN(a.BitLen() + 1))
	return p
}

// near is an address with few bits that are not those of a base.
func near(r *rand.Rand, six bool) netip.Addr {
	if !six {
		x := uint32(0xc0000200)
		for range r.IntN(6) {
			x ^= 1 << r.IntN(32)
		}
		return netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)})
	}
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	for range r.IntN(6) {
		n := r.IntN(128)
		a[n/8] ^= 1 << (n % 8)
	}
	return netip.AddrFrom16(a)
}

// sound checks that each node and value belongs to one place, and counts them.
func sound(t testing.TB, tab *Table, tr *tree) {
	t.Helper()
	nodes, values, routes := 1, 0, len(tr.brief) // values in blocks
	var walk func(n uint32)
	walk = func(n uint32) {
		d := &tr.nodes.all[n]
		if d.count() == 0 && d.children == 0 {
			t.Fatalf("node %d leads to nothing", n)
		}
		nodes++
		routes += d.count()
		if d.count() > 1 {
			values += d.count()
		}
		for i := range bits.OnesCount64(d.children) {
			walk(d.nodes + uint32(i))
		}
	}
	for i := range tr.root {
		if c := tr.root[i].child; c != 0 {
			walk(c)
		}
	}
	if tr == &tab.six {
		routes += soundLines(t, &tab.mid, walk) + soundLines(t, &tab.long, walk)
	}
	if routes != tr.count {
		t.Fatalf("%d routes, counted %d", routes, tr.count)
	}
	if nodes+tr.nodes.idle != len(tr.nodes.all) || values+tr.vals.idle != len(tr.vals.all) {
		t.Fatalf("%d nodes and %d free of %d, %d values and %d free of %d", nodes, tr.nodes.idle, len(tr.nodes.all), values, tr.vals.idle, len(tr.vals.all))
	}
}

// TestAgainstModel inserts, replaces, deletes and looks up, beside the model.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(24) {
		six := seed%2 == 1
		r := rand.New(rand.NewPCG(seed, 1))
		tab, m := New(), model{}
		tr := &tab.four
		if six {
			tr = &tab.six
		}
		var prefixes []netip.Prefix // what the model has, and has had
		most := []int{10, 100, 3000}[seed%3]
		for step := range 8000 {
			p := some(r, six)
			if v, had := m[p]; r.IntN(most) < len(m)/2 {
				if len(m) > 0 && !had && r.IntN(2) == 0 {
					for !had {
						i := r.IntN(len(prefixes))
						p = prefixes[i]
						if v, had = m[p]; !had {
							prefixes = slices.Delete(prefixes, i, i+1)
						}
					}
				}
				if got, ok := tab.Get(p); ok != had || got != v {
					t.Fatalf("seed %d: get %v: %d %v, want %d %v", seed, p, got, ok, v, had)
				}
				if got := tab.Delete(p); got != had {
					t.Fatalf("seed %d: delete %v: %v", seed, p, got)
				}
				delete(m, p)
			} else {
				v := r.Uint32()
				if got, err := tab.Insert(p, v); err != nil || got != had {
					t.Fatalf("seed %d: insert %v: %v %v", seed, p, got, err)
				}
				m[p] = v
				if !had {
					prefixes = append(prefixes, p)
				}
			}
			for range 3 {
				a := near(r, six)
				want, wantOK := m.lookup(a)
				if got, ok := tab.Lookup(a); got != want || ok != wantOK {
					t.Fatalf("seed %d, step %d: %v: %d %v, want %d %v", seed, step, a, got, ok, want, wantOK)
				}
			}
			if step%1000 == 0 {
				sound(t, tab, tr)
			}
		}
		if n := tab.Len4() + tab.Len6(); n != len(m) {
			t.Errorf("seed %d: %d routes, want %d", seed, n, len(m))
		}
		for p, v := range m {
			if got, ok := tab.Get(p); !ok || got != v {
				t.Errorf("seed %d: %v: %d %v, want %d", seed, p, got, ok, v)
			}
		}
		for p := range m {
			tab.Delete(p)
		}
		sound(t, tab, tr)
		if tr.nodes.idle != len(tr.nodes.all)-1 || tr.vals.idle != len(tr.vals.all) {
			t.Errorf("seed %d: something is left: %d of %d nodes are free", seed, tr.nodes.idle, len(tr.nodes.all))
		}
		for _, x := range []*lines{&tab.mid, &tab.long} {
			if x.count != 0 || len(x.all) != 1<<lineMin || x.more.idle != len(x.more.all)-1 {
				t.Errorf("seed %d: %d entries are left in %d lines", seed, x.count, len(x.all))
			}
		}
		for i := range tr.root {
			if tr.root[i].bits != none || tr.root[i].child != 0 {
				t.Fatalf("seed %d: slot %d is %+v", seed, i, tr.root[i])
			}
		}
	}
}

// TestEveryLength: one prefix of each length, each in the one before.
func TestEveryLength(t *testing.T) {
	for _, a := range []netip.Addr{netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("170.85.170.85"),
		netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), netip.MustParseAddr("::"), netip.MustParseAddr("aaaa:5555:aaaa:5555:aaaa:5555:aaaa:5555")} {
		tab, m := New(), model{}
		n := a.BitLen()
		for _, l := range rand.New(rand.NewPCG(1, 1)).Perm(n + 1) {
			p, _ := a.Prefix(l)
			tab.Insert(p, uint32(1000+l))
			m[p] = uint32(1000 + l)
		}
		for l := range n {
			// An address that leaves the prefixes after l bits.
			b := a.AsSlice()
			b[l/8] ^= 0x80 >> (l % 8)
			x, _ := netip.AddrFromSlice(b)
			if got, ok := tab.Lookup(x); !ok || got != uint32(1000+l) {
				t.Errorf("%v: %d, want %d", x, got, 1000+l)
			}
		}
		if got, _ := tab.Lookup(a); got != uint32(1000+n) {
			t.Errorf("%v: %d", a, got)
		}
		for l := n; l >= 0; l-- {
			p, _ := a.Prefix(l)
			tab.Delete(p)
			if got, ok := tab.Lookup(a); ok != (l > 0) || ok && got != uint32(1000+l-1) {
				t.Errorf("%v without %d: %d %v", a, l, got, ok)
			}
		}
	}
}

func TestFamiliesApart(t *testing.T) {
	tab := New()
	tab.Insert(netip.MustParsePrefix("0.0.0.0/0"), 4)
	if _, ok := tab.Lookup(netip.MustParseAddr("::1")); ok {
		t.Error("IPv6 is sent by IPv4's default")
	}
	tab.Insert(netip.MustParsePrefix("::/0"), 6)
	for text, want := range map[string]uint32{"192.0.2.1": 4, "::ffff:192.0.2.1": 4, "2001:db8::1": 6} {
		if got, ok := tab.Lookup(netip.MustParseAddr(text)); !ok || got != want {
			t.Errorf("%s: %d", text, got)
		}
	}
	if _, ok := tab.Lookup(netip.Addr{}); ok {
		t.Error("no address has a route")
	}
	for _, p := range []netip.Prefix{{}, netip.PrefixFrom(netip.MustParseAddr("::ffff:192.0.2.1"), 120), netip.PrefixFrom(netip.MustParseAddr("192.0.2.1"), 33)} {
		if _, err := tab.Insert(p, 1); !errors.Is(err, ErrPrefix) || tab.Delete(p) {
			t.Errorf("%v: %v", p, err)
		}
		if _, ok := tab.Get(p); ok {
			t.Errorf("%v is there", p)
		}
	}
	// Bits behind the prefix count for nothing.
	tab.Insert(netip.MustParsePrefix("192.0.2.77/24"), 5)
	if got, ok := tab.Get(netip.MustParsePrefix("192.0.2.0/24")); !ok || got != 5 {
		t.Errorf("%d %v", got, ok)
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	tab := New()
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		tab.Insert(some(r, false), 1)
		tab.Insert(some(r, true), 1)
	}
	a, b := near(r, false), near(r, true)
	if n := testing.AllocsPerRun(1000, func() { tab.Lookup(a); tab.Lookup(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzTable plays what bytes say beside the model.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 24, 192, 0, 2, 0, 1, 24, 192, 0, 2, 0, 2, 32, 192, 0, 2, 1})
	f.Add([]byte{4, 48, 32, 1, 13, 184, 0, 1, 6, 128, 32, 1, 13, 184, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	many := []byte{}
	for i := range byte(2*inline + 2) { // pushed behind a node, and taken out again
		many = append(many, 4|i/(inline+1)*2, 48, 32, 1, 13, 184, 0, i%(inline+1), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	f.Add(many)
	f.Fuzz(func(t *testing.T, b []byte) {
		tab, m := New(), model{}
		for n := uint32(0); len(b) > 2; n++ {
			op, length := b[0], int(b[1])
			b = b[2:]
			var a netip.Addr
			if op&4 == 0 {
				var x [4]byte
				b = b[copy(x[:], b):]
				a = netip.AddrFrom4(x)
			} else {
				var x [16]byte
				b = b[copy(x[:], b):]
				a = netip.AddrFrom16(x)
			}
			if a.Is4In6() {
				continue
			}
			p, _ := a.Prefix(length % (a.BitLen() + 1))
			switch op & 3 {
			case 0, 1:
				_, had := m[p]
				if got, err := tab.Insert(p, n); err != nil || got != had {
					t.Fatal(got, err)
				}
				m[p] = n
			case 2:
				_, had := m[p]
				if tab.Delete(p) != had {
					t.Fatal(p)
				}
				delete(m, p)
			}
			want, wantOK := m.lookup(a)
			if got, ok := tab.Lookup(a); got != want || ok != wantOK {
				t.Fatalf("%v: %d %v, want %d %v", a, got, ok, want, wantOK)
			}
		}
		sound(t, tab, &tab.four)
		sound(t, tab, &tab.six)
	})
}

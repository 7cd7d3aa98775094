package fib

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// soundLines checks that each entry is in its place, and counts those that are prefixes.
func soundLines(t testing.TB, x *lines, walk func(uint32)) (routes int) {
	t.Helper()
	entries, more := 0, 1
	for i := range x.all {
		var c []entry
		keys := map[uint64]int{}
		parts := uint16(0)
		for l := &x.all[i]; ; l = &x.more.all[l.next] {
			for j, what := range l.entries {
				if what == 0 {
					if l.values[j] != 0 || l.next != 0 || j > 0 && l.entries[j-1] != 0 {
						t.Fatalf("line %d is not full", i)
					}
					continue
				}
				if n := len(c); n > 0 && c[n-1].what >= what {
					t.Fatalf("line %d is not in order", i)
				}
				c = append(c, entry{what, l.values[j]})
				keys[x.hash(what)]++
				parts |= 1 << (x.hash(what) << (64 - lineMin - x.shift) >> (64 - partBits))
			}
			if l.next == 0 {
				break
			}
			more++
		}
		for _, e := range c {
			if x.isNode(e.what) {
				if keys[x.hash(e.what)] != 1 {
					t.Fatalf("line %d has a node and prefixes beside it", i)
				}
				walk(e.value)
			} else {
				routes++
			}
		}
		for _, n := range keys {
			if n > inline {
				t.Fatalf("line %d has %d prefixes of a key", i, n)
			}
		}
		if parts != x.parts[i] {
			t.Fatalf("line %d has parts %b, not %b", i, parts, x.parts[i])
		}
		entries += len(c)
	}
	if entries != x.count || entries > fill*len(x.all) || more+x.more.idle != len(x.more.all) {
		t.Fatalf("%d entries, counted %d, in %d lines; %d more and %d free of %d", entries, x.count, len(x.all), more, x.more.idle, len(x.more.all))
	}
	return routes
}

// TestSameKey: so many prefixes with the same key that they are pushed behind a node, in all orders, beside some of
// other keys in the same lines; and one that is too long for an entry.
func TestSameKey(t *testing.T) {
	for _, c := range []struct {
		longest int // prefixes are in 2001:db8::/32
		long    string
		table   func(*Table) *lines
	}{
		{36, "", func(tab *Table) *lines { return &tab.mid }},
		{48, "", func(tab *Table) *lines { return &tab.long }},
		{48, "2001:db8:0:1::/65", func(tab *Table) *lines { return &tab.long }},
		{64, "2001:db8::1/128", func(tab *Table) *lines { return &tab.long }},
	} {
		r := rand.New(rand.NewPCG(uint64(c.longest), 1))
		tab, m := New(), model{}
		x := c.table(tab)
		pushed := func() uint32 { return x.node(0x20010db8_00000000) }
		check := func() {
			t.Helper()
			sound(t, tab, &tab.six)
			for range 20 {
				a := near(r, true)
				b := a.As16()
				b[4], b[5], b[6], b[7] = byte(r.IntN(2)*r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(2)*r.IntN(256)), byte(r.IntN(256))
				a = netip.AddrFrom16(b)
				want, wantOK := m.lookup(a)
				if got, ok := tab.Lookup(a); got != want || ok != wantOK {
					t.Fatalf("/%d: %v: %d %v, want %d %v", c.longest, a, got, ok, want, wantOK)
				}
			}
		}
		var same []netip.Prefix // of the first key
		for bits := x.keyBits + 1; bits <= c.longest; bits++ {
			for i := range min(6, 1<<(bits-x.keyBits)) {
				b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
				hi := binary.BigEndian.Uint64(b[:])&x.mask | uint64(i)<<(64-bits)
				binary.BigEndian.PutUint64(b[:], hi)
				same = append(same, netip.PrefixFrom(netip.AddrFrom16(b), bits))
			}
		}
		if c.long != "" {
			same = same[:inline/2]
		}
		for i := range 400 { // others, in few lines
			b := [16]byte{0x20, 0x01, 0x0d, byte(i), byte(i), byte(r.IntN(256))}
			if p, _ := netip.AddrFrom16(b).Prefix(x.keyBits + 1 + r.IntN(c.longest-x.keyBits)); b[3]>>4 != 0xb {
				tab.Insert(p, uint32(i))
				m[p] = uint32(i)
			}
		}
		check()
		r.Shuffle(len(same), func(i, j int) { same[i], same[j] = same[j], same[i] })
		for i, p := range same {
			if had, err := tab.Insert(p, uint32(1000+i)); had || err != nil {
				t.Fatalf("%v: %v %v", p, had, err)
			}
			m[p] = uint32(1000 + i)
			check()
			if (pushed() != 0) != (i >= inline) {
				t.Fatalf("/%d: %d prefixes, node %d", c.longest, i+1, pushed())
			}
		}
		if c.long != "" {
			p := netip.MustParsePrefix(c.long)
			same = append(same, p)
			tab.Insert(p, 1)
			m[p] = 1
			if pushed() == 0 {
				t.Fatalf("%v has an entry", p)
			}
		}
		check()
		for i, p := range same {
			if got, ok := tab.Get(p); !ok || got != m[p] {
				t.Fatalf("%v: %d %v", p, got, ok)
			}
			if tab.Delete(p) != true || tab.Delete(p) {
				t.Fatalf("%v is deleted twice, or not", p)
			}
			delete(m, p)
			check()
			if last := i == len(same)-1; (pushed() == 0) != last {
				t.Fatalf("/%d: %d prefixes are left, node %d", c.longest, len(same)-1-i, pushed())
			}
		}
	}
}

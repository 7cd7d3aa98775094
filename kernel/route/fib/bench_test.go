package fib

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// full is a table of n routes of a family, with lengths as they are in the Internet, and addresses
// that are in it.
func full(n int, six bool) (tab *Table, addrs []netip.Addr) {
	r := rand.New(rand.NewPCG(1, 2))
	tab = New()
	// The parts of a thousand of lengths, from the tables of 2024: IPv4's half are /24.
	lengths := map[bool][][2]int{
		false: {{24, 620}, {23, 100}, {22, 115}, {21, 50}, {20, 45}, {19, 25}, {18, 15}, {17, 10}, {16, 15}, {14, 4}, {12, 1}},
		true:  {{48, 460}, {44, 90}, {40, 90}, {36, 40}, {32, 130}, {33, 25}, {29, 35}, {46, 30}, {47, 30}, {45, 20}, {42, 20}, {34, 15}, {28, 5}, {56, 10}},
	}[six]
	length := func() int {
		x := r.IntN(1000)
		for _, l := range lengths {
			if x -= l[1]; x < 0 {
				return l[0]
			}
		}
		return lengths[0][0]
	}
	// Prefixes come in runs beside each other, as they are handed out: most within a /12 of
	// IPv4, or a /32 of IPv6, that has many.
	parts := make([]uint32, map[bool]int{false: 2500, true: 40_000}[six])
	for i := range parts {
		if six {
			parts[i] = []uint32{0x20010000, 0x24000000, 0x26000000, 0x28000000, 0x2a000000, 0x2c000000}[r.IntN(6)]
			parts[i] |= r.Uint32N(1<<20) &^ (parts[i] & 0xffff0)
		} else {
			parts[i] = (1+r.Uint32N(222))<<24 | r.Uint32N(16)<<20
		}
	}
	for tab.Len4()+tab.Len6() < n {
		part := parts[int(float64(len(parts))*r.Float64()*r.Float64())]
		var a netip.Addr
		if six {
			a = netip.AddrFrom16([16]byte{byte(part >> 24), byte(part >> 16), byte(part >> 8), byte(part), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
		} else {
			x := part | r.Uint32N(1<<20)
			a = netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)})
		}
		p, _ := a.Prefix(length())
		tab.Insert(p, uint32(tab.Len4()+tab.Len6())%1000)
		if len(addrs) < 1<<16 || r.IntN(n) < 1<<16 {
			b := p.Addr().AsSlice()
			for i := p.Bits() / 8; i < len(b); i++ {
				if i*8 >= p.Bits() {
					b[i] = byte(r.Uint32())
				}
			}
			x, _ := netip.AddrFromSlice(b)
			addrs = append(addrs, x)
		}
	}
	r.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	return tab, addrs[:1<<16]
}

// BenchmarkLookup looks up addresses of 65,536 of the routes, in random order. B/route is the
// memory of the table.
func BenchmarkLookup(b *testing.B) {
	for _, six := range []bool{false, true} {
		for _, n := range []int{200_000, 1_000_000} {
			b.Run(fmt.Sprintf("IPv%d/%d", map[bool]int{false: 4, true: 6}[six], n), func(b *testing.B) {
				tab, addrs := full(n, six)
				his, los := make([]uint64, len(addrs)), make([]uint64, len(addrs))
				for i, a := range addrs {
					_, his[i], los[i], _ = tab.of(netip.PrefixFrom(a, a.BitLen()))
				}
				b.ReportAllocs()
				missed := 0
				i := 0
				for b.Loop() {
					i = (i + 1) & (1<<16 - 1)
					ok := false
					if six {
						_, ok = tab.Lookup6(his[i], los[i])
					} else {
						_, ok = tab.Lookup4(uint32(his[i] >> 32))
					}
					if !ok {
						missed++
					}
				}
				if missed > 0 {
					b.Errorf("%d addresses have no route", missed)
				}
				b.ReportMetric(float64(tab.Memory())/float64(n), "B/route")
			})
		}
	}
}

// BenchmarkChange takes a route out of a million and puts it in again.
func BenchmarkChange(b *testing.B) {
	for _, six := range []bool{false, true} {
		b.Run(map[bool]string{false: "IPv4", true: "IPv6"}[six], func(b *testing.B) {
			tab, addrs := full(1_000_000, six)
			var list []netip.Prefix
			for _, a := range addrs {
				p, _ := a.Prefix(a.BitLen()*3/4 - 48*map[bool]int{true: 1}[six])
				list = append(list, p)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i = (i + 1) & (1<<16 - 1)
				tab.Delete(list[i])
				tab.Insert(list[i], 1)
			}
		})
	}
}

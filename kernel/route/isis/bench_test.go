package isis

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// BenchmarkSPF is one search of both families, from the database to the changes of routes, in a
// network of so many routers with five links and two prefixes each, of which the one that is asked
// has one neighbour.
func BenchmarkSPF(b *testing.B) {
	for _, n := range []int{200, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l, w := benchNetwork(b, n)
			l.runSPF(w.now)
			if got := len(l.i.Routes()); got < 2*n {
				b.Fatalf("%d routes to %d routers", got, n)
			}
			b.ReportAllocs()
			for b.Loop() {
				l.runSPF(w.now)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "ms/run")
		})
	}
}

// benchNetwork is a router whose neighbour leads to n others.
func benchNetwork(tb testing.TB, n int) (*level, *world) {
	w := newWorld(tb)
	x := w.wired()
	a, b := w.add(1, nil), w.add(2, nil)
	for _, e := range []*end{a.on(x, P2P, nil), b.on(x, P2P, nil)} {
		e.set(nil)
	}
	w.run(30 * sec)
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	links := make([][]pdu.Item, n)
	join := func(i, j int) {
		metric := 1 + rng.Uint32N(100)
		links[i] = append(links[i], pdu.Neighbour{Node: systemOf(10 + j).Node(0), Metric: metric}.Item())
		links[j] = append(links[j], pdu.Neighbour{Node: systemOf(10 + i).Node(0), Metric: metric}.Item())
	}
	for i := 1; i < n; i++ {
		join(i, rng.IntN(i)) // so that all are reached
	}
	for range 3 * n / 2 {
		join(rng.IntN(n), rng.IntN(n))
	}
	links[0] = append(links[0], pdu.Neighbour{Node: b.config.System.Node(0), Metric: 10}.Item())
	l := a.levels[2]
	put := func(id pdu.LSPID, items []pdu.Item) {
		c := pdu.Content{Level: pdu.L2, ID: id, Sequence: 1, Lifetime: 1200, Flags: 3, Items: items}
		v, why := pdu.Check(c.Append(nil, nil))
		if why != pdu.OK {
			tb.Fatal(why)
		}
		l.put(w.now, v, nil)
	}
	for i := range n {
		v4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(i >> 8), byte(i), 0}), 24)
		v6 := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i)}), 48)
		put(systemOf(10+i).Node(0).LSP(0), append(links[i], pdu.Prefix{Prefix: v4}.Item(), pdu.Prefix{Prefix: v6}.Item()))
	}
	put(b.config.System.Node(0).LSP(1), []pdu.Item{pdu.Neighbour{Node: systemOf(10).Node(0), Metric: 10}.Item()})
	return l, w
}

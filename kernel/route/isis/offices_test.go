package isis

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
)

// offices are routers on several LANs each, with some p2p links between them, all with gates.
func offices(tb testing.TB, r *rand.Rand) (w *world, links []*link, ends []*end) {
	w = newWorld(tb)
	routers := 6 + r.IntN(8)
	for n := range routers {
		w.add(n+1, func(c *Config) {
			c.Prefixes = []netip.Prefix{prefix4(n), prefix6(n)}
			c.Seed = r.Uint64()
		})
	}
	wire := func(kind Kind, members []int, metric uint32) {
		x := w.wired()
		var on []*end
		for _, m := range members {
			on = append(on, w.routers[m].on(x, kind, func(c *CircuitConfig) {
				c.Metric = metric
				c.Gate = gate.Config{Strict: true, TrustHello: true}
				c.Priority = 1 + r.IntN(3)
			}))
		}
		for i := range on {
			for j := range i {
				links = append(links, &link{a: members[i], b: members[j], metric: metric, ends: [2]*end{on[i], on[j]}})
			}
		}
		ends = append(ends, on...)
	}
	for range 2 + r.IntN(4) {
		wire(LAN, r.Perm(routers)[:2+r.IntN(5)], 1+r.Uint32N(20))
	}
	for range routers {
		wire(P2P, r.Perm(routers)[:2], 1+r.Uint32N(40))
	}
	return w, links, ends
}

// TestOffices: LANs whose members lose their carrier or their IPv6 and get it back, the DIS among
// them, come to what Dijkstra's algorithm says of those between whom both families work.
func TestOffices(t *testing.T) {
	seeds := 60
	if racing {
		seeds = 15
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(uint64(seed), 9))
		w, links, ends := offices(t, r)
		good := make([]Link, len(ends))
		for i, e := range ends {
			good[i] = e.link
			e.set(nil)
		}
		w.run(60 * sec)
		check := func(when string) {
			converged(t, fmt.Sprint("seed ", seed, ", ", when), w, links)
			if t.Failed() {
				t.FailNow()
			}
		}
		check("begin")
		for round := range 4 {
			for i, e := range ends {
				if r.IntN(4) > 0 {
					continue
				}
				what := r.IntN(4)
				x := &timer{call: func(time.Duration) {
					e.set(func(l *Link) {
						switch what {
						case 0:
							l.Carrier = false
						case 1:
							l.LinkLocals = nil
						default:
							*l = good[i]
						}
					})
				}}
				w.timers.set(x, w.now+time.Duration(r.Int64N(int64(20*sec))))
			}
			w.run(80 * sec)
			check(fmt.Sprint("round ", round))
		}
	}
}

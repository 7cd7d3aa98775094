package isisd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// box is a machine: a router, its routes and its log. Time is that of the bubble.
type box struct {
	*Router
	t      *testing.T
	number int
	mu     sync.Mutex
	routes map[netip.Prefix]rib.Route
	log    lockedBuffer
}

// lockedBuffer is what a log has been told.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newBox(t *testing.T, number int, lines string) *box {
	t.Helper()
	b := &box{t: t, number: number, routes: map[netip.Prefix]rib.Route{}}
	start := time.Now()
	r, err := New(Environment{
		Now: func() time.Duration { return time.Since(start) }, Seed: uint64(number), Log: slog.New(slog.NewTextHandler(&b.log, nil)),
		Install: func(put []rib.Route, gone []netip.Prefix) {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, p := range gone {
				delete(b.routes, p)
			}
			for _, x := range put {
				b.routes[x.Prefix] = x
			}
		},
	}, lines)
	if err != nil {
		t.Fatal(err)
	}
	b.Router = r
	return b
}

// end is a card. It implements Port.
type end struct {
	mac  [6]byte
	link *Link
	far  *end
	cut  bool
	most int // bytes of a PDU that get through; 0: all
}

func (e *end) Address() [6]byte { return e.mac }
func (e *end) Send(_ [6]byte, b []byte) {
	if e.far != nil && !e.cut && (e.most == 0 || len(b) <= e.most) {
		e.far.link.Receive(e.mac, b)
	}
}

// wire joins two boxes by cards of a name in 10.n.0.0/24, which are ready for both families.
func wire(a, b *box, name string, n int) (x, y *end) {
	join := func(o *box) *end {
		e := &end{mac: [6]byte{2, 0, 0, 0, byte(n), byte(o.number)}}
		e.link = o.AddLink(name, rib.Card(len(o.links)), e)
		e.link.Tell(ready(n, o.number))
		return e
	}
	x, y = join(a), join(b)
	x.far, y.far = y, x
	return x, y
}

func ready(n, host int) isis.Link {
	var l isis.Link
	l.Carrier, l.MTU = true, 1500
	l.IPv4 = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n), 0, byte(host)}), 24)}
	l.LinkLocals = []gate.LinkLocal{{Addr: netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: byte(n), 15: byte(host)}), DAD: gate.Done}}
	l.Prefixes = append(l.Prefixes, l.IPv4[0], netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::/64", n)))
	return l
}

// show is a list.
func (b *box) show(words string) string {
	b.t.Helper()
	var w strings.Builder
	if err := b.Show(&w, strings.Fields(words), false); err != nil {
		b.t.Fatalf("show isis %s: %v", words, err)
	}
	return w.String()
}

func (b *box) set(words string) {
	b.t.Helper()
	if err := b.Configure(strings.Fields(words)); err != nil {
		b.t.Fatalf("router isis %s: %v", words, err)
	}
}

func (b *box) route(prefix string) (rib.Route, bool) {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	r, ok := b.routes[netip.MustParsePrefix(prefix)]
	return r, ok
}

func lines(n int, more string) string {
	return fmt.Sprintf("net 49.0001.0000.0000.%04d.00\nhostname r%d\nlevel 2\nstart-overload off\n%s", n, n, more)
}

// TestRouter joins two machines: routes come and go with what is announced, interfaces and the
// whole protocol are configured while it runs, and lists say what there is.
func TestRouter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newBox(t, 1, lines(1, "interface eth0 type p2p gate strict hold 2s"))
		b := newBox(t, 2, lines(2, "interface eth0 type p2p gate strict hold 2s\nannounce 192.0.2.0/24 2001:db8:ff::/48"))
		x, y := wire(a, b, "eth0", 1)
		a.Start()
		b.Start()
		defer a.Stop()
		defer b.Stop()

		time.Sleep(time.Second)
		if text := a.show("neighbor"); !strings.Contains(text, "Wait: both families work, but not for long enough, ") {
			t.Errorf("a neighbour that is held back is shown as\n%s", text)
		}
		time.Sleep(9 * time.Second)
		r, ok := a.route("192.0.2.0/24")
		if !ok || r.Metric != 10 || len(r.Hops) != 1 || r.Hops[0] != (rib.Hop{Via: netip.MustParseAddr("10.1.0.2"), Card: 0}) {
			t.Errorf("%v %+v\n%s", ok, r, a.show("neighbor"))
		}
		if r, ok := a.route("2001:db8:ff::/48"); !ok || r.Hops[0].Via != netip.MustParseAddr("fe80::102") {
			t.Errorf("%v %+v", ok, r)
		}
		for list, want := range map[string][]string{
			"neighbor":                     {"r2         eth0       2  Up", "0200.0000.0102"},
			"interface":                    {"0x1", "p2p", "L2"},
			"database":                     {"r1.00-00             *  ", "r2.00-00                ", "    2 LSPs"},
			"database detail":              {"  Extended IP Reachability: 192.0.2.0/24 (Metric: 0)\n", "  IPv6 Reachability: 2001:db8:ff::/48 (Metric: 0)\n", "  Hostname: r2\n", "  Extended Reachability: 0000.0000.0001.00 (Metric: 10)\n"},
			"database detail r2.00-00":     {"    1 LSPs"},
			"topology":                     {"IS-IS paths to level-2 routers that speak IPv6", "r2            TE-IS            10  r2        eth0       r1"},
			"route":                        {"IS-IS IPv4 routing table:", "192.0.2.0/24"},
			"hostname":                     {"0000.0000.0002  r2"},
			"spf-log":                      {"First trigger LSP"},
			"adjacency-log":                {"adjacency eth0: 0000.0000.0002 Init -> Up"},
			"summary":                      {"Level-2 LSPs", "Up time"},
			"database detail 0000.0.0.-00": {"    0 LSPs"},
		} {
			text := a.show(list)
			for _, w := range want {
				if !strings.Contains(text, w) {
					t.Errorf("show isis %s has no %q:\n%s", list, w, text)
				}
			}
			var js bytes.Buffer
			if err := a.Show(&js, strings.Fields(list), true); err != nil || !json.Valid(js.Bytes()) {
				t.Errorf("show isis %s -j: %v\n%s", list, err, js.String())
			}
		}
		for _, words := range []string{"", "neighbors", "route detail", "database detail x y"} {
			if err := a.Show(&strings.Builder{}, strings.Fields(words), false); err != ErrUsage {
				t.Errorf("show isis %s: %v", words, err)
			}
		}

		var page struct {
			Neighbors []struct {
				SystemID string `json:"system_id"`
				Facts    map[string]any
			}
			Nodes []struct {
				Name   string
				Own    bool
				Metric *int `json:"ipv6_metric"`
			}
			Links []struct {
				From, To string
				IPv4     bool
			}
		}
		if err := json.Unmarshal(a.Page(), &page); err != nil || len(page.Neighbors) != 1 || page.Neighbors[0].SystemID != "r2" ||
			!maps.Equal(page.Neighbors[0].Facts, map[string]any{"our_ipv4": "ok", "our_ipv6": "ok", "peer_ipv4": true, "peer_ipv6": true}) ||
			len(page.Nodes) != 2 || !page.Nodes[0].Own || page.Nodes[1].Metric == nil || *page.Nodes[1].Metric != 10 || len(page.Links) != 2 || !page.Links[0].IPv4 {
			t.Errorf("the page has %v\n%s", err, a.Page())
		}

		// Another metric leaves the neighbour as it is.
		before := strings.Count(a.show("adjacency-log"), "\n")
		a.set("interface eth0 metric 77")
		time.Sleep(6 * time.Second)
		if r, _ := a.route("192.0.2.0/24"); r.Metric != 77 || strings.Count(a.show("adjacency-log"), "\n") != before {
			t.Errorf("metric %d", r.Metric)
		}
		// Overload: nothing leads through, its own is still reached.
		b.set("overload on")
		time.Sleep(6 * time.Second)
		if text := a.show("database"); !strings.Contains(text, "0/0/1") {
			t.Errorf("no overload bit:\n%s", text)
		}
		b.set("overload off")
		// An IPv6 address that is lost takes both families away, and says why.
		lost := ready(1, 1)
		lost.LinkLocals[0].DAD = gate.Tentative
		x.link.Tell(lost)
		time.Sleep(6 * time.Second)
		if _, ok := a.route("192.0.2.0/24"); ok || !strings.Contains(a.show("neighbor"), "Wait: IPv6 address here is tentative, ") {
			t.Errorf("still there:\n%s", a.show("neighbor"))
		}
		// Each of the four facts is that of its family and end.
		for _, f := range []struct {
			lose func(ours, theirs *isis.Link)
			want map[string]any
		}{
			{func(ours, _ *isis.Link) { ours.IPv4 = nil }, map[string]any{"our_ipv4": "no-ipv4-address", "our_ipv6": "ok", "peer_ipv4": true, "peer_ipv6": true}},
			{func(ours, _ *isis.Link) { ours.LinkLocals[0].DAD = gate.Duplicate }, map[string]any{"our_ipv4": "ok", "our_ipv6": "dad-failed", "peer_ipv4": true, "peer_ipv6": true}},
			{func(_, theirs *isis.Link) { theirs.IPv4 = nil }, map[string]any{"our_ipv4": "ok", "our_ipv6": "ok", "peer_ipv4": false, "peer_ipv6": true}},
			{func(_, theirs *isis.Link) { theirs.LinkLocals = nil }, map[string]any{"our_ipv4": "ok", "our_ipv6": "ok", "peer_ipv4": true, "peer_ipv6": false}},
		} {
			ours, theirs := ready(1, 1), ready(1, 2)
			f.lose(&ours, &theirs)
			x.link.Tell(ours)
			y.link.Tell(theirs)
			time.Sleep(4 * time.Second)
			page.Neighbors = nil
			if err := json.Unmarshal(a.Page(), &page); err != nil || len(page.Neighbors) != 1 || !maps.Equal(page.Neighbors[0].Facts, f.want) {
				t.Errorf("%v, the facts are %v, want %v", err, page.Neighbors, f.want)
			}
		}
		y.link.Tell(ready(1, 2))
		x.link.Tell(ready(1, 1))
		time.Sleep(15 * time.Second)
		if _, ok := a.route("192.0.2.0/24"); !ok {
			t.Errorf("not back:\n%s\n%s", a.show("neighbor"), a.show("adjacency-log"))
		}
		// Without the interface there is nothing; with it all comes back.
		a.set("no interface eth0")
		time.Sleep(6 * time.Second)
		if _, ok := a.route("192.0.2.0/24"); ok || strings.Contains(a.show("interface"), "eth0") {
			t.Errorf("the interface is still there:\n%s", a.show("interface"))
		}
		a.set("interface eth0 type p2p gate off")
		time.Sleep(10 * time.Second)
		if _, ok := a.route("192.0.2.0/24"); !ok {
			t.Errorf("not back with a new interface:\n%s", a.show("neighbor"))
		}
		// What concerns all of it begins anew.
		a.set("hostname other")
		if _, ok := a.route("192.0.2.0/24"); ok {
			t.Error("routes of the instance before stay")
		}
		time.Sleep(15 * time.Second)
		if _, ok := a.route("192.0.2.0/24"); !ok || !strings.Contains(b.show("neighbor"), "other") {
			t.Errorf("not back after a new start:\n%s", b.show("neighbor"))
		}
		for _, c := range [][2]string{
			{"interface eth7", "those are eth0"},
			{"interface eth0 metric 0", "want a number"},
			{"interface eth0 level 1", "levels"},
			{"interface eth0 priority 129", "0 to 127"},
			{"nothing", "unknown command"},
			{"interface eth0 ipv6 off", ""},
			{"no net", ""},
		} {
			words, want := c[0], c[1]
			err := a.Configure(strings.Fields(words))
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: %v, want %q", words, err, want)
			}
		}
		if err := a.Show(&strings.Builder{}, []string{"route"}, false); err == nil || !strings.Contains(err.Error(), "router isis net") {
			t.Errorf("without a net: %v", err)
		}
	})
}

// TestForced: a gate that max-wait opens while a family does not work is an alarm in the log, in the
// adjacency log, and counted.
func TestForced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newBox(t, 1, lines(1, "interface eth0 type p2p gate strict hold 2s max-wait 20s"))
		b := newBox(t, 2, lines(2, "interface eth0 type p2p"))
		x, _ := wire(a, b, "eth0", 1)
		half := ready(1, 1)
		half.LinkLocals[0].DAD = gate.Tentative
		x.link.Tell(half)
		a.Start()
		b.Start()
		defer a.Stop()
		defer b.Stop()
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if log := a.log.String(); strings.Contains(log, "level=WARN") {
			t.Errorf("an alarm before the time is over:\n%s", log)
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		const line = `level=WARN msg="isis: gate forced eth0: 0000.0000.0002"`
		if log := a.log.String(); strings.Count(log, "level=WARN") != 1 || strings.Count(log, line) != 1 {
			t.Errorf("the log is\n%s", log)
		}
		if text := a.show("adjacency-log"); strings.Count(text, "gate forced eth0: 0000.0000.0002") != 1 {
			t.Errorf("the adjacency log is\n%s", text)
		}
		if text := a.show("summary"); !strings.Contains(text, "Gates opened by max-wait          1\n") {
			t.Errorf("%s", text)
		}
		if text := a.show("neighbor"); !strings.Contains(text, "  Up: by max-wait") {
			t.Errorf("%s", text)
		}
	})
}

// TestSameSystem: that another router has our system ID shows in the list of interfaces as long as it
// lasts, and in the log once.
func TestSameSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newBox(t, 1, lines(1, "interface eth0 type p2p"))
		b := newBox(t, 2, lines(2, "interface eth0 type p2p\ninterface eth1 type p2p"))
		c := newBox(t, 3, lines(1, "interface eth1 type p2p\nhostname r3"))
		wire(a, b, "eth0", 1)
		wire(b, c, "eth1", 2)
		for _, x := range []*box{a, b, c} {
			x.Start()
			defer x.Stop()
		}
		time.Sleep(10 * time.Minute)
		for _, x := range []*box{a, c} {
			if log := x.log.String(); strings.Count(log, "level=WARN") != 1 || strings.Count(log, "system_id_clash") != 1 {
				t.Errorf("the log of %d is\n%s", x.number, log)
			}
			if text := x.show("interface"); !strings.Contains(text, "system_id_clash=") {
				t.Errorf("%s", text)
			}
		}
	})
}

// TestWrongNeighbours: a neighbour of another area, and one whose MTU is less, are in the list of
// interfaces by reason, and in the log once.
func TestWrongNeighbours(t *testing.T) {
	for name, x := range map[string]struct {
		far        string // of its configuration
		mtu        int    // of its card
		list, text string
	}{
		"area": {"net 49.0002.0000.0000.0002.00\nlevel 1\n", 1500, "area_mismatch=", "area_mismatch"},
		"MTU":  {"net 49.0001.0000.0000.0002.00\nlevel 1\n", 1200, "1 do not hear it: MTU ", "padded_hellos_not_heard"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newBox(t, 1, "net 49.0001.0000.0000.0001.00\nlevel 1\ninterface eth0 type p2p")
				b := newBox(t, 2, x.far+"interface eth0 type p2p")
				near, far := wire(a, b, "eth0", 1)
				far.link.Tell(func() isis.Link { l := ready(1, 2); l.MTU = x.mtu; return l }())
				near.most = x.mtu - 3
				a.Start()
				b.Start()
				defer a.Stop()
				defer b.Stop()
				time.Sleep(10 * time.Minute)
				if text := a.show("interface"); !strings.Contains(text, x.list) {
					t.Errorf("%s", text)
				}
				if log := a.log.String(); strings.Count(log, "level=WARN") != 1 || strings.Count(log, x.text) != 1 {
					t.Errorf("the log is\n%s", log)
				}
			})
		})
	}
}

// TestKeysLive: keys of an interface and of the domain are changed at the console while routers run,
// first to accept the next one too, then to send it, then to forget the one before: routes and
// neighbours stay. A wrong key loses the neighbour, and the log is told once.
func TestKeysLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interfaces = "interface eth0 type p2p password md5:old\ndomain-password md5:old\n"
		a := newBox(t, 1, lines(1, interfaces))
		b := newBox(t, 2, lines(2, interfaces+"announce 192.0.2.0/24"))
		wire(a, b, "eth0", 1)
		a.Start()
		b.Start()
		defer a.Stop()
		defer b.Stop()
		time.Sleep(30 * time.Second)
		before := strings.Count(a.show("adjacency-log"), "\n")
		for _, keys := range []string{"md5:old,md5:new", "md5:new,md5:old", "md5:new"} {
			for _, x := range []*box{a, b} {
				x.set("interface eth0 password " + keys)
				x.set("domain-password " + keys)
				for range 40 {
					time.Sleep(time.Second)
					if _, ok := a.route("192.0.2.0/24"); !ok {
						t.Fatalf("%s at %d: the route is gone:\n%s", keys, x.number, a.show("adjacency-log"))
					}
				}
			}
		}
		// What is announced from then on is sealed and opened by the new one.
		b.set("interface eth0 metric 20")
		b.set("overload on")
		time.Sleep(10 * time.Second)
		if text := a.show("database"); !strings.Contains(text, "0/0/1") {
			t.Errorf("no overload bit:\n%s", text)
		}
		for _, x := range []*box{a, b} {
			if n := strings.Count(x.show("adjacency-log"), "\n"); n != before || strings.Contains(x.log.String(), "level=WARN") {
				t.Errorf("%d:\n%s\n%s", x.number, x.show("adjacency-log"), x.log.String())
			}
		}
		b.set("interface eth0 password md5:other")
		time.Sleep(35 * time.Second)
		if _, ok := a.route("192.0.2.0/24"); ok || strings.Count(a.log.String(), "level=WARN") != 1 || !strings.Contains(a.show("interface"), "auth=") {
			t.Errorf("a wrong key:\n%s\n%s", a.show("interface"), a.log.String())
		}
	})
}

// TestNew: a configuration that is none is refused; without any the protocol does not run.
func TestNew(t *testing.T) {
	for lines, want := range map[string]string{
		"level 3":                                "want 1, 2 or 1-2",
		"level 3\nnet 49.0001.0000.0000.0001.00": "want 1, 2 or 1-2", // before the net is read
		"hostname r1":                            "no net",
	} {
		if r, err := New(Environment{}, lines); r != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", lines, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		a := newBox(t, 1, " \n")
		a.Start()
		defer a.Stop()
		var w strings.Builder
		if err := a.Show(&w, []string{"neighbor"}, true); err != nil || w.String() != "{}\n" || string(a.Page()) != "null" {
			t.Errorf("%v %q %s", err, w.String(), a.Page())
		}
		a.set("net 49.0001.0000.0000.0001.00")
		if text := a.show("summary"); !strings.Contains(text, "0000.0000.0001") {
			t.Errorf("%s", text)
		}
	})
}

// TestFlood has more arrive than is taken: some of it is dropped and counted, the rest is looked
// at, and the log is told of it once.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newBox(t, 1, lines(1, "interface eth0\ninterface eth1"))
		e := &end{mac: [6]byte{2, 0, 0, 0, 0, 1}}
		e.link = a.AddLink("eth0", 0, e)
		e.link.Tell(ready(1, 1))
		for range 10 * waitingMax {
			e.link.Receive([6]byte{2, 2, 2, 2, 2, 2}, []byte{0x83, 1})
		}
		a.Start()
		defer a.Stop()
		synctest.Wait()
		text := a.show("interface")
		if !strings.Contains(text, fmt.Sprintf("queue_full=%d", 9*waitingMax)) || !strings.Contains(text, fmt.Sprintf("=%d ", waitingMax)) {
			t.Errorf("%s", text)
		}
		if n := strings.Count(a.log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings, want that of the interface that is not there:\n%s", n, a.log.String())
		}
	})
}

// TestECMP: a route has no more ways than the table has room for, also where none are configured, so
// that lists show what is used.
func TestECMP(t *testing.T) {
	for more, want := range map[string]int{"": rib.ECMP, "ecmp 3\n": 3} {
		synctest.Test(t, func(t *testing.T) {
			interfaces := ""
			for n := range rib.ECMP + 1 {
				interfaces += fmt.Sprintf("interface eth%d type p2p\n", n)
			}
			a := newBox(t, 1, lines(1, more+interfaces))
			b := newBox(t, 2, lines(2, interfaces+"announce 192.0.2.0/24"))
			for n := range rib.ECMP + 1 {
				wire(a, b, fmt.Sprintf("eth%d", n), n+1)
			}
			a.Start()
			b.Start()
			defer a.Stop()
			defer b.Stop()
			time.Sleep(30 * time.Second)
			r, _ := a.route("192.0.2.0/24")
			shown := 0
			if err := a.do(func() {
				for _, x := range a.instance.Routes() {
					if x.Prefix == r.Prefix {
						shown = len(x.NextHops)
					}
				}
			}); err != nil || len(r.Hops) != want || shown != want {
				t.Errorf("%q: %v, the table is given %d ways, lists show %d, want %d", more, err, len(r.Hops), shown, want)
			}
		})
	}
}

// TestTableFull: routes that the table refuses are given to it again until it has room, and the log
// is told once that it has none and once that it has all.
func TestTableFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newBox(t, 1, lines(1, "interface eth0 type p2p"))
		b := newBox(t, 2, lines(2, "interface eth0 type p2p"))
		table := rib.New(2, a.env.Now)
		given := 0
		a.env.Install = func(put []rib.Route, gone []netip.Prefix) {
			table.Update(rib.ISIS, put, gone)
			given++
		}
		held := func() int { return table.Count(rib.ISIS, rib.IPv4) + table.Count(rib.ISIS, rib.IPv6) }
		a.env.Held = held
		_, y := wire(a, b, "eth0", 1)
		announce := func(list ...string) {
			l := ready(1, 2)
			for _, p := range list {
				l.Prefixes = append(l.Prefixes, netip.MustParsePrefix(p))
			}
			y.link.Tell(l)
		}
		announce("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8:ff::/48")
		a.Start()
		b.Start()
		defer a.Stop()
		defer b.Stop()
		expect := func(when string, want, lacking int) {
			t.Helper()
			synctest.Wait()
			if n, text := held(), a.show("summary"); n != want || !strings.Contains(text, fmt.Sprintf("Routes without room in the table  %d\n", lacking)) {
				t.Errorf("%s: %d routes are held, want %d\n%s", when, n, want, text)
			}
		}
		time.Sleep(time.Minute)
		expect("full", 2, 2)
		before := given
		time.Sleep(5 * offerEach)
		if given != before {
			t.Errorf("a table without room is given them %d times", given-before)
		}
		// The first ones of those that there are were taken.
		announce("198.51.100.0/24", "203.0.113.0/24", "2001:db8:ff::/48")
		time.Sleep(offerEach)
		expect("one is not announced any more", 2, 1)
		announce("203.0.113.0/24", "2001:db8:ff::/48")
		time.Sleep(2 * offerEach)
		expect("two are not announced any more", 2, 0)
		if n := given - before; n != 4 {
			t.Errorf("the table was given routes %d times, want two changes and two times all", n)
		}
		log := a.log.String()
		if strings.Count(log, "has no room for all") != 1 || strings.Count(log, "all routes are in the table") != 1 {
			t.Errorf("the log is\n%s", log)
		}
	})
}

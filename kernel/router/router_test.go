package router

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/host"
	"github.com/sluice-os/sluice/kernel/options"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

// route reads one.
func route(t *testing.T, text string) options.Route {
	t.Helper()
	r, err := options.ParseRoute(strings.Fields(text), false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// newRouter makes one with two cards, whose stacks the test speaks for.
func newRouter(now *time.Duration) (*Router, [2]host.Interface) {
	r := New(Config{Memory: 1 << 20, Now: func() time.Duration { return *now }})
	r.cards = []card{{name: "lan"}, {name: "wan"}}
	return r, [2]host.Interface{
		{Up: true, MTU: 1500, Addresses: []netip.Prefix{prefix("192.0.2.1/24"), prefix("fe80::1/64"), prefix("2001:db8:1::1/64")},
			Connected: []netip.Prefix{prefix("192.0.2.0/24"), prefix("fe80::/64"), prefix("2001:db8:1::/64")}, Broadcast: []netip.Addr{addr("192.0.2.255")}},
		{Up: true, MTU: 1400, Addresses: []netip.Prefix{prefix("198.51.100.1/24")}, Connected: []netip.Prefix{prefix("198.51.100.0/24")},
			Learned: []host.Learned{{Prefix: prefix("0.0.0.0/0"), Gateway: addr("198.51.100.2")}}},
	}
}

func show(t *testing.T, r *Router, f rib.Family) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Show(&b, f, false); err != nil {
		t.Fatal(err)
	}
	head, list, ok := strings.Cut(b.String(), "\n\n")
	if !ok || !strings.HasPrefix(head, "Codes: ") {
		t.Fatalf("prints %s", b.String())
	}
	return list
}

func TestShow(t *testing.T) {
	var now time.Duration
	r, states := newRouter(&now)
	for i := range states {
		r.changed(i, &states[i])
	}
	for _, text := range []string{"10.0.0.0/8 via 192.0.2.9", "10.0.0.0/8 via 198.51.100.9", "11.0.0.0/8 via 203.0.113.1", "2001:db8:9::/48 via fe80::9 dev lan"} {
		if err := r.Add(route(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	now = 26*time.Hour + 3*time.Minute
	r.Routes.Update(rib.ISIS, []rib.Route{{Prefix: prefix("10.0.0.0/8"), Metric: 20, Hops: []rib.Hop{{Via: addr("192.0.2.8"), Card: 0}}},
		{Prefix: prefix("12.0.0.0/8"), Metric: 30, Hops: []rib.Hop{{Via: addr("192.0.2.8"), Card: 0}, {Via: addr("198.51.100.8"), Card: 1}}}}, nil)
	now += 62 * time.Second
	want := `K>* 0.0.0.0/0 [254/0] via 198.51.100.2, wan, 1d02h04m
S>* 10.0.0.0/8 [1/0] via 192.0.2.9, lan, 1d02h04m
  *                  via 198.51.100.9, wan, 1d02h04m
I   10.0.0.0/8 [115/20] via 192.0.2.8, lan, 00:01:02
S   11.0.0.0/8 [1/0] via 203.0.113.1 inactive, 1d02h04m
I>* 12.0.0.0/8 [115/30] via 192.0.2.8, lan, 00:01:02
  *                     via 198.51.100.8, wan, 00:01:02
C>* 192.0.2.0/24 is directly connected, lan, 1d02h04m
C>* 198.51.100.0/24 is directly connected, wan, 1d02h04m
`
	if got := show(t, r, rib.IPv4); got != want {
		t.Errorf("prints\n%s\nwant\n%s", got, want)
	}
	want = `C>* 2001:db8:1::/64 is directly connected, lan, 1d02h04m
S>* 2001:db8:9::/48 [1/0] via fe80::9, lan, 1d02h04m
`
	if got := show(t, r, rib.IPv6); got != want {
		t.Errorf("prints\n%s\nwant\n%s", got, want)
	}
	var b bytes.Buffer
	if err := r.Show(&b, rib.IPv4, true); err != nil {
		t.Fatal(err)
	}
	var list map[string][]map[string]any
	if err := json.Unmarshal(b.Bytes(), &list); err != nil || len(list) != 6 || len(list["10.0.0.0/8"]) != 2 {
		t.Fatalf("%v: %s", err, b.String())
	}
	first := list["10.0.0.0/8"][0]
	hops := first["nexthops"].([]any)
	if first["protocol"] != "static" || first["selected"] != true || len(hops) != 2 || hops[0].(map[string]any)["ip"] != "192.0.2.9" {
		t.Errorf("%v", first)
	}
	// Without its link a card has no routes, and its static ones wait.
	states[0].Up, states[0].Connected, states[0].Broadcast = false, nil, nil
	r.changed(0, &states[0])
	want = `K>* 0.0.0.0/0 [254/0] via 198.51.100.2, wan, 1d02h04m
S>  10.0.0.0/8 [1/0] via 192.0.2.9 inactive, 1d02h04m
  *                  via 198.51.100.9, wan, 1d02h04m
I   10.0.0.0/8 [115/20] via 192.0.2.8, lan, 00:01:02
S   11.0.0.0/8 [1/0] via 203.0.113.1 inactive, 1d02h04m
I>  12.0.0.0/8 [115/30] via 192.0.2.8, lan inactive, 00:01:02
  *                     via 198.51.100.8, wan, 00:01:02
C>* 198.51.100.0/24 is directly connected, wan, 1d02h04m
`
	if got := show(t, r, rib.IPv4); got != want {
		t.Errorf("prints\n%s\nwant\n%s", got, want)
	}
	if n := r.Routes.Lookup(addr("192.0.2.1")); n == nil || !n.Local {
		t.Error("an address of a card without a link is none of the machine's any more")
	}
}

func TestStatic(t *testing.T) {
	var now time.Duration
	r, states := newRouter(&now)
	r.changed(0, &states[0])
	for _, step := range []struct {
		add  bool
		text string
		err  string
		hops int
	}{
		{true, "10.0.0.0/8 via 192.0.2.9", "", 1},
		{true, "10.0.0.0/8 via 192.0.2.9", "the route 10.0.0.0/8 via 192.0.2.9 is there already", 1},
		{true, "10.0.0.0/8 via 192.0.2.8 dev lan", "", 2},
		{true, "10.0.0.0/8 via 192.0.2.8 dev dmz", "no network card is named dmz: want one of [lan wan]", 2},
		{false, "10.0.0.0/8 via 192.0.2.7", "no such static route", 2},
		{false, "10.0.0.0/8 via 192.0.2.8 dev wan", "no such static route", 2},
		{false, "10.0.0.0/8 via 192.0.2.8", "", 1},
		{false, "10.0.0.0/8", "", 0},
		{false, "10.0.0.0/8", "no such static route", 0},
	} {
		f := r.Delete
		if step.add {
			f = r.Add
		}
		if err := f(route(t, step.text)); (err == nil) != (step.err == "") || err != nil && err.Error() != step.err {
			t.Errorf("%s: %v, want %s", step.text, err, step.err)
		}
		hops := 0
		if n := r.Routes.Lookup(addr("10.1.2.3")); n != nil {
			hops = len(n.Hops)
		}
		if hops != step.hops {
			t.Errorf("%s: %d ways, want %d", step.text, hops, step.hops)
		}
	}
}

// What a card says again, or of its MTU only, is no change of the routes.
func TestUnchanged(t *testing.T) {
	var now time.Duration
	r, states := newRouter(&now)
	for i := range states {
		r.changed(i, &states[i])
	}
	before := r.Routes.Generation()
	states[1].MTU = 1300
	r.changed(1, &states[1])
	if n := r.Routes.Generation() - before; n != 0 {
		t.Errorf("%d changes of the table", n)
	}
	states[1].Learned = nil
	r.changed(1, &states[1])
	if n := r.Routes.Generation() - before; n != 2 { // of both families
		t.Errorf("%d changes of the table, want 2", n)
	}
	if r.Routes.Lookup(addr("99.1.1.1")) != nil {
		t.Error("what was learned is still there")
	}
}

// What the table refuses is told to who wants it, and counted; a table that is full of IS-IS's
// routes refuses no static one.
func TestRefused(t *testing.T) {
	r := New(Config{Memory: routeMemory, Now: func() time.Duration { return 0 }})
	hops := []rib.Hop{{Via: addr("192.0.2.8"), Card: 0}}
	r.Routes.Update(rib.ISIS, []rib.Route{{Prefix: prefix("10.0.0.0/8"), Hops: hops}, {Prefix: prefix("11.0.0.0/8"), Hops: hops}}, nil)
	if err := r.Add(route(t, "12.0.0.0/8 via 192.0.2.9")); err != nil {
		t.Error(err)
	}
	if err := r.Add(options.Route{Via: addr("192.0.2.9")}); !errors.Is(err, rib.ErrRoute) {
		t.Errorf("a route without a prefix: %v, want %v", err, rib.ErrRoute)
	}
	if len(r.static) != 1 {
		t.Errorf("%d static routes are kept", len(r.static))
	}
	if c := r.Counters(); len(c) == 0 || c[0].Name != "routes_refused" || c[0].Value != 2 {
		t.Errorf("counters %v", c)
	}
	if g := r.Statistics(); len(g) == 0 || g[0].Lines[0].Value != 2 {
		t.Errorf("statistics %v", g)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "00:00:00", 3723 * time.Second: "01:02:03", 24*time.Hour - time.Second: "23:59:59", 24 * time.Hour: "1d00h00m",
		9*24*time.Hour + 5*time.Hour: "01w2d05h", -time.Second: "00:00:00",
	} {
		if got := Age(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}

// Errors are not sent from an address that holds on one link only.
func TestSources(t *testing.T) {
	c := card{state: host.Interface{Addresses: []netip.Prefix{prefix("169.254.1.1/16"), prefix("fe80::1/64")}}}
	if f := c.forward(); f.Source4.IsValid() || f.Source6.IsValid() {
		t.Errorf("%+v", f)
	}
	c.state.Addresses = append(c.state.Addresses, prefix("192.0.2.1/24"), prefix("2001:db8::1/64"))
	if f := c.forward(); f.Source4 != addr("192.0.2.1") || f.Source6 != addr("2001:db8::1") {
		t.Errorf("%+v", f)
	}
}

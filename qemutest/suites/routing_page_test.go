package suites

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis"
	"github.com/sluice-os/sluice/kernel/route/isisd"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// routerEnd is a card between routers in this process. It implements isisd.Port.
type routerEnd struct {
	mac  [6]byte
	link *isisd.Link
	far  *routerEnd
}

func (e *routerEnd) Address() [6]byte           { return e.mac }
func (e *routerEnd) Send(_ [6]byte, pdu []byte) { e.far.link.Receive(e.mac, pdu) }

// routerPair starts two routers of this process on three wires: on one both families work at both
// ends; on two IPv6 of one end is looked for on the link for ever, on half that of the first one's,
// and on shut that of the second one's, so that a strict gate stays closed.
func routerPair(t *testing.T, gates [2]string) *isisd.Router {
	t.Helper()
	began := time.Now()
	var routers [2]*isisd.Router
	for n := range routers {
		r, err := isisd.New(isisd.Environment{
			Now: func() time.Duration { return time.Since(began) }, Log: slog.New(slog.DiscardHandler), Seed: uint64(n),
			Install: func([]rib.Route, []netip.Prefix) {},
		}, fmt.Sprintf("net 49.0001.0000.0000.000%d.00\nhostname page%d\nlevel 2\nannounce 192.0.2.%d/32\ninterface open type p2p gate off\ninterface half type p2p\ninterface %s", n+1, n+1, n+1, gates[n]))
		if err != nil {
			t.Fatal(err)
		}
		routers[n] = r
	}
	for at, name := range []string{"open", "shut", "half"} {
		a, b := &routerEnd{mac: [6]byte{2, byte(at), 1}}, &routerEnd{mac: [6]byte{2, byte(at), 2}}
		a.far, b.far = b, a
		for n, e := range []*routerEnd{a, b} {
			e.link = routers[n].AddLink(name, at, e)
			var l isis.Link
			l.Carrier, l.MTU = true, 1500
			l.IPv4 = []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.%d.0.%d/24", at, n+1))}
			state := gate.Done
			if name == "shut" && n == 1 || name == "half" && n == 0 {
				state = gate.Tentative
			}
			l.LinkLocals = []gate.LinkLocal{{Addr: netip.MustParseAddr(fmt.Sprintf("fe80::%d:%d", at+1, n+1)), DAD: state}}
			l.Prefixes = l.IPv4
			e.link.Tell(l)
		}
	}
	for _, r := range routers {
		r.Start()
		t.Cleanup(r.Stop)
	}
	return routers[0]
}

// webHere runs web on this machine, of whose statistics there is a file, and returns its address.
func webHere(t *testing.T, stats string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close() // nobody else is in this namespace
	path := filepath.Join(t.TempDir(), "web")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/sluice-os/sluice/userland/apps/web").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	web := program(t, t.Context(), path, "-http", address, "-https", "", "-stats", stats)
	if err := web.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { web.Wait() })
	eventually(t, time.Now().Add(settles), "the page", func() string {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err.Error()
		}
		c.Close()
		return ""
	})
	return address
}

// tabHere is a tab of Chromium.
func tabHere(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	t.Cleanup(cancel)
	browser, done := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.WSURLReadTimeout(5*time.Minute), chromedp.NoSandbox, chromedp.DisableGPU)...)
	t.Cleanup(done)
	tab, done := chromedp.NewContext(browser)
	t.Cleanup(done)
	return tab
}

// TestRoutingPageInChromium opens the routing page of web, which runs on this machine, with what a
// router of this process tells: the graph has both routers and their link, each adjacency has its
// four facts, the one that is held back says why, routes and runs of SPF are listed, and the console stays quiet.
func TestRoutingPageInChromium(t *testing.T) {
	t.Parallel()
	if !installed("chromium") {
		t.Skip("chromium is not installed")
	}
	if os.Getenv(inNamespace) == "" {
		slots <- struct{}{}
		defer func() { <-slots }()
	}
	if !namespace(t) {
		return
	}
	say(t, "ip", "link", "set", "dev", "lo", "up")
	r := routerPair(t, [2]string{"shut type p2p gate strict", "shut type p2p"})
	dir := t.TempDir()
	stats := filepath.Join(dir, "stats")
	write := func() string {
		page := string(r.Page())
		if err := os.WriteFile(stats+".new", []byte(`{"time_ns":1,"routing":`+page+`}`), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(stats+".new", stats); err != nil {
			t.Fatal(err)
		}
		return page
	}
	eventually(t, time.Now().Add(settles), "routes of the router", func() string {
		if page := write(); !strings.Contains(page, "192.0.2.2/32") || !strings.Contains(page, "no usable IPv6 address") {
			return page
		}
		return ""
	})

	address := webHere(t, stats)
	tab := tabHere(t)
	messages := chromedp.Console(tab)
	if err := chromedp.Do(tab, chromedp.EmulateViewport(1280, 800), chromedp.Navigate("http://"+address+"/routing")); err != nil {
		t.Fatal(err)
	}
	const look = `(async () => {
		while (document.querySelector("#state").dataset.state !== "live") await new Promise((r) => setTimeout(r, 50));
		document.querySelectorAll("#graph .node")[1].dispatchEvent(new MouseEvent("click"));
		const text = (id) => document.querySelector(id)?.textContent ?? "";
		const cells = (id) => [...document.querySelectorAll(id + " tbody tr")].map((r) =>
			[...r.querySelectorAll("td")].map((d) => d.dataset.name + "=" + d.textContent + (d.querySelector(".bad") ? "!" : "")).join(", ")).join("; ");
		return [document.querySelectorAll("#graph .node").length, document.querySelectorAll("#graph line").length, document.querySelectorAll("#graph .own").length,
			text("#chosen"), cells("#neighbours"), text("#routes4"), text("#runs"), text("#events"), text("#size"), String(document.documentElement.scrollWidth)].join("|");
	})()`
	got, err := chromedp.Run(tab, chromedp.Evaluate[string](look, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2|1|1|", "IPv4 at 10, IPv6 at 10",
		"neighbour=page2, interface=open, state=Up, IPv4 here=yes, IPv6 here=yes, IPv4 there=yes, IPv6 there=yes, why it waits=;",
		"neighbour=page2, interface=half, state=Up, IPv4 here=yes, IPv6 here=dad-tentative!, IPv4 there=yes, IPv6 there=yes, why it waits=;",
		"interface=shut, state=Wait!, IPv4 here=yes, IPv6 here=yes, IPv4 there=yes, IPv6 there=no!, why it waits=Wait: neighbour has no usable IPv6 address", "192.0.2.2/32", " ms", "Init -> Up", "2 routers, 1 links", "|1280"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page has no %q: %s", want, got)
		}
	}
	if _, err := chromedp.Run(tab, chromedp.Evaluate[chromedp.Void](`console.error("control")`)); err != nil {
		t.Fatal(err)
	}
	quiet(t, messages)
}

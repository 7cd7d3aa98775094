package suites

import (
	_ "embed"
	"fmt"
	"iter"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/qemutest"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// probe is what runs in the page.
//
//go:embed testdata/probe.js
var probe string

// pageView is what the probe saw.
type pageView struct {
	State  string
	Note   bool
	Width  int      // of the window
	Scroll int      // of the document
	Wide   []string // what reaches out of the window
	Tables map[string][]map[string]string
	Plots  []struct {
		Title  string
		Lines  []string // of the legend
		Colour int      // pixels of the canvas that are neither grey nor clear
	}
	Histograms []pageHistogram
}

// pageHistogram is what is drawn of a queue and its class.
type pageHistogram struct {
	Name string
	Bars int
}

// rows returns the rows of a table that have a value in a column.
func (v *pageView) rows(table, column, value string) (rows []map[string]string) {
	for _, r := range v.Tables[table] {
		if r[column] == value {
			rows = append(rows, r)
		}
	}
	return rows
}

// TestPageInChromium opens the page of web in Chromium, in windows as wide as a
// phone's and a desk's. All is in a network namespace: no browser asks anything
// outside.
func TestPageInChromium(t *testing.T) {
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
	openTap(t)
	// A browser ends what is under way when the machine gets another address.
	say(t, "ip", "link", "set", "dev", tapName, "addrgenmode", "none")
	vm := qemutest.Start(t, qemutest.Config{
		Image: appsImage(t, []string{"web", "echo"}), Memory: appsMemory, Limit: 20 * time.Minute, Append: "ip6=off ip=" + tapGuest + "/24",
		Extra: []string{"-netdev", "tap,id=n0,ifname=" + tapName + ",script=no,downscript=no,vnet_hdr=off", "-device", "virtio-net-device,netdev=n0"},
	})
	vm.Seen(t, "web: web: https")
	vm.Seen(t, "echo: echo: udp")
	echoes(t, "tcp", tapGuest+":7")
	stray(t)

	browser, end := chromedp.NewExecAllocator(vm.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.WSURLReadTimeout(5*time.Minute), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.IgnoreCertErrors)...)
	t.Cleanup(end)
	browser, end = chromedp.NewContext(browser)
	t.Cleanup(end)
	if err := chromedp.Do(browser); err != nil { // starts it
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, scheme  string
		width, height int64
		options       []chromedp.EmulateViewportOption
	}{
		{"phone", "http", 360, 740, []chromedp.EmulateViewportOption{chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait, chromedp.EmulateScale(3)}},
		{"desk", "http", 1280, 800, nil},
		{"desk over TLS", "https", 1280, 800, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			tab, end := chromedp.NewContext(browser)
			defer end()
			messages := chromedp.Console(tab)
			err := chromedp.Do(tab, chromedp.EmulateViewport(c.width, c.height, c.options...), chromedp.Navigate(c.scheme+"://"+tapGuest+"/"))
			if err != nil {
				t.Fatal(err)
			}
			look := func(when string) *pageView {
				t.Helper()
				v, err := chromedp.Run(tab, chromedp.Evaluate[*pageView](fmt.Sprintf("(%s)(() => %s)", probe, when), chromedp.EvalAwaitPromise))
				if err != nil {
					t.Fatalf("%s: %v", when, err)
				}
				return v
			}
			// All is shown with the third answer: traffic is the difference of two, and a
			// line has two ends.
			const packets = `[...document.querySelectorAll("#channels tbody tr")].find((r) => r.querySelector("[data-name=domain]").textContent === "web")?.querySelector("[data-name='rx packets']").textContent ?? ""`
			var v *pageView
			seen := []string{""}
			for len(seen) <= 3 {
				v = look(fmt.Sprintf("(%s) !== %q", packets, seen[len(seen)-1]))
				seen = append(seen, v.rows("channels", "domain", "web")[0]["rx packets"])
			}
			t.Logf("packets for web: %q", seen[1:])
			checkPage(t, v, int(c.width))

			// What the checks look for they find.
			const control = `console.error("control"); document.querySelector("#state").style.minWidth = "2000px"`
			if _, err := chromedp.Run(tab, chromedp.Evaluate[chromedp.Void](control)); err != nil {
				t.Fatal(err)
			}
			if v := look("true"); v.Scroll < 2000 || len(v.Wide) == 0 {
				t.Errorf("an element of 2000 pixels makes the document %d wide, out of it reach %q", v.Scroll, v.Wide)
			}
			quiet(t, messages)
			t.Logf("%v", time.Since(start))
		})
	}
	powerOff(t, vm)
}

var idle = regexp.MustCompile(`^channel \d+ (\d+)`)

// checkPage checks what the page shows of a machine with the domains web and echo.
func checkPage(t *testing.T, v *pageView, width int) {
	t.Helper()
	if v.State != "live" || v.Note {
		t.Errorf("the page says %q, with a note: %v", v.State, v.Note)
	}
	if v.Width != width || v.Scroll > width || len(v.Wide) > 0 {
		t.Errorf("the document is %d wide in a window of %d, which is to be %d; out of it reach %q", v.Scroll, v.Width, width, v.Wide)
	}
	for _, name := range []string{"web", "echo"} {
		for _, c := range []struct {
			table, column string
			rows          int
		}{
			{"domains", "name", 1}, {"channels", "domain", 1}, {"rings", "domain", 5}, {"pools", "domain", 4},
		} {
			if got := v.rows(c.table, c.column, name); len(got) != c.rows {
				t.Errorf("the table %s has %d rows of %s, want %d: %v", c.table, len(got), name, c.rows, v.Tables[c.table])
			}
		}
		// Two listeners each.
		if got := v.rows("flows", "domain", name); len(got) < 2 {
			t.Errorf("the table flows has %d rows of %s: %v", len(got), name, v.Tables["flows"])
		}
	}
	for _, d := range v.Tables["domains"] {
		if d["state"] != "running" || d["memory"] == "" || d["cpu"] == "" || d["cpu"] == "0.00\u00a0s" {
			t.Errorf("a domain is %v", d)
		}
	}
	if !slices.ContainsFunc(v.Tables["drops"], func(r map[string]string) bool { return strings.Contains(r["reason"], "stray") && r["count"] != "0" }) {
		t.Errorf("the stray segment is not among the drops: %v", v.Tables["drops"])
	}
	if got := v.rows("qdisc", "class", "all"); len(got) != 1 || got[0]["delays"] != "" {
		t.Errorf("the queue in front of the card: %v", v.Tables["qdisc"])
	}
	if !slices.ContainsFunc(v.Histograms, func(h pageHistogram) bool { return h.Bars == len(aqm.Histogram{}) }) {
		t.Errorf("the histograms of delays: %v", v.Histograms)
	}
	if len(v.Plots) != 9 {
		t.Errorf("%d plots, want 9", len(v.Plots))
	}
	for _, p := range v.Plots {
		if len(p.Lines) == 0 || p.Colour == 0 {
			t.Errorf("the plot %s has the lines %q and %d pixels of a colour", p.Title, p.Lines, p.Colour)
		}
		if strings.HasPrefix(p.Title, "Fullest ring") {
			for _, line := range p.Lines {
				if percent := idle.FindStringSubmatch(line); percent == nil || number(t, percent[1]) > 20 {
					t.Errorf("the plot %s says %q of a machine with next to nothing to do", p.Title, line)
				}
			}
		}
	}
}

// quiet reads what the page wrote to the console up to the control: nothing.
func quiet(t *testing.T, messages iter.Seq2[chromedp.ConsoleMessage, error]) {
	t.Helper()
	for m, err := range messages {
		if err != nil {
			t.Fatal(err)
		}
		if m.Text == "control" {
			return
		}
		t.Errorf("the console of the page: %v (%s %s:%d)", m, m.Source, m.URL, m.Line)
	}
}

// stray sends the listener of echo a FIN of no connection, which is dropped.
func stray(t *testing.T) {
	t.Helper()
	c, err := net.Dial("ip4:tcp", tapGuest)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	address := func(a net.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.(*net.IPAddr).IP.To4()) }
	b := header.TCP(make([]byte, header.TCPMinimumSize))
	b.Encode(&header.TCPFields{SrcPort: 9, DstPort: 7, SeqNum: 1, DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagFin})
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, address(c.LocalAddr()), address(c.RemoteAddr()), header.TCPMinimumSize)
	b.SetChecksum(^b.CalculateChecksum(sum))
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

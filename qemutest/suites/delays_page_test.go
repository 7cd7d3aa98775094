package suites

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// delayFigure is a histogram of the page as it is drawn.
type delayFigure struct {
	Name, Text string
	Bars       []float64 // their heights in pixels
	Room       float64   // how high one can be
	Seen       bool      // each bar is as wide as a pixel at least, in the window and of another colour than the card
	Wide       int       // of the document
}

// readDelays waits until the page has as many packets of a class as it says, and returns what it
// draws.
const readDelays = `(async (name, packets) => {
	const figures = () => [...document.querySelectorAll("#delays figure")];
	const said = () => figures().some((f) => f.querySelector("b").textContent === name && f.textContent.includes(packets));
	await new Promise((done) => {
		const look = () => { if (said()) { watch.disconnect(); done(); } };
		const watch = new MutationObserver(look);
		watch.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
		look();
	});
	return figures().map((f) => {
		const chart = f.querySelector(".bars"), card = getComputedStyle(f.closest(".card")).backgroundColor;
		const bars = [...chart.children], box = (e) => e.getBoundingClientRect();
		return {
			name: f.querySelector("b").textContent, text: f.querySelector("figcaption span").textContent,
			bars: bars.map((b) => box(b).height), room: chart.clientHeight, wide: document.documentElement.scrollWidth,
			seen: bars.every((b) => box(b).width >= 1 && box(b).left >= 0 && box(b).right <= innerWidth && getComputedStyle(b).backgroundColor !== card),
		};
	});
})`

// TestDelaysInChromium opens the page of web, which runs on this machine, with what the queues of
// two cards say of how long packets have waited: each class that had some has a bar for each place
// of its histogram, as high as that says, and so have all classes together. What comes shows.
func TestDelaysInChromium(t *testing.T) {
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
	stats := filepath.Join(t.TempDir(), "stats")
	queue := func(dev, class string, delays []uint64) map[string]any {
		return map[string]any{"dev": dev, "qdisc": "aqm", "class": class, "paused": 0, "delays": delays}
	}
	write := func(second int, queues ...map[string]any) {
		t.Helper()
		b, err := json.Marshal(map[string]any{"time_ns": second * 1e9, "qdisc": queues})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(stats+".new", b, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(stats+".new", stats); err != nil {
			t.Fatal(err)
		}
	}
	// Of 400 packets half waited for less than 64 us and two for a second or more.
	delays := make([]uint64, 24)
	delays[0], delays[5], delays[6], delays[11], delays[14], delays[23] = 100, 40, 200, 1, 57, 2
	few, none := make([]uint64, 24), make([]uint64, 24)
	few[10] = 3
	first := []map[string]any{
		queue("eth0", "best_effort", delays), queue("eth0", "all", delays), queue("eth0", "ring", []uint64{}),
		queue("eth1", "all", none), queue("eth1", "<b>bold", few),
	}
	write(100, first...)
	address := webHere(t, stats)
	tab := tabHere(t)
	messages := chromedp.Console(tab)
	for _, width := range []int64{360, 1280} {
		write(100, first...)
		if err := chromedp.Do(tab, chromedp.EmulateViewport(width, 800), chromedp.Navigate("http://"+address+"/")); err != nil {
			t.Fatal(err)
		}
		look := func(name, packets string) []delayFigure {
			t.Helper()
			got, err := chromedp.Run(tab, chromedp.Evaluate[[]delayFigure](fmt.Sprintf("%s(%q, %q)", readDelays, name, packets), chromedp.EvalAwaitPromise))
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		got := look("eth0", "400 packets")
		type want struct {
			name, text string
			counts     []uint64
		}
		check := func(got []delayFigure, list ...want) {
			t.Helper()
			if len(got) != len(list) {
				t.Fatalf("%d pixels: %d histograms, want %d: %+v", width, len(got), len(list), got)
			}
			for i, w := range list {
				f := got[i]
				if f.Name != w.name || strings.ReplaceAll(f.Text, "\u00a0", " ") != w.text || !f.Seen || f.Room < 30 || f.Wide > int(width) || len(f.Bars) != len(w.counts) {
					t.Errorf("%d pixels: %+v, want %s: %s", width, f, w.name, w.text)
					continue
				}
				most := max(slices.Max(w.counts), 1)
				for k, n := range w.counts {
					high := f.Room * float64(n) / float64(most)
					if n > 0 {
						high = max(high, 2) // it shows
					}
					if math.Abs(f.Bars[k]-high) > 0.1 {
						t.Errorf("%d pixels: %s: bar %d is %.2f pixels high, want %.2f", width, w.name, k, f.Bars[k], high)
					}
				}
			}
		}
		const said = "400 packets, half \u2264 64 \u00b5s, 99 % \u2264 16.4 ms"
		check(got, want{"eth0 best_effort", said, delays}, want{"eth0", said, delays},
			want{"eth1", "no packet has waited", none}, want{"eth1 <b>bold", "3 packets, half \u2264 1.02 ms, 99 % \u2264 1.02 ms", few})

		later := slices.Clone(delays)
		later[20] = 599
		write(101, queue("eth0", "all", later))
		check(look("eth0", "999 packets"), want{"eth0", "999 packets, half \u2264 1.05 s, 99 % \u2264 1.05 s", later})
	}
	if _, err := chromedp.Run(tab, chromedp.Evaluate[chromedp.Void](`console.error("control")`)); err != nil {
		t.Fatal(err)
	}
	quiet(t, messages)
}

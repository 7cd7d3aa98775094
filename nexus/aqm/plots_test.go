package aqm_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// This file owns the plots of docs/traffic.md: they are drawn from the tables in testdata, and
// stand between two marks. go test -run Plots ./nexus/aqm -update draws them anew.

const (
	plotsFile  = "../../docs/traffic.md"
	plotsBegin = "<!-- plots: go test -run Plots ./nexus/aqm -update -->\n"
	plotsEnd   = "<!-- end of plots -->\n"
)

// rows reads a table: the fields of each line behind the two headings. The first one may be of
// several words.
func rows(t *testing.T, name string) (list [][]string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	heading := strings.Split(lines[1], "  ")
	columns := 0
	for _, h := range heading {
		if strings.TrimSpace(h) != "" {
			columns++
		}
	}
	for _, line := range lines[2:] {
		words := strings.Fields(line)
		rest := len(words) - columns + 1
		list = append(list, append([]string{strings.Join(words[:rest], " ")}, words[rest:]...))
	}
	return list
}

// plot is lines over what x says of the rows that are taken.
type plot struct {
	about, table, x, y string
	senders            []string
	// at are the columns of x and of the value, and flows is how many a row has to have.
	at, value int
	flows     string
}

func (p plot) draw(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n```mermaid\nxychart-beta\n", p.about)
	var xs []string
	values := map[string][]string{}
	for _, r := range rows(t, p.table) {
		if r[1] != p.flows {
			continue
		}
		if r[0] == p.senders[0] {
			xs = append(xs, strings.TrimSuffix(strings.TrimRight(r[p.at], "0"), "."))
			if !strings.Contains(r[p.at], ".") {
				xs[len(xs)-1] = r[p.at]
			}
		}
		values[r[0]] = append(values[r[0]], r[p.value])
	}
	fmt.Fprintf(&b, "    x-axis \"%s\" [%s]\n    y-axis \"%s\"\n", p.x, strings.Join(xs, ", "), p.y)
	for _, s := range p.senders {
		if len(values[s]) != len(xs) || len(xs) == 0 {
			t.Fatalf("%s: %d values of %q, want %d", p.table, len(values[s]), s, len(xs))
		}
		fmt.Fprintf(&b, "    line [%s]\n", strings.Join(values[s], ", "))
	}
	b.WriteString("```\n\n")
	return b.String()
}

// TestPlots compares the plots with the tables.
func TestPlots(t *testing.T) {
	want := plotsBegin + "\n" +
		plot{
			about: "How long a small packet waits (99 of 100) beside 8 senders of datagrams on 20 Mbit/s, by how much they send. From above: no queue of classes and flows; the senders cannot be told, heed being told, and ignore it, which is one line near the bottom.",
			table: "load", x: "what they send, as a part of what the link takes", y: "ms", at: 2, value: 11, flows: "8",
			senders: []string{"no AQM", "not told", "heeding", "ignoring"},
		}.draw(t) +
		plot{
			about: "How long the packets of 8 transfers wait (99 of 100) on 20 Mbit/s, by their round trip. Far above: no queue of classes and flows. Below, close to each other: they listen to losses, to marks (RFC 3168), to marks of L4S, and to being told to pause.",
			table: "bulk", x: "round trip, ms", y: "ms", at: 2, value: 6, flows: "8",
			senders: []string{"losses, no AQM", "losses", "ECN", "L4S", "advice"},
		}.draw(t) +
		plot{
			about: "What one transfer gets of the link, by its round trip. Without the queue, and told to pause: all of it. The others, at 200 ms from above: marks (RFC 3168), losses, marks of L4S.",
			table: "bulk", x: "round trip, ms", y: "part of the link", at: 2, value: 3, flows: "1",
			senders: []string{"losses, no AQM", "losses", "ECN", "L4S", "advice"},
		}.draw(t) + plotsEnd
	b, err := os.ReadFile(plotsFile)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := bytes.Index(b, []byte(plotsBegin)), bytes.Index(b, []byte(plotsEnd))
	if begin < 0 || end < begin {
		t.Fatalf("%s has not the marks %q and %q", plotsFile, plotsBegin, plotsEnd)
	}
	end += len(plotsEnd)
	if string(b[begin:end]) == want {
		return
	}
	if !*update {
		t.Fatalf("the plots of %s are not those of the tables: go test -run Plots ./nexus/aqm -update", plotsFile)
	}
	if err := os.WriteFile(plotsFile, append(b[:begin:begin], append([]byte(want), b[end:]...)...), 0o644); err != nil {
		t.Fatal(err)
	}
}

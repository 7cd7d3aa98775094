package main

// Results: the table for people, bench.json for programs.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/sluice-os/sluice/image/qemu"
)

// series is a guest's values for one measure, in the order they were taken.
type series struct {
	Median float64   `json:"median"`
	Runs   []float64 `json:"runs"`
}

// row is one measure with its results.
type row struct {
	Name   string  `json:"name"`
	Title  string  `json:"title"`
	Unit   string  `json:"unit"`
	Sluice *series `json:"sluice,omitempty"`
	Linux  *series `json:"linux,omitempty"`
	// Ratio is the quotient of the medians, Sluice's by Linux's.
	Ratio  *float64 `json:"ratio,omitempty"`
	Wanted string   `json:"wanted,omitempty"`
	Met    *bool    `json:"met,omitempty"`
}

// results is the content of bench.json.
type results struct {
	BuildID string            `json:"build_id"`
	Machine string            `json:"machine"`
	Memory  int               `json:"memory_mib"`
	Network string            `json:"network"`
	Host    map[string]string `json:"host"`
	Lines   map[string]string `json:"qemu_lines"`
	Notes   []string          `json:"notes,omitempty"`
	Rows    []*row            `json:"measures"`
	Path    []*pathRow        `json:"path,omitempty"`
	Stages  []*stageRow       `json:"instructions,omitempty"`
	Traces  []*traceRow       `json:"instructions_by_place,omitempty"`
	// Offloads are those of a domain's TCP; ratios are to Linux.
	Offloads []*pathRow `json:"offloads,omitempty"`
}

// newResults returns a table without values.
func (p *plan) newResults(n network) *results {
	r := &results{
		BuildID: p.BuildID, Machine: p.Machine, Memory: p.Memory, Network: n.name(),
		Host: p.host(), Lines: map[string]string{}, Notes: slices.Clone(p.Notes),
	}
	if n.note != "" {
		r.note(n.note)
	}
	for _, g := range p.Guests {
		if args, err := g.args(p.Machine, n, p.Memory, serveAll); err == nil {
			r.Lines[g.Name] = qemu.Shell(p.Machine, args)
		}
	}
	for _, m := range measures {
		if p.wants(m.name) {
			r.Rows = append(r.Rows, &row{Name: m.name, Title: m.title, Unit: m.unit, Wanted: m.wanted})
		}
	}
	return r
}

// host says where it was measured.
func (p *plan) host() map[string]string {
	h := map[string]string{"cores": fmt.Sprint(runtime.NumCPU())}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				h["processor"] = strings.TrimSpace(value)
				break
			}
		}
	}
	if out, err := exec.Command(p.QEMU, "--version").Output(); err == nil {
		first, _, _ := bytes.Cut(out, []byte("\n"))
		h["qemu"] = strings.TrimPrefix(string(first), "QEMU emulator version ")
	}
	if accel := os.Getenv("ACCEL"); accel != "" {
		h["accelerator"] = accel
	}
	if len(p.Guests) > 1 {
		h["linux"] = strings.TrimPrefix(filepath.Base(p.Guests[1].Image), "vmlinuz-")
	}
	return h
}

// note adds what the reader must know, once, and says it at once.
func (r *results) note(text string) {
	if !slices.Contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
		progress("%s", text)
	}
}

// failed notes that a measure failed; an interrupted bench ends.
func (r *results) failed(ctx context.Context, what, guest string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.note(fmt.Sprintf("%s, %s: %v", what, guest, err))
	return nil
}

// add adds a value.
func (r *results) add(name, guest string, v float64) {
	for _, w := range r.Rows {
		if w.Name != name {
			continue
		}
		s := &w.Sluice
		if guest != "sluice" {
			s = &w.Linux
		}
		if *s == nil {
			*s = &series{}
		}
		(*s).Runs = append((*s).Runs, v)
	}
}

// finish computes medians, ratios and what was met.
func (r *results) finish() {
	for _, w := range r.Rows {
		for _, s := range []*series{w.Sluice, w.Linux} {
			if s != nil {
				s.Median = median(s.Runs)
			}
		}
		if w.Sluice != nil && w.Linux != nil && w.Linux.Median > 0 {
			ratio := w.Sluice.Median / w.Linux.Median
			w.Ratio = &ratio
		}
		w.judge()
	}
}

// finishPath does the same for the path.
func (r *results) finishPath() {
	for _, w := range r.Path {
		for _, m := range pathMeasures {
			if m.name == w.Name {
				w.finish(m.floors)
			}
		}
	}
}

// judge fills in Met where there is enough to tell.
func (w *row) judge() {
	for _, m := range measures {
		if m.name != w.Name || m.met == nil || w.Sluice == nil {
			continue
		}
		ratio := 0.0
		if w.Ratio != nil {
			ratio = *w.Ratio
		} else if strings.HasPrefix(m.wanted, "ratio") {
			return
		}
		met := m.met(w.Sluice.Median, ratio)
		w.Met = &met
	}
}

// median returns the middle value, or the mean of the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// report writes bench.json and prints the table, or the JSON.
func (r *results) report(p *plan) error {
	r.finish()
	r.finishPath()
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(p.Build, "bench.json")
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return err
	}
	if p.JSON {
		_, err = fmt.Println(string(text))
		return err
	}
	r.print(os.Stdout)
	progress("all values are in %s", path)
	return nil
}

// print writes the table.
func (r *results) print(out io.Writer) {
	fmt.Fprintf(out, "image %s, machine %s, %d MiB, network %s, QEMU %s, %s, %s cores\n\n",
		r.BuildID, r.Machine, r.Memory, r.Network, r.Host["qemu"], r.Host["processor"], r.Host["cores"])
	if len(r.Rows) > 0 {
		r.printRows(out)
	}
	r.printPath(out)
	r.printStages(out)
	r.printTraces(out)
	r.printOffloads(out)
	for _, n := range r.Notes {
		fmt.Fprintf(out, "\nnote: %s\n", n)
	}
}

// printRows writes the table of Sluice beside Linux.
func (r *results) printRows(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "measure\tunit\tsluice\tlinux\tratio\twanted\t\n")
	for _, w := range r.Rows {
		verdict := ""
		if w.Met != nil {
			verdict = map[bool]string{true: "met", false: "missed"}[*w.Met]
		}
		ratio := "-"
		if w.Ratio != nil {
			ratio = fmt.Sprintf("%.2f", *w.Ratio)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", w.Title, w.Unit, w.Sluice, w.Linux, ratio, w.Wanted, verdict)
	}
	t.Flush()
}

// String returns the median with three digits that count, "-" without values.
func (s *series) String() string {
	switch {
	case s == nil:
		return "-"
	case s.Median >= 100:
		return fmt.Sprintf("%.0f", s.Median)
	}
	return fmt.Sprintf("%.3g", s.Median)
}

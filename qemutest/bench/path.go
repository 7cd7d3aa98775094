package main

// The path of packets through domains: the same measures on a program in a domain,
// on the kernel's own services, on the same program under Linux, and on what
// Linux has in C.

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"text/tabwriter"

	"github.com/sluice-os/sluice/image/archive"
	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/kernel/domain/config"
)

const (
	servePackage = "github.com/sluice-os/sluice/qemutest/bench/serve"
	serveProgram = "serve.domain" // the file of it for a domain
)

// Guests of this part, in the order of the table's columns.
const (
	pathDomain = "domain" // the program in a domain
	pathKernel = "kernel" // Sluice's own services, on gVisor in the kernel
	pathGo     = "go"     // the program on Linux
	pathC      = "c"      // nginx and blocking loops on Linux
)

var pathGuests = []string{pathDomain, pathKernel, pathGo, pathC}

// floor is the least, or with atMost the largest, ratio of the domain's value to
// that of another guest.
type floor struct {
	to     string
	ratio  float64
	atMost bool
}

// pathMeasure is one row.
type pathMeasure struct {
	name, title, unit string
	floors            []floor
	take              func(ctx context.Context, s settings, m *machine) (float64, error)
}

var pathMeasures = []pathMeasure{
	{"path-http", "HTTP, 16 connections", "/s", []floor{{pathKernel, 0.8, false}, {pathGo, 1, false}}, takeRequests},
	{"path-connections", "HTTP, a connection each", "/s", []floor{{pathKernel, 0.8, false}, {pathGo, 1, false}}, takeConnections},
	{"path-tcp-in", "TCP in (discard)", "Mbit/s", []floor{{pathKernel, 0.8, false}, {pathGo, 0.6, false}}, takeIn},
	{"path-tcp-out", "TCP out (from memory)", "Mbit/s", []floor{{pathKernel, 0.8, false}, {pathGo, 0.6, false}}, takeOut},
	{"path-udp", "UDP echo, 64-byte payload", "/s", []floor{{pathKernel, 0.8, false}, {pathGo, 2, false}}, takeStackEcho},
	{"path-rtt-p50", "echo, one at a time, p50", "us", []floor{{pathGo, 1.2, true}}, takeRoundTrip(0.5)},
	{"path-rtt-p99", "echo, one at a time, p99", "us", nil, takeRoundTrip(0.99)},
}

// pathRow is one measure with its results.
type pathRow struct {
	Name   string             `json:"name"`
	Title  string             `json:"title"`
	Unit   string             `json:"unit"`
	Values map[string]*series `json:"guests"`
	// Ratios are the domain's median by each other guest's.
	Ratios map[string]float64 `json:"ratios"`
	Wanted string             `json:"wanted,omitempty"`
	Met    *bool              `json:"met,omitempty"`
}

// wantsPath reports whether any of this was asked for.
func (p *plan) wantsPath() bool {
	for _, m := range pathMeasures {
		if p.wants(m.name) {
			return true
		}
	}
	for _, m := range stageMeasures {
		if p.wants(m.name) {
			return true
		}
	}
	for _, m := range traceMeasures {
		if p.wants(m.name) {
			return true
		}
	}
	return false
}

// makePath builds the guests.
func makePath(ctx context.Context, p *plan) ([]guest, error) {
	flags, err := build.ProgramFlags(ctx, "")
	if err != nil {
		return nil, err
	}
	program, err := goProgram(ctx, filepath.Join(p.work(), serveProgram), servePackage, flags, build.ProgramEnv())
	if err != nil {
		return nil, err
	}
	list := []guest{
		{Name: pathDomain, Image: filepath.Join(p.work(), "serve.elf"), Append: p.Guests[0].Append},
		{Name: pathKernel, Image: p.Image, Append: p.Guests[0].Append},
	}
	if err := build.AddDomains(ctx, p.Image, list[0].Image, []build.Program{{
		Domain: config.Domain{
			Name: "serve", Quota: 128 << 20, Weight: 100, Start: true,
			Listen: []string{"tcp/80", "tcp/9", "udp/7"},
		}, Binary: program,
	}}); err != nil {
		return nil, err
	}
	if len(p.Guests) < 2 {
		return list, nil
	}
	linux := p.Guests[1]
	linux.Name = pathC
	same := linux
	same.Name, same.Serve = pathGo, "go"
	same.Initrd, err = linuxWith(ctx, p, "serve", servePackage)
	return append(list, same, linux), err
}

// goProgram builds a program and returns its file.
func goProgram(ctx context.Context, out, pkg string, flags, env []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", out}, flags...), pkg)...)
	cmd.Env = env
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", pkg, err, text)
	}
	return os.ReadFile(out)
}

// linuxWith appends a program to the Linux guest's initramfs, in a new file.
func linuxWith(ctx context.Context, p *plan, name, pkg string) (string, error) {
	text, err := goProgram(ctx, filepath.Join(p.work(), name), pkg, []string{"-trimpath"}, append(os.Environ(), "CGO_ENABLED=0"))
	if err != nil {
		return "", err
	}
	base, err := os.ReadFile(p.Guests[1].Initrd)
	if err != nil {
		return "", err
	}
	packed, err := archive.Pack([]archive.File{{Name: name, Data: text, Mode: 0o755}})
	if err != nil {
		return "", err
	}
	// The kernel unpacks archives one after the other.
	base = append(base, make([]byte, -len(base)&3)...)
	path := filepath.Join(p.work(), "linux-"+name+".cpio")
	return path, os.WriteFile(path, append(base, packed...), 0o644)
}

// takePath measures run after run, the guests in turns.
func (p *plan) takePath(ctx context.Context, n network, r *results) error {
	for _, m := range pathMeasures {
		if p.wants(m.name) && len(p.Path) > 0 {
			r.Path = append(r.Path, &pathRow{Name: m.name, Title: m.title, Unit: m.unit, Values: map[string]*series{}})
		}
	}
	for run := range p.Runs {
		for _, g := range p.Path {
			if err := p.onePath(ctx, n, g, r, run); err != nil {
				return err
			}
		}
	}
	return nil
}

// onePath takes all measures on one guest.
func (p *plan) onePath(ctx context.Context, n network, g guest, r *results, run int) error {
	vm, err := p.boot(ctx, n, g, p.Memory, serveAll, bootMax)
	if err != nil {
		return r.failed(ctx, "boot", g.Name, err)
	}
	defer vm.stop()
	if err := vm.ready(ctx); err != nil {
		return r.failed(ctx, "services", g.Name, err)
	}
	for _, m := range pathMeasures {
		if !p.wants(m.name) {
			continue
		}
		v, err := m.take(ctx, p.settings, vm)
		if err != nil {
			if err := r.failed(ctx, m.name, g.Name, err); err != nil {
				return err
			}
			continue
		}
		for _, w := range r.Path {
			if w.Name == m.name {
				if w.Values[g.Name] == nil {
					w.Values[g.Name] = &series{}
				}
				w.Values[g.Name].Runs = append(w.Values[g.Name].Runs, v)
			}
		}
		progress("run %d of %d, %s: %s %.4g %s", run+1, p.Runs, g.Name, m.title, v, m.unit)
	}
	return nil
}

// finish computes medians and ratios, and judges the floors.
func (w *pathRow) finish(floors []floor) {
	w.Ratios = map[string]float64{}
	for _, s := range w.Values {
		s.Median = median(s.Runs)
	}
	domain := w.Values[pathDomain]
	if domain == nil {
		return
	}
	for name, s := range w.Values {
		if name != pathDomain && s.Median > 0 {
			w.Ratios[name] = domain.Median / s.Median
		}
	}
	met := true
	for _, f := range floors {
		sign := ">="
		if f.atMost {
			sign = "<="
		}
		if w.Wanted != "" {
			w.Wanted += ", "
		}
		w.Wanted += fmt.Sprintf("%s %s %.1f", f.to, sign, f.ratio)
		ratio, ok := w.Ratios[f.to]
		if !ok {
			return // not measured: nobody can tell
		}
		met = met && (ratio <= f.ratio) == f.atMost || ratio == f.ratio
	}
	if len(floors) > 0 {
		w.Met = &met
	}
}

// printPath writes the table of the path.
func (r *results) printPath(out io.Writer) {
	if len(r.Path) == 0 {
		return
	}
	fmt.Fprintf(out, "\nThe same Go program in a domain and on Linux (go), the kernel's own services (kernel), nginx and C on Linux (c):\n\n")
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "measure\tunit\tdomain\tkernel\tgo\tc\tby kernel\tby go\tby c\twanted\t\n")
	for _, w := range r.Path {
		fmt.Fprintf(t, "%s\t%s", w.Title, w.Unit)
		for _, g := range pathGuests {
			fmt.Fprintf(t, "\t%s", w.Values[g])
		}
		for _, g := range pathGuests[1:] {
			if ratio, ok := w.Ratios[g]; ok {
				fmt.Fprintf(t, "\t%.2f", ratio)
			} else {
				fmt.Fprintf(t, "\t-")
			}
		}
		verdict := ""
		if w.Met != nil {
			verdict = map[bool]string{true: "met", false: "missed"}[*w.Met]
		}
		fmt.Fprintf(t, "\t%s\t%s\n", w.Wanted, verdict)
	}
	t.Flush()
}

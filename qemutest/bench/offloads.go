package main

// TCP of a domain with and without what the kernel and the card do for it, beside the same program
// on Linux.

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/kernel/domain/config"
)

// offloadSets are the guests, by what their domain asks for (SLUICE_OFFLOADS).
var offloadSets = []struct{ name, asks string }{
	{"all", ""}, {"no segmentation", "checksum aggregation"}, {"no aggregation", "checksum segmentation"}, {"checksum", "checksum"}, {"none", "none"},
}

// offloadMeasures are the rows.
var offloadMeasures = []pathMeasure{
	{name: "offload-in", title: "TCP in (discard)", unit: "Mbit/s", take: takeIn},
	{name: "offload-out", title: "TCP out (from memory)", unit: "Mbit/s", take: takeOut},
}

// wantsOffloads reports whether any of this was asked for.
func (p *plan) wantsOffloads() bool {
	for _, m := range offloadMeasures {
		if p.wants(m.name) {
			return true
		}
	}
	return false
}

// makeOffloads builds the guests. That of Linux is the one of the path.
func makeOffloads(ctx context.Context, p *plan) (list []guest, err error) {
	flags, err := build.ProgramFlags(ctx, "")
	if err != nil {
		return nil, err
	}
	program, err := goProgram(ctx, filepath.Join(p.work(), "serve.domain"), servePackage, flags, build.ProgramEnv())
	if err != nil {
		return nil, err
	}
	for i, set := range offloadSets {
		g := guest{Name: set.name, Image: filepath.Join(p.work(), fmt.Sprintf("offloads%d.elf", i)), Append: p.Guests[0].Append}
		if err := build.AddDomains(ctx, p.Image, g.Image, []build.Program{{
			Domain: config.Domain{
				Name: "serve", Quota: 128 << 20, Weight: 100, Start: true, Env: []string{"SLUICE_OFFLOADS=" + set.asks},
				Listen: []string{"tcp/80", "tcp/9", "udp/7"},
			}, Binary: program,
		}}); err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	if len(p.Guests) < 2 {
		return list, nil
	}
	linux := p.Guests[1]
	linux.Name, linux.Serve = pathGo, "go"
	linux.Initrd, err = linuxWith(ctx, p, "serve", servePackage)
	return append(list, linux), err
}

// takeOffloads measures run after run, the guests in turns.
func (p *plan) takeOffloads(ctx context.Context, n network, r *results) error {
	for _, m := range offloadMeasures {
		if p.wants(m.name) && len(p.Offloads) > 0 {
			r.Offloads = append(r.Offloads, &pathRow{Name: m.name, Title: m.title, Unit: m.unit, Values: map[string]*series{}})
		}
	}
	for run := range p.Runs {
		for _, g := range p.Offloads {
			if err := p.oneOffloads(ctx, n, g, r, run); err != nil {
				return err
			}
		}
	}
	for _, w := range r.Offloads {
		w.Ratios = map[string]float64{}
		for _, s := range w.Values {
			s.Median = median(s.Runs)
		}
		if linux := w.Values[pathGo]; linux != nil && linux.Median > 0 {
			for name, s := range w.Values {
				w.Ratios[name] = s.Median / linux.Median
			}
		}
	}
	return nil
}

// oneOffloads takes the measures on one guest.
func (p *plan) oneOffloads(ctx context.Context, n network, g guest, r *results, run int) error {
	vm, err := p.boot(ctx, n, g, p.Memory, serveAll, bootMax)
	if err != nil {
		return r.failed(ctx, "boot", g.Name, err)
	}
	defer vm.stop()
	if err := vm.ready(ctx); err != nil {
		return r.failed(ctx, "services", g.Name, err)
	}
	for _, w := range r.Offloads {
		for _, m := range offloadMeasures {
			if m.name != w.Name {
				continue
			}
			v, err := m.take(ctx, p.settings, vm)
			if err != nil {
				if err := r.failed(ctx, m.name, g.Name, err); err != nil {
					return err
				}
				continue
			}
			if w.Values[g.Name] == nil {
				w.Values[g.Name] = &series{}
			}
			w.Values[g.Name].Runs = append(w.Values[g.Name].Runs, v)
			progress("run %d of %d, %s: %s %.4g %s", run+1, p.Runs, g.Name, m.title, v, m.unit)
		}
	}
	return nil
}

// printOffloads writes the table.
func (r *results) printOffloads(out io.Writer) {
	if len(r.Offloads) == 0 {
		return
	}
	fmt.Fprintf(out, "\nA domain by the offloads that it asks for, and the same program on Linux (go); in brackets by that one:\n\n")
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "measure\tunit")
	for _, set := range offloadSets {
		fmt.Fprintf(t, "\t%s", set.name)
	}
	fmt.Fprintf(t, "\tgo\n")
	for _, w := range r.Offloads {
		fmt.Fprintf(t, "%s\t%s", w.Title, w.Unit)
		for _, set := range offloadSets {
			fmt.Fprintf(t, "\t%s", w.Values[set.name])
			if ratio, ok := w.Ratios[set.name]; ok {
				fmt.Fprintf(t, " (%.2f)", ratio)
			}
		}
		fmt.Fprintf(t, "\t%s\n", w.Values[pathGo])
	}
	t.Flush()
}

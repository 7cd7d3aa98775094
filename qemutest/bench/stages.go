package main

// Guest instructions by stage: with -icount the machine's clock counts
// instructions, so what the kernel says of times are numbers of instructions.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// counting makes the guest's clock count instructions while it works, and follow
// the time while it waits: the client's world has that.
var counting = []string{"-icount", "shift=0,sleep=on"}

// stages are the instructions that were executed since boot.
type stages struct{ Domain, Kernel float64 }

// stageMeasures are in the table beside pathMeasures, with one row for each stage.
var stageMeasures = []struct {
	name, title string
	take        func(ctx context.Context, s settings, m *machine) (rate float64, err error)
}{
	{"insns-udp", "UDP echo, window of 128", takeStackEcho},
	{"insns-rtt", "UDP echo, one at a time", takeEchoesAlone},
	{"insns-http", "HTTP request, 16 connections", takeRequests},
	{"insns-connection", "HTTP request, a connection each", takeConnections},
}

// ask has the shell run a command and returns the line of its output that begins
// with mark.
func (m *machine) ask(ctx context.Context, command, mark string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callsMax)
	defer cancel()
	before, err := os.Stat(m.log)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(m.keys, command+"\n"); err != nil {
		return nil, err
	}
	tick := time.NewTicker(attemptEvery)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(m.log)
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(text[min(int(before.Size()), len(text)):]) {
			if bytes.HasPrefix(line, []byte(mark)) && bytes.HasSuffix(line, []byte("\n")) {
				return line, nil
			}
		}
		select {
		case <-tick.C:
		case <-m.exited:
			return nil, fmt.Errorf("%s ended", m.guest.Name)
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: no answer to %q: %w", m.guest.Name, command, ctx.Err())
		}
	}
}

// executed asks a Sluice guest what it has executed.
func (m *machine) executed(ctx context.Context) (n stages, err error) {
	var up struct {
		Up   float64 `json:"up_ns"`
		Idle float64 `json:"idle_ns"`
	}
	var domains []struct {
		CPU float64 `json:"cpu_ns"`
	}
	for _, q := range []struct {
		command, mark string
		to            any
	}{{"domains -j", "[", &domains}, {"uptime -j", `{"up_ns"`, &up}} {
		line, err := m.ask(ctx, q.command, q.mark)
		if err != nil {
			return n, err
		}
		if err := json.Unmarshal(line, q.to); err != nil {
			return n, fmt.Errorf("%s: %w", q.command, err)
		}
	}
	for _, d := range domains {
		n.Domain += d.CPU
	}
	n.Kernel = up.Up - up.Idle - n.Domain
	return n, nil
}

// takeStages counts what each measure costs a domain's program and the kernel.
func (p *plan) takeStages(ctx context.Context, n network, r *results) error {
	if len(p.Path) == 0 {
		return nil
	}
	wanted := false
	for _, s := range stageMeasures {
		wanted = wanted || p.wants(s.name)
	}
	if !wanted {
		return nil
	}
	g := p.Path[0]
	g.Extra = counting
	vm, err := p.boot(ctx, n, g, p.Memory, serveAll, bootMax)
	if err != nil {
		return r.failed(ctx, "boot", g.Name, err)
	}
	defer vm.stop()
	if err := vm.ready(ctx); err != nil {
		return r.failed(ctx, "services", g.Name, err)
	}
	for _, s := range stageMeasures {
		if !p.wants(s.name) {
			continue
		}
		before, err := vm.executed(ctx)
		if err != nil {
			return r.failed(ctx, s.name, g.Name, err)
		}
		start := time.Now()
		rate, err := s.take(ctx, p.settings, vm)
		times := rate * time.Since(start).Seconds()
		after, problem := vm.executed(ctx)
		if err == nil {
			err = problem
		}
		if err == nil && times < 1 {
			err = fmt.Errorf("nothing was answered")
		}
		if err != nil {
			if err := r.failed(ctx, s.name, g.Name, err); err != nil {
				return err
			}
			continue
		}
		row := &stageRow{Name: s.name, Title: s.title, Domain: (after.Domain - before.Domain) / times, Kernel: (after.Kernel - before.Kernel) / times}
		r.Stages = append(r.Stages, row)
		progress("%s: %s: %.0f instructions in the domain, %.0f in the kernel", g.Name, s.title, row.Domain, row.Kernel)
	}
	return nil
}

// stageRow is what one answer takes, in guest instructions.
type stageRow struct {
	Name   string  `json:"name"`
	Title  string  `json:"title"`
	Domain float64 `json:"domain"`
	Kernel float64 `json:"kernel"`
}

// printStages writes the table of the stages.
func (r *results) printStages(out io.Writer) {
	if len(r.Stages) == 0 {
		return
	}
	fmt.Fprintf(out, "\nGuest instructions an answer of a domain (-icount):\n\n%-34s%10s%10s\n", "", "domain", "kernel")
	for _, s := range r.Stages {
		fmt.Fprintf(out, "%-34s%10.0f%10.0f\n", s.Title, s.Domain, s.Kernel)
	}
}

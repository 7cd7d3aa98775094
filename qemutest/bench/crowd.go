package main

// A crowd of domains of which one at a time is busy: does packet memory follow the
// load?

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/kernel/domain/config"
)

const (
	crowdSize = 32
	// crowdMemory is the machine's in MiB: each domain's program lies in the image.
	crowdMemory = 1024
	crowdQuota  = 12 << 20
	crowdPort   = 8000 // of the second domain; the first has httpPort
	// crowdBusy is how long a domain is busy, and crowdQuiet how long nobody is, after
	// it: longer than a pool takes to shrink.
	crowdBusy, crowdQuiet = 6 * time.Second, 14 * time.Second
	crowdEvery            = 500 * time.Millisecond
	// crowdConnections is how many connections wait for the memory of one.
	crowdConnections = 200
)

// crowdMeasures are rows of the table.
var crowdMeasures = []string{"crowd-idle", "crowd-busy", "connection-memory"}

// wantsCrowd reports whether any of this was asked for.
func (p *plan) wantsCrowd() bool {
	for _, name := range crowdMeasures {
		if p.wants(name) {
			return true
		}
	}
	return false
}

func crowdName(i int) string { return fmt.Sprintf("d%02d", i) }

func crowdDoor(i int) int {
	if i == 0 {
		return httpPort
	}
	return crowdPort + i
}

// makeCrowd builds the image; it returns its path.
func makeCrowd(ctx context.Context, p *plan) (string, error) {
	flags, err := build.ProgramFlags(ctx, "")
	if err != nil {
		return "", err
	}
	program, err := goProgram(ctx, filepath.Join(p.work(), "serve.domain"), servePackage, flags, build.ProgramEnv())
	if err != nil {
		return "", err
	}
	var list []build.Program
	for i := range crowdSize {
		list = append(list, build.Program{Domain: config.Domain{
			Name: crowdName(i), Args: []string{fmt.Sprint(crowdDoor(i))}, Quota: crowdQuota, Weight: 100, Start: true,
			Listen: []string{fmt.Sprintf("tcp/%d", crowdDoor(i))},
		}, Binary: program})
	}
	path := filepath.Join(p.work(), "crowd.elf")
	return path, build.AddDomains(ctx, p.Image, path, list)
}

// held is the packet memory of all domains at a time, in KiB by the domain's name.
type held struct {
	at time.Duration
	by map[string]int
}

// packetMemory asks for what each domain's channel has.
func (m *machine) packetMemory(ctx context.Context, since time.Time) (held, error) {
	h := held{by: map[string]int{}}
	line, err := m.ask(ctx, "pools -j", "[")
	if err != nil {
		return h, err
	}
	var rows []struct {
		Domain string
		Bytes  int
	}
	if err := json.Unmarshal(line, &rows); err != nil {
		return h, fmt.Errorf("pools -j: %w", err)
	}
	h.at = time.Since(since)
	for _, r := range rows {
		h.by[r.Domain] += r.Bytes
	}
	for name := range h.by {
		h.by[name] >>= 10
	}
	return h, nil
}

// takeCrowd has three of the domains be busy, one after the other.
func (p *plan) takeCrowd(ctx context.Context, n network, r *results) error {
	if p.Crowd == "" {
		return nil
	}
	g := p.Guests[0]
	g.Name, g.Image = "crowd", p.Crowd
	vm, err := p.boot(ctx, n, g, crowdMemory, serveAll, bootMax)
	if err != nil {
		return r.failed(ctx, "boot", g.Name, err)
	}
	defer vm.stop()
	busy := []int{0, 10, 20}
	for _, i := range busy {
		if err := firstAnswer(ctx, n.dialAddress(crowdDoor(i))); err != nil {
			return r.failed(ctx, "crowd", g.Name, err)
		}
	}
	start := time.Now()
	var samples []held
	watch := func(span time.Duration) error {
		for end := time.Now().Add(span); time.Now().Before(end); {
			h, err := vm.packetMemory(ctx, start)
			if err != nil {
				return err
			}
			samples = append(samples, h)
			select {
			case <-time.After(crowdEvery):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	if err := watch(crowdQuiet); err != nil {
		return r.failed(ctx, "crowd", g.Name, err)
	}
	most := 0
	for _, i := range busy {
		progress("crowd: %s is busy", crowdName(i))
		loaded := make(chan error, 1)
		go func() { loaded <- downloads(ctx, n.dialAddress(crowdDoor(i)), crowdBusy) }()
		err := watch(crowdBusy)
		if problem := <-loaded; err == nil {
			err = problem
		}
		if err == nil {
			err = watch(crowdQuiet)
		}
		if err != nil {
			return r.failed(ctx, "crowd", g.Name, err)
		}
	}
	for _, h := range samples {
		for _, kib := range h.by {
			most = max(most, kib)
		}
	}
	last := 0
	for _, kib := range samples[len(samples)-1].by {
		last = max(last, kib)
	}
	r.add("crowd-busy", "sluice", float64(most))
	r.add("crowd-idle", "sluice", float64(last))
	progress("crowd: a busy channel has %d KiB at most, the largest idle one %d", most, last)
	if err := os.WriteFile(filepath.Join(p.Build, "crowd.md"), []byte(plot(samples, busy)), 0o644); err != nil {
		return err
	}
	return p.takeConnectionMemory(ctx, vm, r)
}

// downloads has two clients download all the time.
func downloads(ctx context.Context, address string, span time.Duration) error {
	_, err := together(ctx, span, 2, func(running func() bool, count func()) error {
		for running() {
			c, end, err := dial(ctx, "tcp", address, span)
			if err != nil {
				return err
			}
			if _, err = fmt.Fprint(c, "GET /bytes?n=20000000 HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n"); err == nil {
				_, err = io.Copy(io.Discard, c)
			}
			end()
			if err != nil {
				return err
			}
			count()
		}
		return nil
	})
	return err
}

// takeConnectionMemory has connections that say nothing, and looks at the memory that the
// domain has more.
func (p *plan) takeConnectionMemory(ctx context.Context, vm *machine, r *results) error {
	used := func() (float64, error) {
		line, err := vm.ask(ctx, "domains -j", "[")
		if err != nil {
			return 0, err
		}
		var list []struct {
			Name   string
			Memory float64
		}
		if err := json.Unmarshal(line, &list); err != nil {
			return 0, fmt.Errorf("domains -j: %w", err)
		}
		for _, d := range list {
			if d.Name == crowdName(1) {
				return d.Memory, nil
			}
		}
		return 0, fmt.Errorf("domains -j does not list %s", crowdName(1))
	}
	before, err := used()
	if err != nil {
		return r.failed(ctx, "connection-memory", "sluice", err)
	}
	var ends []func()
	defer func() {
		for _, end := range ends {
			end()
		}
	}()
	for range crowdConnections {
		c, end, err := dial(ctx, "tcp", vm.net.dialAddress(crowdDoor(1)), p.Span)
		if err != nil {
			return r.failed(ctx, "connection-memory", "sluice", err)
		}
		ends = append(ends, end)
		// The server has taken it when it has answered.
		if _, err := io.WriteString(c, keptRequest); err != nil {
			return r.failed(ctx, "connection-memory", "sluice", err)
		}
		var first [1]byte
		if _, err := io.ReadFull(c, first[:]); err != nil {
			return r.failed(ctx, "connection-memory", "sluice", err)
		}
	}
	after, err := used()
	if err != nil {
		return r.failed(ctx, "connection-memory", "sluice", err)
	}
	each := (after - before) / crowdConnections / 1024
	r.add("connection-memory", "sluice", each)
	progress("crowd: %.1f KiB for each of %d connections", each, crowdConnections)
	return nil
}

// plot draws the memory of the busy domains, and of all others together, as a diagram for
// Markdown.
func plot(samples []held, busy []int) string {
	var text strings.Builder
	step := max(len(samples)/60, 1)
	line := func(what string, value func(h held) int) {
		var list []string
		for i := 0; i < len(samples); i += step {
			list = append(list, fmt.Sprint(value(samples[i])))
		}
		fmt.Fprintf(&text, "    %s [%s]\n", what, strings.Join(list, ", "))
	}
	text.WriteString("```mermaid\nxychart-beta\n")
	line("x-axis \"seconds\"", func(h held) int { return int(h.at.Seconds()) })
	text.WriteString("    y-axis \"KiB\"\n")
	others := map[string]bool{}
	for _, h := range samples {
		for name := range h.by {
			others[name] = true
		}
	}
	for _, i := range busy {
		delete(others, crowdName(i))
		line("line", func(h held) int { return h.by[crowdName(i)] })
	}
	line("line", func(h held) (sum int) {
		for name := range others {
			sum += h.by[name]
		}
		return sum
	})
	text.WriteString("```\n")
	return text.String()
}

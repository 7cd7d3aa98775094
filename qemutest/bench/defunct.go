package main

// How long it takes until the memory of a channel is free that the kernel takes back, in
// the middle of a download.

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/kernel/domain/config"
)

const (
	defunctTimes = 20
	// defunctAfter is how long a download runs before.
	defunctAfter = 300 * time.Millisecond
)

// defunctMeasures are rows of the table.
var defunctMeasures = []string{"defunct", "defunct-memory"}

// wantsDefunct reports whether any of this was asked for.
func (p *plan) wantsDefunct() bool {
	for _, name := range defunctMeasures {
		if p.wants(name) {
			return true
		}
	}
	return false
}

// makeDefunct builds the image; it returns its path.
func makeDefunct(ctx context.Context, p *plan) (string, error) {
	flags, err := build.ProgramFlags(ctx, "")
	if err != nil {
		return "", err
	}
	program, err := goProgram(ctx, filepath.Join(p.work(), "serve.domain"), servePackage, flags, build.ProgramEnv())
	if err != nil {
		return "", err
	}
	path := filepath.Join(p.work(), "defunct.elf")
	return path, build.AddDomains(ctx, p.Image, path, []build.Program{{Domain: config.Domain{
		Name: crowdName(0), Args: []string{fmt.Sprint(httpPort)}, Quota: 48 << 20, Weight: 100, Start: true,
		Listen: []string{fmt.Sprintf("tcp/%d", httpPort)},
	}, Binary: program}})
}

// taken is the kernel's line.
var taken = regexp.MustCompile(`channel defunct .* freed=(\d+) us=(\d+)`)

// takeDefunct takes the memory of one channel again and again.
func (p *plan) takeDefunct(ctx context.Context, n network, r *results) error {
	if p.Defunct == "" {
		return nil
	}
	g := p.Guests[0]
	g.Name, g.Image = "defunct", p.Defunct
	vm, err := p.boot(ctx, n, g, domainsMemory, serveAll, bootMax)
	if err != nil {
		return r.failed(ctx, "defunct", g.Name, err)
	}
	defer vm.stop()
	address := n.dialAddress(httpPort)
	longest := 0.0
	for range defunctTimes {
		if err := firstAnswer(ctx, address); err != nil {
			return r.failed(ctx, "defunct", g.Name, err)
		}
		ended := make(chan error, 1)
		go func() { ended <- downloads(ctx, address, time.Minute) }()
		select {
		case <-time.After(defunctAfter):
		case <-ctx.Done():
			return ctx.Err()
		}
		line, err := vm.ask(ctx, "channel defunct "+crowdName(0), "[")
		if err != nil {
			return r.failed(ctx, "defunct", g.Name, err)
		}
		<-ended // it is reset
		m := taken.FindSubmatch(line)
		if m == nil {
			return r.failed(ctx, "defunct", g.Name, fmt.Errorf("channel defunct printed %q", line))
		}
		freed, _ := strconv.ParseFloat(string(m[1]), 64)
		us, _ := strconv.ParseFloat(string(m[2]), 64)
		r.add("defunct", "sluice", us/1000)
		r.add("defunct-memory", "sluice", freed/1024)
		longest = max(longest, us/1000)
	}
	progress("defunct: %.3g ms at most, of %d", longest, defunctTimes)
	return nil
}

package main

// The order of work: what is prepared outside the namespace, and the runs.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	imageelf "github.com/sluice-os/sluice/image/elf"
	"github.com/sluice-os/sluice/image/qemu"
)

// plan is all that the measuring process needs to know.
type plan struct {
	settings
	QEMU    string // path
	BuildID string
	Guests  []guest // Sluice first; Linux where it can be had
	Domains domainImages
	Path    []guest
	Cards   []guest // with Intel's cards
	Disks   []guest // that start from one
	// Offloads are domains that ask for some of them.
	Offloads []guest
	Crowd    string   // an image; "" for none
	Defunct  string   // likewise
	Notes    []string // what cannot be measured, and why
}

// work is the folder for consoles and the Linux guest.
func (p *plan) work() string { return filepath.Join(p.Build, "bench") }

// prepare looks for what is needed and builds the Linux guest.
func prepare(ctx context.Context, s settings) (plan, error) {
	p := plan{settings: s}
	var err error
	if p.QEMU, err = qemu.Find(s.Machine); err != nil {
		return p, err
	}
	image, err := os.ReadFile(s.Image)
	if err != nil {
		return p, fmt.Errorf("%w: build it with make", err)
	}
	if p.BuildID = imageelf.BuildID(image); p.BuildID == "" {
		return p, fmt.Errorf("%s has no build id: it was not made by image build", s.Image)
	}
	if err := os.MkdirAll(p.work(), 0o755); err != nil {
		return p, err
	}
	p.Guests = []guest{{Name: "sluice", Image: s.Image, Append: "ip=" + guestIP + bits}}
	progress("making the Linux guest")
	linux, err := makeLinux(ctx, p.work(), s)
	switch {
	case ctx.Err() != nil:
		return p, ctx.Err()
	case errors.Is(err, errNotInstalled):
		p.Notes = append(p.Notes, fmt.Sprintf("no Linux guest (%v): install it with: %s", err, installLinux))
	case err != nil:
		p.Notes = append(p.Notes, fmt.Sprintf("no Linux guest: %v", err))
	default:
		p.Guests = append(p.Guests, linux)
		if _, err := os.Stat(iperfPath); err != nil {
			p.Notes = append(p.Notes, "no iperf3: install it with: sudo apt-get install iperf3")
		}
	}
	if p.wantsDomains() {
		progress("making the images with domains")
		if p.Domains, err = makeDomains(ctx, &p); err != nil {
			p.Notes = append(p.Notes, fmt.Sprintf("no domains: %v", err))
		}
	}
	if p.wantsDefunct() {
		progress("making the image of which a channel is taken")
		if p.Defunct, err = makeDefunct(ctx, &p); err != nil {
			p.Notes = append(p.Notes, fmt.Sprintf("no defunct channels: %v", err))
			p.Defunct = ""
		}
	}
	if p.wantsCrowd() {
		progress("making the image with %d domains", crowdSize)
		if p.Crowd, err = makeCrowd(ctx, &p); err != nil {
			p.Notes = append(p.Notes, fmt.Sprintf("no crowd of domains: %v", err))
			p.Crowd = ""
		}
	}
	if p.wantsPath() {
		progress("making the guests with the same program")
		if p.Path, err = makePath(ctx, &p); err != nil {
			p.Notes = append(p.Notes, fmt.Sprintf("no path of domains: %v", err))
		}
	}
	if p.wantsCard("e1000") || p.wantsCard("e1000e") {
		progress("making the guests with Intel's cards")
		if p.Cards, err = makeCards(ctx, &p); err != nil {
			p.Notes = append(p.Notes, fmt.Sprintf("no cards of Intel's: %v", err))
		}
	}
	if p.wantsDisks() {
		progress("making the disks")
		if p.Disks, err = makeDisks(&p); err != nil {
			p.Notes = append(p.Notes, fmt.Sprintf("no disks: %v", err))
		}
	}
	if p.wantsOffloads() {
		progress("making the guests with some offloads")
		if p.Offloads, err = makeOffloads(ctx, &p); err != nil {
			p.Notes = append(p.Notes, fmt.Sprintf("no offloads: %v", err))
			p.Offloads = nil
		}
	}
	for _, note := range p.Notes {
		progress("%s", note)
	}
	return p, nil
}

// progress tells a person that something goes on.
func progress(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", values...)
}

// measure takes all measures over n and reports them. What fails is noted and
// the rest is measured.
func (p *plan) measure(ctx context.Context, n network) error {
	r := p.newResults(n)
	p.sizes(r)
	if err := p.takeDomains(ctx, r); err != nil {
		return err
	}
	if err := p.takeDefunct(ctx, n, r); err != nil {
		return err
	}
	if err := p.takeCrowd(ctx, n, r); err != nil {
		return err
	}
	if err := p.takePath(ctx, n, r); err != nil {
		return err
	}
	if err := p.takeStages(ctx, n, r); err != nil {
		return err
	}
	if err := p.takeTraces(ctx, n, r); err != nil {
		return err
	}
	if err := p.takeCards(ctx, n, r); err != nil {
		return err
	}
	if err := p.takeDisks(ctx, n, r); err != nil {
		return err
	}
	if err := p.takeForwarding(ctx, n, r); err != nil {
		return err
	}
	if err := p.takeOffloads(ctx, n, r); err != nil {
		return err
	}
	if err := p.takeTested(ctx, r); err != nil {
		return err
	}
	for run := range p.Runs {
		for _, g := range p.Guests {
			if err := p.oneBoot(ctx, n, g, r, run); err != nil {
				return err
			}
		}
	}
	for run := range p.Runs {
		for _, g := range p.Guests {
			if err := p.oneLoad(ctx, n, g, r, run); err != nil {
				return err
			}
		}
	}
	if p.wants("memory") {
		for _, g := range p.Guests {
			least, err := p.leastMemory(ctx, n, g)
			if err != nil {
				return err
			}
			r.add("memory", g.Name, float64(least))
			progress("%s: least memory %d MiB", g.Name, least)
		}
	}
	return r.report(p)
}

// sizes adds the sizes of the files that boot.
func (p *plan) sizes(r *results) {
	if !p.wants("size") {
		return
	}
	for _, g := range p.Guests {
		total := int64(0)
		for _, path := range []string{g.Image, g.Initrd} {
			if info, err := os.Stat(path); err == nil {
				total += info.Size()
			}
		}
		r.add("size", g.Name, float64(total)/1e6)
	}
}

// oneBoot boots a guest for its time to the first answer.
func (p *plan) oneBoot(ctx context.Context, n network, g guest, r *results, run int) error {
	if !p.wants("boot") {
		return nil
	}
	m, err := p.boot(ctx, n, g, p.Memory, serveHTTP, bootMax)
	if err != nil {
		return r.failed(ctx, "boot", g.Name, err)
	}
	m.stop()
	r.add("boot", g.Name, m.first.Seconds())
	progress("run %d of %d, %s: first answer after %.2f s", run+1, p.Runs, g.Name, m.first.Seconds())
	return nil
}

// oneLoad boots a guest and takes what is measured on a running one.
func (p *plan) oneLoad(ctx context.Context, n network, g guest, r *results, run int) error {
	var todo []measure
	for _, m := range measures {
		if m.take != nil && p.wants(m.name) && p.offers(g, m) {
			todo = append(todo, m)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	vm, err := p.boot(ctx, n, g, p.Memory, serveAll, bootMax)
	if err != nil {
		return r.failed(ctx, "boot", g.Name, err)
	}
	defer vm.stop()
	if err := vm.ready(ctx); err != nil {
		return r.failed(ctx, "services", g.Name, err)
	}
	for _, m := range todo {
		v, err := m.take(ctx, p.settings, vm)
		if err != nil {
			if err := r.failed(ctx, m.name, g.Name, err); err != nil {
				return err
			}
			continue
		}
		r.add(m.name, g.Name, v)
		progress("run %d of %d, %s: %s %.4g %s", run+1, p.Runs, g.Name, m.title, v, m.unit)
	}
	return nil
}

// offers reports whether a guest has what a measure needs.
func (p *plan) offers(g guest, m measure) bool {
	if !m.linuxOnly {
		return true
	}
	_, err := os.Stat(iperfPath)
	return err == nil && g.Name == "linux"
}

const (
	// memoryStep and memoryTop bound the search for the least memory, in MiB.
	memoryStep = 4
	memoryTop  = 256
	// memoryAsked is how many pages a guest has to serve.
	memoryAsked = 5
	// memoryWait is when a guest is taken to lack memory: some end, some hang.
	memoryWait = 15 * time.Second
)

// leastMemory returns the least memory, in MiB, with which a guest serves its
// page.
func (p *plan) leastMemory(ctx context.Context, n network, g guest) (int, error) {
	steps, err := least(memoryTop/memoryStep, func(steps int) (bool, error) {
		ok := p.serves(ctx, n, g, steps*memoryStep)
		return ok, ctx.Err()
	})
	if errors.Is(err, errNever) {
		err = fmt.Errorf("%s does not serve with %d MiB", g.Name, memoryTop)
	}
	return steps * memoryStep, err
}

// serves reports whether a guest of that memory answers some requests.
func (p *plan) serves(ctx context.Context, n network, g guest, memory int) bool {
	m, err := p.boot(ctx, n, g, memory, serveHTTP, memoryWait)
	if err != nil {
		return false
	}
	defer m.stop()
	for range memoryAsked {
		if fetch(ctx, n.dialAddress(httpPort)) != nil {
			return false
		}
	}
	return true
}

var errNever = errors.New("no size is enough")

// least returns the smallest n from 1 to top for which enough says yes, given
// that with n every larger one is enough.
func least(top int, enough func(int) (bool, error)) (int, error) {
	low, high := 0, top+1 // low is not enough; high is, or does not exist
	for high-low > 1 {
		middle := (low + high) / 2
		ok, err := enough(middle)
		if err != nil {
			return 0, err
		}
		if ok {
			high = middle
		} else {
			low = middle
		}
	}
	if high > top {
		return 0, errNever
	}
	return high, nil
}

package main

// What domains cost: measured on machines of their own, without a network.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/nexus/abi"
)

const (
	callsPackage = "github.com/sluice-os/sluice/qemutest/bench/calls"
	idlePackage  = "github.com/sluice-os/sluice/userland/apps/greet"
	idleDomains  = 16
	// domainsMemory is for sixteen of them, in MiB.
	domainsMemory = 256
	// callsMax is when a machine that measures calls has failed.
	callsMax = 2 * time.Minute
)

// domainMeasures are taken by takeDomains.
var domainMeasures = []string{"call", "call-insns", "switch", "switch-insns", "domain-start", "domain-memory", "domain-idle"}

// domainImages are what takeDomains boots; prepare builds them.
type domainImages struct {
	Calls, Switch, Start, Idle string
	Linux                      string // an initramfs with the program calls; "" for none
}

// makeDomains builds the images.
func makeDomains(ctx context.Context, p *plan) (d domainImages, err error) {
	programs := map[string][]byte{}
	flags, err := build.ProgramFlags(ctx, "")
	if err != nil {
		return d, err
	}
	for name, pkg := range map[string]string{"calls": callsPackage, "idle": idlePackage} {
		out := filepath.Join(p.work(), name+".domain")
		if programs[name], err = goProgram(ctx, out, pkg, flags, build.ProgramEnv()); err != nil {
			return d, err
		}
	}
	domain := func(name, program string, args ...string) build.Program {
		return build.Program{Domain: config.Domain{Name: name, Args: args, Quota: 8 << 20, Weight: 100, Start: true}, Binary: programs[program]}
	}
	idle := []build.Program{}
	for i := range idleDomains {
		idle = append(idle, domain(fmt.Sprintf("idle-%d", i), "idle", "hello"))
	}
	for _, image := range []struct {
		path    *string
		name    string
		domains []build.Program
	}{
		{&d.Calls, "calls.elf", []build.Program{domain("a", "calls", "null", fmt.Sprint(abi.SysNotify), "200000")}},
		{&d.Switch, "switch.elf", []build.Program{
			domain("a", "calls", "switch", fmt.Sprint(abi.SysWait), "50000"), domain("b", "calls", "switch", fmt.Sprint(abi.SysWait), "50000")}},
		{&d.Start, "start.elf", []build.Program{domain("a", "calls", "start")}},
		{&d.Idle, "idle.elf", idle},
	} {
		*image.path = filepath.Join(p.work(), image.name)
		if err := build.AddDomains(ctx, p.Image, *image.path, image.domains); err != nil {
			return d, err
		}
	}
	if len(p.Guests) > 1 {
		d.Linux, err = linuxWith(ctx, p, "calls", callsPackage)
	}
	return d, err
}

// icount makes the guest's clock count instructions.
var icount = []string{"-icount", "shift=0,sleep=off"}

// wantsDomains reports whether anything of domains was asked for.
func (p *plan) wantsDomains() bool {
	for _, name := range domainMeasures {
		if p.wants(name) {
			return true
		}
	}
	return false
}

// takeDomains measures run after run.
func (p *plan) takeDomains(ctx context.Context, r *results) error {
	if p.Domains.Calls == "" {
		return nil
	}
	for run := range p.Runs {
		for _, t := range []struct {
			name, guest, image, initrd, what string
			each                             float64 // of what is printed
			extra                            []string
		}{
			{"call", "sluice", p.Domains.Calls, "", "null", 1, nil},
			{"call", "linux", "", p.Domains.Linux, "null", 1, nil},
			{"call-insns", "sluice", p.Domains.Calls, "", "null", 1, icount},
			{"call-insns", "linux", "", p.Domains.Linux, "null", 1, icount},
			{"switch", "sluice", p.Domains.Switch, "", "switch", 0.5, nil},
			{"switch", "linux", "", p.Domains.Linux, "switch", 0.5, nil},
			{"switch-insns", "sluice", p.Domains.Switch, "", "switch", 0.5, icount},
			{"switch-insns", "linux", "", p.Domains.Linux, "switch", 0.5, icount},
			{"domain-start", "sluice", p.Domains.Start, "", "start", 1e-6, nil},
		} {
			if !p.wants(t.name) || t.guest == "linux" && t.initrd == "" || t.extra != nil && run > 0 {
				continue
			}
			c := qemu.Config{Machine: p.Machine, Memory: domainsMemory, Image: t.image, Append: "log=warn", Extra: t.extra}
			if t.guest == "linux" {
				c.Image, c.Append = p.Guests[1].Image, p.Guests[1].Append+" serve=calls"
				c.Extra = append(c.Extra[:len(c.Extra):len(c.Extra)], "-initrd", t.initrd)
			}
			v, err := p.line(ctx, c, "calls: "+t.what+" ")
			if err != nil {
				if err := r.failed(ctx, t.name, t.guest, err); err != nil {
					return err
				}
				continue
			}
			r.add(t.name, t.guest, v*t.each)
			progress("run %d of %d, %s: %s %.4g", run+1, p.Runs, t.guest, t.name, v*t.each)
		}
		if err := p.idleDomains(ctx, r, run); err != nil {
			return err
		}
	}
	return nil
}

// console starts a machine and returns its output and its end.
func (p *plan) console(ctx context.Context, c qemu.Config) (*exec.Cmd, io.Reader, io.WriteCloser, error) {
	args, err := c.Args()
	if err != nil {
		return nil, nil, nil, err
	}
	cmd := exec.CommandContext(ctx, p.QEMU, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	return cmd, out, in, cmd.Start()
}

// line boots a machine until its console shows a number behind a mark.
func (p *plan) line(ctx context.Context, c qemu.Config, mark string) (v float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, callsMax)
	defer cancel()
	cmd, out, _, err := p.console(ctx, c)
	if err != nil {
		return 0, err
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // killed
	}()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, text, ok := strings.Cut(lines.Text(), mark); ok {
			_, err := fmt.Sscanf(text, "%g", &v)
			return v, err
		}
	}
	return 0, errors.Join(fmt.Errorf("the console did not show %q", mark), ctx.Err())
}

// idleDomains watches a machine with idle domains.
func (p *plan) idleDomains(ctx context.Context, r *results, run int) error {
	if !p.wants("domain-memory") && !p.wants("domain-idle") {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callsMax+p.Idle)
	defer cancel()
	cmd, out, keys, err := p.console(ctx, qemu.Config{Machine: p.Machine, Memory: domainsMemory, Image: p.Domains.Idle})
	if err != nil {
		return err
	}
	exited := make(chan struct{})
	var list []struct{ Peak uint64 }
	found := make(chan error, 1)
	go func() {
		defer close(exited)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if text := lines.Bytes(); bytes.HasPrefix(text, []byte("[{")) {
				found <- json.Unmarshal(text, &list)
			}
		}
	}()
	defer func() {
		cancel()
		<-exited
		_ = cmd.Wait() // killed
	}()
	m := &machine{guest: guest{Name: "sluice"}, cmd: cmd, exited: exited}
	idle, err := takeIdle(ctx, p.settings, m)
	if err != nil {
		return r.failed(ctx, "domain-idle", "sluice", err)
	}
	r.add("domain-idle", "sluice", idle)
	if _, err := io.WriteString(keys, "domains -j\n"); err != nil {
		return err
	}
	select {
	case err = <-found:
	case <-exited:
		err = errors.New("the machine ended")
	}
	if err != nil || len(list) == 0 {
		return r.failed(ctx, "domain-memory", "sluice", fmt.Errorf("domains -j: %w", err))
	}
	r.add("domain-memory", "sluice", float64(list[0].Peak)/(1<<20))
	progress("run %d of %d, sluice: %d idle domains take %.2f %% of a core and %.2f MiB each", run+1, p.Runs, idleDomains, idle, float64(list[0].Peak)/(1<<20))
	return nil
}

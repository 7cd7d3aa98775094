package manifest

import (
	"cmp"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/kernel/domain/picker"
	"github.com/sluice-os/sluice/kernel/domain/restart"
	"github.com/sluice-os/sluice/nexus/aqm"
)

// Boards are the boards that a manifest may name.
var Boards = []string{"microvm", "pc", "firecracker", "cloudhypervisor"}

// Defaults of a domain.
const (
	defaultMemory     = 128 << 20 // of the machine
	defaultQuota      = 16 << 20
	defaultBackoff    = time.Second
	defaultBackoffMax = time.Minute
)

// manifest checks all of the document.
func (c *checker) manifest(doc *document) *Manifest {
	m := &Manifest{Board: doc.Board, Memory: defaultMemory}
	if m.Board == "" {
		m.Board = Boards[0]
	}
	if !slices.Contains(Boards, m.Board) {
		c.report([]string{"board"}, "unknown board %q: the boards are %s", m.Board, strings.Join(Boards, ", "))
	}
	if doc.Memory != "" {
		m.Memory = c.size([]string{"memory"}, doc.Memory)
	}
	for _, t := range doc.NIC {
		m.named = m.named || t != nil && t.Path != ""
	}
	m.Options = append(c.host(&doc.Host), c.nics(doc.NIC)...)
	m.Options = append(m.Options, c.router(doc.Router)...)
	m.ISIS = c.isis(doc)
	names := slices.SortedFunc(maps.Keys(doc.Domain), func(a, b string) int {
		return cmp.Compare(c.lines["domain\x00"+a], c.lines["domain\x00"+b])
	})
	if len(names) > config.Max {
		c.report([]string{"domain", names[config.Max]}, "%d domains: want %d at most", len(names), config.Max)
	}
	sum := uint64(0)
	for _, name := range names {
		table := doc.Domain[name]
		if table == nil { // an empty one
			table = &domainTable{}
		}
		d := c.domain(name, table)
		c.card(doc, &d)
		if d.Start {
			sum += d.Quota
		}
		m.Domains = append(m.Domains, d)
	}
	c.ports(m)
	c.pipes(m)
	c.links(m)
	if sum+KernelMemory > m.Memory {
		c.report([]string{"memory"}, "the domains that start with the machine may take %d MiB and the kernel needs %d, but the machine has %d MiB: want memory = \"%dMiB\" or smaller domains",
			sum>>20, KernelMemory>>20, m.Memory>>20, (sum+KernelMemory+1<<20-1)>>20)
	}
	return m
}

// domain checks one domain.
func (c *checker) domain(name string, t *domainTable) Domain {
	at := func(key string) []string { return []string{"domain", name, key} }
	d := Domain{Package: t.Package, Files: t.Files}
	d.Name, d.Args, d.Start, d.Observe, d.Pinned = name, t.Args, true, t.Observe, t.Pinned
	d.Quota, d.Weight, d.Policy = defaultQuota, picker.DefaultWeight, restart.OnFailure
	d.Backoff, d.BackoffMax = defaultBackoff, defaultBackoffMax
	d.NIC, d.Listen, d.Connect, d.Pipes, d.Link = t.NIC, t.Listen, t.Connect, t.Pipes, t.Link
	if t.Package == "" {
		c.report(at("package"), "domain %s has no package: want package = \"./FOLDER\" or an import path", name)
	} else if strings.HasPrefix(t.Package, "-") || strings.ContainsAny(t.Package, " \t\n") {
		c.report(at("package"), "%q is no package: want a folder or an import path", t.Package)
	}
	for _, key := range slices.Sorted(maps.Keys(t.Env)) {
		if strings.Contains(key, "=") {
			c.report([]string{"domain", name, "env", key}, "the variable %q: want a name without =", key)
		}
		d.Env = append(d.Env, key+"="+t.Env[key])
	}
	if t.Memory != "" {
		d.Quota = c.size(at("memory"), t.Memory)
	}
	if t.Weight != nil {
		d.Weight = *t.Weight
	}
	if t.Cap != "" {
		var ok bool
		if d.Cap, ok = thousandths(t.Cap); !ok {
			c.report(at("cap"), "the cap %q: want a part of one processor from \"0.1%%\" to \"100%%\", with one digit behind the point at most", t.Cap)
		}
	}
	if t.Rate != "" {
		rate, err := aqm.ParseRate(t.Rate)
		if err != nil {
			c.report(at("rate"), "%v", err)
		}
		d.Rate = int64(rate)
	}
	if t.Restart != "" {
		var ok bool
		if d.Policy, ok = restart.Parse(t.Restart); !ok {
			c.report(at("restart"), "the restart policy %q: want never, on-failure or always", t.Restart)
		}
	}
	c.duration(at("backoff"), t.Backoff, &d.Backoff)
	if t.BackoffMax == "" {
		d.BackoffMax = max(d.BackoffMax, d.Backoff)
	}
	c.duration(at("backoff-max"), t.BackoffMax, &d.BackoffMax)
	if t.Start != nil {
		d.Start = *t.Start
	}
	for _, to := range slices.Sorted(maps.Keys(t.Files)) {
		c.fileNames([]string{"domain", name, "files", to}, to, t.Files[to])
	}
	if err := d.Check(); err != nil {
		c.report([]string{"domain", name}, "domain %s: %v", name, err)
	}
	return d
}

// thousandths reads "25%" and "12.5%".
func thousandths(text string) (n int, ok bool) {
	number, ok := strings.CutSuffix(text, "%")
	percent, tenth, point := strings.Cut(number, ".")
	if !point {
		tenth = "0"
	}
	v, err := strconv.ParseUint(percent+tenth, 10, 16)
	if !ok || err != nil || percent == "" || len(tenth) != 1 || v < 1 || v > picker.Whole {
		return 0, false
	}
	return int(v), true
}

func (c *checker) fileNames(at []string, to, from string) {
	if !path.IsAbs(to) || path.Clean(to) != to || to == "/" || strings.ContainsRune(to, 0) {
		c.report(at, "the path %q in the domain: want one like /etc/app.conf", to)
	}
	if !filepath.IsLocal(from) || strings.ContainsRune(from, 0) {
		c.report(at, "the file %q: want a path below the manifest's folder", from)
	}
}

func (c *checker) duration(at []string, text string, d *time.Duration) {
	if text == "" {
		return
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		c.report(at, "the duration %q: want one like \"500ms\" or \"1m\"", text)
		return
	}
	*d = v
}

// size reads "16MiB" and its like.
func (c *checker) size(at []string, text string) uint64 {
	for unit, shift := range map[string]uint{"KiB": 10, "MiB": 20, "GiB": 30} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			if n, err := strconv.ParseUint(number, 10, 32); err == nil && n > 0 && n < 1<<(40-shift) {
				return n << shift
			}
		}
	}
	c.report(at, "the size %q: want one like \"16MiB\"", text)
	return defaultQuota
}

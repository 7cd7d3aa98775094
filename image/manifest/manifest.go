// Package manifest reads sluice.toml, which says what goes into an image: the
// board, the machine's address, and the domains. What is wrong is told with its
// line and what would be right. See docs/domains.md.
package manifest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/pelletier/go-toml/v2"
	"github.com/sluice-os/sluice/kernel/domain/config"
)

// FileName is what a manifest is called.
const FileName = "sluice.toml"

// KernelMemory is what the kernel needs beside the domains, in bytes.
const KernelMemory = 64 << 20

// Manifest is a checked sluice.toml.
type Manifest struct {
	Board  string // one of Boards
	Memory uint64 // of the machine, in bytes
	// Options are the kernel options that [host] and [nic.NAME] stand for.
	Options []string
	Domains []Domain // in the order of the file
	// ISIS is the configuration of the routing protocol in lines (package config of IS-IS); "":
	// the machine does not speak it.
	ISIS string
	// named says that cards have names by their places: the first may have any.
	named bool
}

// Domain is a domain of the manifest.
type Domain struct {
	config.Domain
	Package string            // as go build takes it, seen from the manifest's folder
	Files   map[string]string // path in the domain: path from the manifest's folder
}

// document is the file as it is written.
type document struct {
	Board  string    `toml:"board"`
	Memory string    `toml:"memory"`
	Host   hostTable `toml:"host"`
	// NIC and Domain have pointers: with values the library panics at dotted keys.
	NIC    map[string]*nicTable    `toml:"nic"`
	Domain map[string]*domainTable `toml:"domain"`
	Router *routerTable            `toml:"router"`
}

type hostTable struct {
	IP  string   `toml:"ip"`
	GW  string   `toml:"gw"`
	DNS []string `toml:"dns"`
	IP6 string   `toml:"ip6"`
	// Qdisc is the queue in front of the card.
	Qdisc string `toml:"qdisc"`
}

type nicTable struct {
	Path string   `toml:"path"`
	IP   string   `toml:"ip"`
	GW   string   `toml:"gw"`
	DNS  []string `toml:"dns"`
	IP6  string   `toml:"ip6"`
}

type domainTable struct {
	Package    string            `toml:"package"`
	Args       []string          `toml:"args"`
	Env        map[string]string `toml:"env"`
	Memory     string            `toml:"memory"`
	Weight     *int              `toml:"weight"`
	Cap        string            `toml:"cap"`
	Restart    string            `toml:"restart"`
	Backoff    string            `toml:"backoff"`
	BackoffMax string            `toml:"backoff-max"`
	Files      map[string]string `toml:"files"`
	NIC        string            `toml:"nic"`
	Listen     []string          `toml:"listen"`
	Pipes      []string          `toml:"pipes"`
	Connect    []string          `toml:"connect"`
	Link       []string          `toml:"link"`
	Observe    bool              `toml:"observe"`
	Pinned     bool              `toml:"pinned"`
	Rate       string            `toml:"rate"`
	Start      *bool             `toml:"start"`
}

// Load reads a manifest and checks that the files that it names are there.
func Load(path string) (*Manifest, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, c := parse(text, path)
	for i := range m.Domains {
		d := &m.Domains[i]
		for to, from := range d.Files {
			at := []string{"domain", d.Name, "files", to}
			if info, err := os.Stat(filepath.Join(filepath.Dir(path), from)); err != nil {
				c.report(at, "the file %s is not there: want a path from the manifest's folder", from)
			} else if !info.Mode().IsRegular() {
				c.report(at, "%s is no file: name each file", from)
			}
		}
		if dir := filepath.Join(filepath.Dir(path), d.Package); strings.HasPrefix(d.Package, ".") {
			if info, err := os.Stat(dir); err != nil || !info.IsDir() {
				c.report([]string{"domain", d.Name, "package"}, "the folder %s is not there: want the folder of a program, or an import path", d.Package)
			}
		}
	}
	return m, c.err()
}

// Parse reads a manifest; name stands for the file in errors. Each line of an
// error is one mistake: FILE:LINE: what is wrong: what would be right.
func Parse(text []byte, name string) (*Manifest, error) {
	m, c := parse(text, name)
	return m, c.err()
}

func parse(text []byte, name string) (*Manifest, *checker) {
	c := &checker{file: name, lines: map[string]int{}, tables: map[string]bool{}, values: map[string]bool{}}
	if c.index(text); c.wrongType {
		return &Manifest{}, c
	}
	var doc document
	in := toml.NewDecoder(strings.NewReader(string(text)))
	in.DisallowUnknownFields()
	err := in.Decode(&doc)
	var missing *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case errors.As(err, &missing):
		for _, e := range missing.Errors {
			row, _ := e.Position()
			c.reportLine(row, "unknown key %q: %s", strings.Join(e.Key(), "."), nearest(e.Key()))
		}
	case errors.As(err, &wrong):
		row, _ := wrong.Position()
		c.reportLine(row, "%s", strings.TrimPrefix(wrong.Error(), "toml: "))
		return &Manifest{}, c
	case err != nil:
		c.reportLine(max(c.twice, 1), "%s: want each key and each table once", strings.TrimPrefix(err.Error(), "toml: "))
		return &Manifest{}, c
	}
	return c.manifest(&doc), c
}

// checker collects mistakes.
type checker struct {
	file   string
	lines  map[string]int // of keys, joined by zero bytes
	tables map[string]bool
	values map[string]bool
	last   int // the line of the last key
	twice  int // the line of the first key or table that was there already; 0 for none
	// wrongType says that a value has a type that the document has no place for.
	wrongType bool
	mistakes  []mistake
}

type mistake struct {
	line int
	text string
}

func (c *checker) report(key []string, format string, args ...any) {
	line := 1
	for n := len(key); n > 0; n-- {
		if at, ok := c.lines[strings.Join(key[:n], "\x00")]; ok {
			line = at
			break
		}
	}
	c.reportLine(line, format, args...)
}

func (c *checker) reportLine(line int, format string, args ...any) {
	// A mistake is one line, whatever is in the names that it repeats.
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, fmt.Sprintf(format, args...))
	c.mistakes = append(c.mistakes, mistake{line, text})
}

func (c *checker) err() error {
	slices.SortStableFunc(c.mistakes, func(a, b mistake) int { return a.line - b.line })
	var errs []error
	for _, m := range c.mistakes {
		errs = append(errs, fmt.Errorf("%s:%d: %s", c.file, m.line, m.text))
	}
	return errors.Join(errs...)
}

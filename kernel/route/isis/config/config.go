// Package config is the configuration of IS-IS in words, as the console takes them, one command
// a line:
//
//	net 49.0001.0000.0000.0001.00
//	interface eth0 type p2p metric 10 gate strict
//
// The builder makes such lines of a manifest's [router.isis] and checks them with this package;
// the kernel reads them from the image, and the command "router isis" adds to them.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// This file owns the configuration and its commands.

// Config is that of the protocol on a machine.
type Config struct {
	// Instance has what the manifest says; who runs it adds the functions and Router4.
	Instance isis.Config
	// Interfaces are by name: those of network cards.
	Interfaces map[string]isis.CircuitConfig
}

// New is a configuration that says nothing: without a net there is no instance.
func New() *Config { return &Config{Interfaces: map[string]isis.CircuitConfig{}} }

// On says whether there is enough to run.
func (c *Config) On() bool { return len(c.Instance.Areas) > 0 }

// Clone is a copy.
func (c *Config) Clone() *Config {
	d := &Config{Instance: c.Instance, Interfaces: map[string]isis.CircuitConfig{}}
	d.Instance.Areas = slices.Clone(c.Instance.Areas)
	d.Instance.Prefixes = slices.Clone(c.Instance.Prefixes)
	for name, i := range c.Interfaces {
		d.Interfaces[name] = i
	}
	return d
}

// Limits of what a configuration may hold.
const (
	// PrefixesMax is how many prefixes may be announced beside those of links.
	PrefixesMax = 4096
	// NameMax is how long the name of an interface may be, in bytes.
	NameMax = 15
)

// Words are the commands, for lists of them.
const Words = "net, level, hostname, area-password, domain-password, topology, overload, start-overload, announce, leak, lsp-length, ecmp, interface, no"

// Parse reads lines, and checks what they say together. Empty ones are passed over.
func Parse(lines string) (*Config, error) {
	c := New()
	for line := range strings.Lines(lines) {
		if words := strings.Fields(line); len(words) > 0 {
			if err := c.Apply(words); err != nil {
				return c, err
			}
		}
	}
	return c, c.Check()
}

// Check says what does not go together.
func (c *Config) Check() error {
	interfaces, whole := c.Mistakes()
	if whole != nil {
		return whole
	}
	for _, name := range c.Names() {
		if err := interfaces[name]; err != nil {
			return err
		}
	}
	return nil
}

// Mistakes says what does not go together: of the whole, or if that is right of each interface by
// its name.
func (c *Config) Mistakes() (interfaces map[string]error, whole error) {
	if !c.On() {
		return nil, errors.New(`isis: no net: want one like 49.0001.0000.0000.0001.00`)
	}
	i := c.Instance
	i.Send = func(int, pdu.SNPA, []byte) {}
	x, err := isis.New(0, i)
	if err != nil {
		return nil, err
	}
	interfaces = map[string]error{}
	for _, name := range c.Names() {
		if _, err := x.AddCircuit(0, c.Interfaces[name]); err != nil {
			interfaces[name] = err
		}
	}
	return interfaces, nil
}

// Names are the names of the interfaces, in order.
func (c *Config) Names() (list []string) {
	for name := range c.Interfaces {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// Apply takes one command in. An error says what would be right; the configuration is as it was
// then, but for commands of several values.
func (c *Config) Apply(words []string) error {
	i := &c.Instance
	name, args := words[0], words[1:]
	no := name == "no"
	if no {
		if len(args) == 0 {
			return errors.New("isis: no what: want no interface NAME, or no before a command without its value")
		}
		name, args = args[0], args[1:]
	}
	set, ok := commands[name]
	switch {
	case name == "interface":
		return c.applyInterface(no, args)
	case !ok:
		return fmt.Errorf("isis: unknown command %q: want one of %s", name, Words)
	case no && len(args) == 0:
		return set(i, "")
	case no && name == "announce":
		return announce(i, args, true)
	case no:
		return fmt.Errorf("isis: no %s %s: want no %s", name, strings.Join(args, " "), name)
	case name == "announce":
		return announce(i, args, false)
	case len(args) != 1:
		return fmt.Errorf("isis: %s with %d values: want one", name, len(args))
	}
	return set(i, args[0])
}

// commands take a value each; "" is none, which is what it is at first.
var commands = map[string]func(*isis.Config, string) error{
	"net":   setNet,
	"level": func(i *isis.Config, v string) (err error) { i.Levels, err = levels(v); return err },
	"hostname": func(i *isis.Config, v string) error {
		if len(v) > 255 || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("isis: hostname %q: want up to 255 printable ASCII letters without blanks", v)
		}
		i.Hostname = v
		return nil
	},
	"area-password":   func(i *isis.Config, v string) (err error) { i.Keys[1], err = keys(v); return err },
	"domain-password": func(i *isis.Config, v string) (err error) { i.Keys[2], err = keys(v); return err },
	"topology": func(i *isis.Config, v string) error {
		if v != "" && v != "ipv6-unicast" && v != "standard" {
			return fmt.Errorf("isis: topology %q: want ipv6-unicast or standard", v)
		}
		i.Topologies = v == "ipv6-unicast"
		return nil
	},
	"overload": func(i *isis.Config, v string) (err error) { i.Overload, err = onOff(v); return err },
	"start-overload": func(i *isis.Config, v string) (err error) {
		if v == "off" {
			v = "0"
		}
		i.StartOverload, err = duration(v, 0, time.Hour)
		if err == nil && v != "" && i.StartOverload == 0 {
			i.StartOverload = -1 // 0 stands for the default
		}
		return err
	},
	"announce":   func(i *isis.Config, _ string) error { i.Prefixes = nil; return nil },
	"leak":       func(i *isis.Config, v string) (err error) { i.Leak, err = onOff(v); return err },
	"lsp-length": func(i *isis.Config, v string) (err error) { i.LSPLength, err = number(v, 512, 1492); return err },
	"ecmp":       func(i *isis.Config, v string) (err error) { i.ECMP, err = number(v, 1, rib.ECMP); return err },
}

// announce adds prefixes to those that are announced, or takes some away.
func announce(i *isis.Config, args []string, no bool) error {
	list := slices.Clone(i.Prefixes)
	for _, a := range args {
		p, err := netip.ParsePrefix(a)
		if err != nil || p != p.Masked() || p.Addr().Is4In6() || p.Addr().IsLinkLocalUnicast() {
			return fmt.Errorf("isis: announce %q: want a prefix like 10.1.0.0/16 or 2001:db8:1::/48", a)
		}
		list = slices.DeleteFunc(list, func(o netip.Prefix) bool { return o == p })
		if !no {
			list = append(list, p)
		}
	}
	if len(list) > PrefixesMax {
		return fmt.Errorf("isis: %d prefixes to announce: want %d at most", len(list), PrefixesMax)
	}
	i.Prefixes = list
	return nil
}

// setNet reads a network entity title: an area, a system ID and a selector of 0 (ISO 10589 7.1).
func setNet(i *isis.Config, v string) error {
	if v == "" {
		i.Areas, i.System = nil, pdu.SystemID{}
		return nil
	}
	area, system, err := ParseNET(v)
	if err != nil {
		return err
	}
	i.Areas, i.System = []pdu.Area{area}, system
	return nil
}

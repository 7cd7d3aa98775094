package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis"
)

// This file owns the commands of an interface: its name, and pairs of an option and its value.

// applyInterface takes one in. Options that are not named stay as they are.
func (c *Config) applyInterface(no bool, args []string) error {
	if len(args) == 0 || args[0] == "" || len(args[0]) > NameMax {
		return fmt.Errorf("isis: an interface without a name, or with one longer than %d: want interface NAME", NameMax)
	}
	name := args[0]
	i, there := c.Interfaces[name]
	switch {
	case no && len(args) > 1:
		return fmt.Errorf("isis: no interface %s with options: want no interface %s", strings.Join(args, " "), name)
	case no && !there:
		return fmt.Errorf("isis: no interface %q is configured: those are %s", name, strings.Join(c.Names(), ", "))
	case no:
		delete(c.Interfaces, name)
		return nil
	case !there:
		i = isis.CircuitConfig{Name: name, IPv4: true, IPv6: true}
	}
	for args = args[1:]; len(args) > 0; args = args[2:] {
		set, ok := options[args[0]]
		switch {
		case !ok:
			return fmt.Errorf("isis: interface %s: unknown option %q: want one of %s", name, args[0], strings.Join(slices.Sorted(maps.Keys(options)), ", "))
		case len(args) == 1:
			return fmt.Errorf("isis: interface %s: %s has no value", name, args[0])
		}
		if err := set(&i, args[1]); err != nil {
			return fmt.Errorf("isis: interface %s: %s %s", name, args[0], strings.TrimPrefix(err.Error(), "isis: "))
		}
	}
	c.Interfaces[name] = i
	return nil
}

// gates are what the option gate may be. All but off are strict.
var gates = []string{"off", "strict", "relaxed", "trust-hello", "timed"}

// options take a value each.
var options = map[string]func(*isis.CircuitConfig, string) error{
	"type": func(i *isis.CircuitConfig, v string) error {
		if v != "lan" && v != "p2p" {
			return fmt.Errorf("%q: want lan or p2p", v)
		}
		i.Kind = map[string]isis.Kind{"lan": isis.LAN, "p2p": isis.P2P}[v]
		return nil
	},
	"level": func(i *isis.CircuitConfig, v string) (err error) { i.Levels, err = levels(v); return err },
	"metric": func(i *isis.CircuitConfig, v string) error {
		n, err := number(v, 1, 1<<24-1)
		i.Metric = uint32(n)
		return err
	},
	"priority": func(i *isis.CircuitConfig, v string) error {
		n, err := number(v, 0, 127)
		if i.Priority = n; n == 0 {
			i.Priority = -1
		}
		return err
	},
	"passive": func(i *isis.CircuitConfig, v string) (err error) { i.Passive, err = onOff(v); return err },
	"ipv4":    func(i *isis.CircuitConfig, v string) (err error) { i.IPv4, err = onOff(v); return err },
	"ipv6":    func(i *isis.CircuitConfig, v string) (err error) { i.IPv6, err = onOff(v); return err },
	"padding": func(i *isis.CircuitConfig, v string) error {
		on, err := onOff(v)
		i.NoPadding = !on
		return err
	},
	"three-way": func(i *isis.CircuitConfig, v string) error {
		on, err := onOff(v)
		i.TwoWay = !on
		return err
	},
	"hello-interval": func(i *isis.CircuitConfig, v string) (err error) {
		i.HelloInterval, err = duration(v, time.Second, 600*time.Second)
		return err
	},
	"hello-multiplier": func(i *isis.CircuitConfig, v string) (err error) {
		i.HelloMultiplier, err = number(v, 2, 100)
		return err
	},
	"password": func(i *isis.CircuitConfig, v string) (err error) { i.Keys, err = keys(v); return err },
	// A gate is one or several of gates, joined by commas.
	"gate": func(i *isis.CircuitConfig, v string) error {
		var g gate.Config
		for word := range strings.SplitSeq(v, ",") {
			if !slices.Contains(gates, word) || word == "off" && v != "off" {
				return fmt.Errorf("%q: want off, or of %s with commas", v, strings.Join(gates[1:], ", "))
			}
			g.Strict = word != "off"
			g.Relaxed = g.Relaxed || word == "relaxed"
			g.TrustHello = g.TrustHello || word == "trust-hello"
			g.Timed = g.Timed || word == "timed"
		}
		if g.Strict {
			g.Hold, g.MaxWait = i.Gate.Hold, i.Gate.MaxWait
		}
		i.Gate = g
		return nil
	},
	"hold": func(i *isis.CircuitConfig, v string) (err error) {
		i.Gate.Hold, err = duration(v, gate.HoldMin, gate.HoldMax)
		return err
	},
	"max-wait": func(i *isis.CircuitConfig, v string) (err error) {
		i.Gate.MaxWait, err = duration(v, 0, gate.HoldMax)
		return err
	},
}

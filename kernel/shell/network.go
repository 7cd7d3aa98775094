package shell

// The commands that show the network, with the words and columns of iproute2
// and net-tools.

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sluice-os/sluice/kernel/host/netinfo"
	"github.com/sluice-os/sluice/nexus/aqm"
)

func (s *Shell) ip(_ context.Context, args []string) error {
	object := ""
	switch {
	case len(args) > 2 && (args[0] == "route" || args[0] == "r") && (args[1] == "add" || args[1] == "del"):
		return s.changeRoute(args[1:])
	case len(args) == 1:
		object = args[0]
	case len(args) == 2 && (args[1] == "show" || args[1] == "list"):
		object = args[0]
	}
	// iproute2 takes every unambiguous beginning of a word.
	switch object {
	case "a", "ad", "add", "addr", "address":
		return s.ipAddr()
	case "r", "ro", "rou", "rout", "route":
		return s.ipRoute()
	case "n", "ne", "nei", "neig", "neigh", "neighbor", "neighbour":
		return s.ipNeigh()
	case "l", "li", "lin", "link":
		return s.ipLink()
	case "m", "ma", "mad", "madd", "maddr", "maddress":
		return s.ipGroups()
	}
	return errUsage
}

// ipGroups prints the groups that each card is asked to take frames to.
func (s *Shell) ipGroups() error {
	if s.sys.Links == nil {
		return errAbsent
	}
	for _, l := range s.sys.Links() {
		if l.Loopback {
			continue
		}
		fmt.Fprintf(s.out, "%d:\t%s\n", l.Index, l.Name)
		for _, g := range l.Groups {
			fmt.Fprintf(s.out, "\tlink  %s\n", g)
		}
		if l.AllGroups {
			fmt.Fprintln(s.out, "\tlink  any other: the card has no filter, or somebody watches it")
		}
	}
	return nil
}

func (s *Shell) ipLink() error {
	if s.sys.Links == nil {
		return errAbsent
	}
	for _, l := range s.sys.Links() {
		s.printLink(l)
		if l.Driver != "" {
			offload := ""
			if len(l.Offloads) > 0 {
				offload = " offload " + strings.Join(l.Offloads, ",")
			}
			fmt.Fprintf(s.out, "    driver %s at %s%s\n", l.Driver, l.Location, offload)
		}
	}
	return nil
}

func (s *Shell) printLink(l netinfo.Link) {
	flags, state := "BROADCAST,MULTICAST,UP,LOWER_UP", "UP"
	switch {
	case l.Loopback:
		flags, state = "LOOPBACK,UP,LOWER_UP", "UNKNOWN"
	case !l.Up:
		flags, state = "NO-CARRIER,BROADCAST,MULTICAST,UP", "DOWN"
	}
	fmt.Fprintf(s.out, "%d: %s: <%s> mtu %d state %s\n", l.Index, l.Name, flags, l.MTU, state)
	if l.Loopback {
		fmt.Fprintf(s.out, "    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n")
	} else {
		fmt.Fprintf(s.out, "    link/ether %s brd ff:ff:ff:ff:ff:ff\n", l.MAC)
	}
}

func (s *Shell) ipAddr() error {
	if s.sys.Links == nil || s.sys.Addresses == nil {
		return errAbsent
	}
	addresses := s.sys.Addresses()
	for _, l := range s.sys.Links() {
		s.printLink(l)
		for _, a := range addresses {
			if a.Link == l.Name {
				s.printAddress(a)
			}
		}
	}
	return nil
}

func (s *Shell) printAddress(a netinfo.Address) {
	family := "inet"
	if a.Prefix.Addr().Is6() {
		family = "inet6"
	}
	line := fmt.Sprintf("    %s %v", family, a.Prefix)
	if a.Broadcast.IsValid() {
		line += fmt.Sprintf(" brd %v", a.Broadcast)
	}
	scope := "global"
	switch addr := a.Prefix.Addr(); {
	case addr.IsLoopback():
		scope = "host"
	case addr.IsLinkLocalUnicast():
		scope = "link"
	}
	line += " scope " + scope
	if a.Dynamic {
		line += " dynamic"
	}
	fmt.Fprintf(s.out, "%s %s\n       valid_lft %s preferred_lft %s\n", line, a.Link, lifetime(a.Valid), lifetime(a.Preferred))
}

func lifetime(d time.Duration) string {
	if d == netinfo.Forever {
		return "forever"
	}
	return fmt.Sprintf("%dsec", d/time.Second)
}

func (s *Shell) ipRoute() error {
	if s.sys.Routes == nil {
		return errAbsent
	}
	for _, r := range s.sys.Routes() {
		line := r.Destination.String()
		if r.Destination.Bits() == 0 {
			line = "default"
		}
		if r.Gateway.IsValid() {
			line += fmt.Sprintf(" via %v", r.Gateway)
		}
		line += fmt.Sprintf(" dev %s proto %s", r.Link, r.Protocol)
		if !r.Gateway.IsValid() && r.Destination.Addr().Is4() {
			line += " scope link"
		}
		if r.Source.IsValid() {
			line += fmt.Sprintf(" src %v", r.Source)
		}
		fmt.Fprintln(s.out, line)
	}
	return nil
}

func (s *Shell) ipNeigh() error {
	if s.sys.Neighbours == nil {
		return errAbsent
	}
	for _, n := range s.sys.Neighbours() {
		lladdr := ""
		if n.MAC != "" {
			lladdr = " lladdr " + n.MAC
		}
		fmt.Fprintf(s.out, "%v dev %s%s %s\n", n.Address, n.Link, lladdr, n.State)
	}
	return nil
}

func (s *Shell) netstat(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "--channels" {
		return tableCommand("channels")(s, ctx, args[1:])
	}
	if len(args) != 1 || args[0] != "-s" {
		return errUsage
	}
	if s.sys.Statistics == nil {
		return errAbsent
	}
	for _, g := range s.sys.Statistics() {
		fmt.Fprintf(s.out, "%s:\n", g.Name)
		for _, l := range g.Lines {
			fmt.Fprintf(s.out, "    %d %s\n", l.Value, l.Text)
		}
	}
	return nil
}

// choose prefers IPv4: it is there a second before IPv6 is.
func choose(list []netip.Addr) netip.Addr {
	for _, a := range list {
		if a.Unmap().Is4() {
			return a.Unmap()
		}
	}
	return list[0]
}

// tableCommand shows one of System.Tables, with -j as JSON.
func tableCommand(name string) func(*Shell, context.Context, []string) error {
	return func(s *Shell, _ context.Context, args []string) error {
		asJSON := len(args) == 1 && args[0] == "-j"
		if len(args) > 0 && !asJSON {
			return errUsage
		}
		get := s.sys.Tables[name]
		if get == nil {
			return errAbsent
		}
		t := get()
		if asJSON {
			fmt.Fprintf(s.out, "%s\n", t.AppendJSON(nil))
		} else {
			t.WriteText(s.out)
		}
		return nil
	}
}

// qdisc shows the queue in front of the card, or changes it, or a domain's rate, or whether classes are marked.
func (s *Shell) qdisc(ctx context.Context, args []string) error {
	switch {
	case len(args) == 0 || args[0] == "-j":
		return tableCommand("qdisc")(s, ctx, args)
	case len(args) == 3 && args[0] == "rate":
		rate, err := aqm.Rate(0), error(nil)
		if args[2] != "off" {
			rate, err = aqm.ParseRate(args[2])
		}
		switch {
		case err != nil:
			return err
		case s.sys.SetRate == nil:
			return errAbsent
		}
		return s.sys.SetRate(args[1], rate)
	case len(args) == 2 && args[0] == "mark" && (args[1] == "on" || args[1] == "off"):
		if s.sys.SetMarks == nil {
			return errAbsent
		}
		s.sys.SetMarks(args[1] == "on")
		return nil
	case len(args) > 1:
		return errUsage
	case s.sys.SetQdisc == nil:
		return errAbsent
	}
	return s.sys.SetQdisc(args[0])
}

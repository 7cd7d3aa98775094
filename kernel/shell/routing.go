package shell

// The commands of routing protocols, with the words of FRR's vtysh.

import (
	"context"
	"errors"
	"io"

	"github.com/sluice-os/sluice/kernel/options"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// Router is the table of routes.
type Router interface {
	// Show writes the routes of a family.
	Show(w io.Writer, f rib.Family, asJSON bool) error
	// Add and Delete change static routes; Delete takes the whole route if it is given no way.
	Add(options.Route) error
	Delete(options.Route) error
}

// Routing is IS-IS.
type Routing interface {
	// Show writes a list: words are what follows "show isis".
	Show(w io.Writer, words []string, asJSON bool) error
	// Configure takes a command in: words are what follows "router isis".
	Configure(words []string) error
}

// errNoRouting is the answer of an image that was built without.
var errNoRouting = errors.New("this image has no routing protocol: want [router.isis] in its manifest")

func (s *Shell) show(_ context.Context, args []string) error {
	asJSON := len(args) > 0 && args[len(args)-1] == "-j"
	if asJSON {
		args = args[:len(args)-1]
	}
	switch {
	case len(args) == 2 && args[1] == "route" && (args[0] == "ip" || args[0] == "ipv6"):
		if s.sys.Router == nil {
			return errAbsent
		}
		return s.sys.Router.Show(s.out, map[string]rib.Family{"ip": rib.IPv4, "ipv6": rib.IPv6}[args[0]], asJSON)
	case len(args) < 2 || args[0] != "isis":
		return errUsage
	case s.sys.Routing == nil:
		return errNoRouting
	}
	return s.sys.Routing.Show(s.out, args[1:], asJSON)
}

func (s *Shell) router(_ context.Context, args []string) error {
	switch {
	case len(args) < 2 || args[0] != "isis":
		return errUsage
	case s.sys.Routing == nil:
		return errNoRouting
	}
	return s.sys.Routing.Configure(args[1:])
}

// changeRoute adds or deletes a static route: what follows "ip route".
func (s *Shell) changeRoute(args []string) error {
	add := args[0] == "add"
	r, err := options.ParseRoute(args[1:], add)
	switch {
	case err != nil:
		return err
	case s.sys.Router == nil:
		return errAbsent
	case add:
		return s.sys.Router.Add(r)
	}
	return s.sys.Router.Delete(r)
}

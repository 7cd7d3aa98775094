package shell

// The commands of routing protocols, with the words of FRR's vtysh.

import (
	"context"
	"errors"
	"io"
)

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

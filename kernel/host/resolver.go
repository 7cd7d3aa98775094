package host

// Names: Go's own resolver, asking the name servers in force through this stack.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// ErrNoNameServer says that neither DHCP nor a router nor the command line
// named a server.
var ErrNoNameServer = errors.New("no name server is known")

// Lookup returns the addresses of a name, or of an address in text form. It waits for the
// end of another lookup.
func (s *Stack) Lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	if err := s.beginLookup(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer s.endLookup()
	return s.resolve(ctx, name)
}

// beginLookup waits until no lookup runs.
func (s *Stack) beginLookup(ctx context.Context) error {
	select {
	case s.lookups <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Stack) endLookup() { <-s.lookups }

// resolve asks the name servers.
func (s *Stack) resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	servers := s.DNS()
	if len(servers) == 0 {
		return nil, fmt.Errorf("%s: %w", name, ErrNoNameServer)
	}
	r := &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			// Without a configuration file the resolver believes in two
			// servers, 127.0.0.1 and ::1, and takes turns: they stand for
			// the first and second of ours.
			server := servers[0]
			if strings.HasPrefix(address, "[") && len(servers) > 1 {
				server = servers[1]
			}
			return s.dial(ctx, network, netip.AddrPortFrom(server, 53))
		},
	}
	return r.LookupNetIP(ctx, "ip", name)
}

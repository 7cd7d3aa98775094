package options

// Routing: forward=, urpf= and route=.

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// RoutesMax is the most static routes, of the command line or given later.
const RoutesMax = 1024

// Route is a static route.
type Route struct {
	Prefix netip.Prefix
	// Via is the neighbour; it has no zone.
	Via netip.Addr
	// NIC names the card that the neighbour is on; "" is the one in whose network it is.
	NIC string
}

// String is the route in the words of "ip route".
func (r Route) String() string {
	s := r.Prefix.String()
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	if r.NIC != "" {
		s += " dev " + r.NIC
	}
	return s
}

// Option is the route as the value of the option route.
func (r Route) Option() string {
	s := r.Prefix.String() + ",via=" + r.Via.String()
	if r.NIC != "" {
		s += ",dev=" + r.NIC
	}
	return s
}

// ParseRoute reads the words of a route as "ip route" has them: PREFIX via ADDRESS [dev NAME]. A
// prefix may be "default", and may be an address alone. whole says that the neighbour may not be left
// out.
func ParseRoute(words []string, whole bool) (r Route, err error) {
	if len(words) == 0 {
		return r, errors.New("no prefix: want PREFIX via ADDRESS [dev NAME]")
	}
	named := words[0] == "default"
	if !named {
		if r.Prefix, err = parsePrefix(words[0]); err != nil {
			return r, err
		}
	}
	for rest := words[1:]; len(rest) > 0; rest = rest[2:] {
		if len(rest) == 1 {
			return r, fmt.Errorf("nothing behind %s: want via ADDRESS or dev NAME", quote(rest[0]))
		}
		switch rest[0] {
		case "via":
			if r.Via, err = netip.ParseAddr(rest[1]); err != nil || r.Via.Is4In6() {
				return r, fmt.Errorf("the neighbour %s: want an address", quote(rest[1]))
			}
			if zone := r.Via.Zone(); zone != "" {
				r.Via, r.NIC = r.Via.WithZone(""), zone
			}
		case "dev":
			r.NIC = rest[1]
		default:
			return r, fmt.Errorf("the word %s: want via ADDRESS or dev NAME", quote(rest[0]))
		}
	}
	if named {
		r.Prefix = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if r.Via.Is6() {
			r.Prefix = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
	}
	return r, r.check(whole)
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if a, e := netip.ParseAddr(s); e == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch {
	case err != nil || p.Addr().Is4In6():
		return p, fmt.Errorf("the prefix %s: want ADDRESS/LENGTH", quote(s))
	case p.Masked().Addr() != p.Addr():
		return p, fmt.Errorf("the prefix %s has bits behind its length: want %v", quote(s), p.Masked())
	case p.Addr().IsMulticast() || p.Addr().IsLinkLocalUnicast() || p.Addr().IsLoopback():
		return p, fmt.Errorf("the prefix %s: want one of addresses that packets are forwarded to", quote(s))
	}
	return p, nil
}

func (r Route) check(whole bool) error {
	switch {
	case !r.Via.IsValid() && !whole:
		return nil
	case !r.Via.IsValid():
		return errors.New("no neighbour: want PREFIX via ADDRESS [dev NAME]")
	case r.Via.Is4() != r.Prefix.Addr().Is4():
		return fmt.Errorf("the prefix %v and the neighbour %v: want both of one family", r.Prefix, r.Via)
	case r.Via.IsMulticast() || r.Via.IsUnspecified() || r.Via.IsLoopback() || classE(r.Via):
		return fmt.Errorf("the neighbour %v: want the address of a router", r.Via)
	case r.Via.IsLinkLocalUnicast() && r.NIC == "":
		return fmt.Errorf("the neighbour %v holds on one link: want dev NAME too", r.Via)
	case r.NIC != "" && !ValidNIC(r.NIC):
		return fmt.Errorf("the network card %s: want a letter, then letters, digits and -, all small, %d at most", quote(r.NIC), NICNameMax)
	}
	return nil
}

// classE says that an address is one of those of IPv4 that nobody has: 240.0.0.0/4, and with it that
// of all on a link (RFC 1112 4, RFC 919 7).
func classE(a netip.Addr) bool { return a.Is4() && a.As4()[0] >= 240 }

// parseRouteOption reads PREFIX,via=ADDRESS[,dev=NAME].
func parseRouteOption(value string) (Route, error) {
	parts := strings.Split(value, ",")
	words := []string{parts[0]}
	for _, p := range parts[1:] {
		key, v, ok := strings.Cut(p, "=")
		if !ok {
			return Route{}, errors.New("want PREFIX,via=ADDRESS[,dev=NAME]")
		}
		words = append(words, key, v)
	}
	return ParseRoute(words, true)
}

// setRouting stores one of the options of routing; false: key is none.
func (o *Options) setRouting(key, value string) (bool, error) {
	switch key {
	case "forward":
		if o.Forward = value == "on"; value != "on" && value != "off" {
			return true, fmt.Errorf("want on or off")
		}
	case "urpf":
		if o.ReversePath = value; value != "off" && value != "loose" && value != "strict" {
			o.ReversePath = "off"
			return true, fmt.Errorf("want off, loose or strict")
		}
	case "route":
		r, err := parseRouteOption(value)
		if err == nil && len(o.Routes) == RoutesMax {
			err = fmt.Errorf("more than %d routes", RoutesMax)
		}
		if err != nil {
			return true, err
		}
		o.Routes = append(o.Routes, r)
	default:
		return false, nil
	}
	return true, nil
}

package netns

import (
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// This file owns what a domain's manifest permits.

// NameAddressesMax is how many addresses a name stands for at most.
const NameAddressesMax = 64

// Policy is what one domain may do. Nil and the zero value permit nothing. Its
// methods may be called at the same time. Loopback is not asked about.
type Policy struct {
	listen  []Port // Number 0: any
	connect []peer
	names   []*host // sorted by name
}

// host is a name and what it stands for.
type host struct {
	name      string
	addresses atomic.Pointer[[]netip.Addr]
}

// ParsePolicy makes a Policy of a manifest's words: "tcp/80", "tcp/*" (any
// port) or "ip/89" (all of a protocol) for listen; "tcp/*:443", "udp/192.0.2.1:53", "tcp/10.0.0.0/8:*",
// "tcp/[2001:db8::/32]:443" or "tcp/example.com:443" for connect. It takes what
// the manifest's own check takes. The error wraps ErrWord and quotes the word.
func ParsePolicy(listen, connect []string) (*Policy, error) {
	p := &Policy{}
	for _, word := range listen {
		l, err := parseListen(word)
		if err != nil {
			return nil, err
		}
		p.listen = append(p.listen, l)
	}
	for _, word := range connect {
		c, name, err := parseConnect(word)
		if err != nil {
			return nil, err
		}
		if name != "" {
			i, found := p.find(name)
			if !found {
				p.names = slices.Insert(p.names, i, &host{name: name})
			}
			c.name = p.names[i]
		}
		p.connect = append(p.connect, c)
	}
	return p, nil
}

func (p *Policy) find(name string) (int, bool) {
	return slices.BinarySearchFunc(p.names, name, func(h *host, name string) int { return strings.Compare(h.name, name) })
}

// Names lists the names of the connect words, in lower case, sorted, each once.
func (p *Policy) Names() []string {
	if p == nil {
		return nil
	}
	names := make([]string, 0, len(p.names))
	for _, h := range p.names {
		names = append(names, h.name)
	}
	return names
}

// NamesAt lists the names of the connect words that permit a port, sorted, each once.
func (p *Policy) NamesAt(port uint16) []string {
	if p == nil {
		return nil
	}
	var names []string
	for _, h := range p.names {
		if slices.ContainsFunc(p.connect, func(c peer) bool { return c.name == h && (c.port == 0 || c.port == port) }) {
			names = append(names, h.name)
		}
	}
	return names
}

// SetName says which addresses a name stands for from now on; before the first
// call it stands for none. Unspecified addresses, groups and what is over
// NameAddressesMax are left out. It returns false, and does nothing, if no word
// has that name. Case and one dot at the end of the name do not matter.
func (p *Policy) SetName(name string, addresses []netip.Addr) bool {
	if p == nil {
		return false
	}
	i, found := p.find(strings.ToLower(strings.TrimSuffix(name, ".")))
	if !found {
		return false
	}
	var kept []netip.Addr
	for _, a := range addresses {
		a = plain(a)
		if len(kept) < NameAddressesMax && a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !slices.Contains(kept, a) {
			kept = append(kept, a)
		}
	}
	p.names[i].addresses.Store(&kept)
	return true
}

// MayListen says whether the domain may listen on the port, or for UDP bind it.
// Port 0 stands for any port at all: only "*" permits it.
func (p *Policy) MayListen(proto uint8, port uint16) bool {
	if p == nil {
		return false
	}
	for _, l := range p.listen {
		if l.Proto == proto && (l.Number == 0 || l.Number == port) {
			return true
		}
	}
	return false
}

// MayHave says whether the domain may have all of a protocol that is not the host's, to
// receive and to send to anybody.
func (p *Policy) MayHave(proto uint8) bool { return !IsHostProtocol(proto) && p.MayListen(proto, 0) }

// MayBindEphemeral says whether the domain may bind a port that the kernel picks, or that
// the kernel has picked for it before, which is any of the ephemeral ones: if it may connect to anything over proto, or listen on any port of it. To listen
// on the port then takes MayListen.
func (p *Policy) MayBindEphemeral(proto uint8) bool {
	if p == nil {
		return false
	}
	for i := range p.connect {
		if p.connect[i].proto == proto {
			return true
		}
	}
	return p.MayListen(proto, 0)
}

// MayConnect says whether the domain may send to remote. An unspecified address
// and port 0 are never permitted. It allocates nothing.
func (p *Policy) MayConnect(proto uint8, remote netip.AddrPort) bool {
	a := plain(remote.Addr())
	if p == nil || !a.IsValid() || a.IsUnspecified() || remote.Port() == 0 {
		return false
	}
	for i := range p.connect {
		c := &p.connect[i]
		if c.proto == proto && (c.port == 0 || c.port == remote.Port()) && c.holds(a) {
			return true
		}
	}
	return false
}

func (c *peer) holds(a netip.Addr) bool {
	switch {
	case c.name != nil:
		known := c.name.addresses.Load()
		return known != nil && slices.Contains(*known, a)
	case c.prefix.IsValid():
		return c.prefix.Contains(a)
	}
	return true
}

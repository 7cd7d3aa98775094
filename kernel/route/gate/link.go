package gate

import "net/netip"

// This file owns what makes a family active on our own link.

// MTUMin is the least MTU that IPv6 works with, in bytes of IP (RFC 8200 5).
const MTUMin = 1280

// DAD is how far duplicate address detection is (RFC 4862 5.4).
type DAD uint8

const (
	Tentative DAD = iota // nobody may use the address yet
	Done                 // it is ours
	Duplicate            // another host has it
)

// LinkLocal is an IPv6 address of a link.
type LinkLocal struct {
	Addr netip.Addr
	DAD  DAD
}

// PPP is which families a PPP link has opened.
type PPP struct{ IPCP, IPv6CP bool }

// Link is what the machine says of one link.
type Link struct {
	Carrier bool
	// MTU is that of IP, in bytes.
	MTU int
	// IPv4 are its addresses with their prefixes, and LinkLocals those of IPv6.
	IPv4       []netip.Prefix
	LinkLocals []LinkLocal
	// IPv4Conflict says that its IPv4 address may be another host's.
	IPv4Conflict bool
	// PPP is nil for what is no PPP link.
	PPP *PPP
}

// V4 is OK if IPv4 is active, or why it is not.
func (l *Link) V4() Reason {
	switch {
	case !l.Carrier:
		return NoCarrier
	case l.PPP != nil && !l.PPP.IPCP:
		return IPCP
	case len(l.IPv4) == 0:
		return NoIPv4
	case l.IPv4Conflict:
		return IPv4Conflict
	}
	return OK
}

// V6 is OK if IPv6 is active, or why it is not.
func (l *Link) V6() Reason {
	switch {
	case !l.Carrier:
		return NoCarrier
	case l.PPP != nil && !l.PPP.IPv6CP:
		return IPv6CP
	case l.MTU < MTUMin:
		return MTUBelow1280
	}
	why := NoIPv6
	for _, a := range l.LinkLocals {
		switch {
		case !a.Addr.IsLinkLocalUnicast() || !a.Addr.Is6():
		case a.DAD == Done:
			return OK
		case a.DAD == Tentative:
			why = DADTentative
		case why == NoIPv6:
			why = DADFailed
		}
	}
	return why
}

// Usable6 are the link-local addresses that may be used.
func (l *Link) Usable6() (list []netip.Addr) {
	if l.V6() != OK {
		return nil
	}
	for _, a := range l.LinkLocals {
		if a.DAD == Done && a.Addr.IsLinkLocalUnicast() && a.Addr.Is6() {
			list = append(list, a.Addr)
		}
	}
	return list
}

// Usable4 are the IPv4 addresses that may be used.
func (l *Link) Usable4() (list []netip.Addr) {
	if l.V4() != OK {
		return nil
	}
	for _, p := range l.IPv4 {
		list = append(list, p.Addr())
	}
	return list
}

package netns

import "slices"

// This file owns the protocols over IP that a domain has to itself.

// hostProtocols are those that no domain has whole: what the host stack speaks, what has
// ports or identifiers, which are shared out, and what are extension headers of IPv6 and not
// protocols.
var hostProtocols = []uint8{0, 1, 2, 4, 6, 17, 41, 43, 44, 50, 51, 58, 59, 60, 135, 139, 140, 255}

// IsHostProtocol says whether no domain has the protocol whole.
func IsHostProtocol(proto uint8) bool { return slices.Contains(hostProtocols, proto) }

// protocol is one that is reserved.
type protocol struct {
	owner Owner
	users int
}

// ReserveProtocol takes a protocol: what arrives of it is the owner's, who may take it
// again. The error is ErrProtocol when it is another's.
func (s *Space) ReserveProtocol(o Owner, proto uint8) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.protocols[proto]
	if IsHostProtocol(proto) || p.users > 0 && p.owner != o {
		return ErrProtocol
	}
	s.protocols[proto] = protocol{o, p.users + 1}
	return nil
}

// ReleaseProtocol gives a protocol back, as often as it was taken. It returns whether it is
// nobody's then.
func (s *Space) ReleaseProtocol(o Owner, proto uint8) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.protocols[proto]
	switch {
	case !ok || p.owner != o:
		return false
	case p.users > 1:
		s.protocols[proto] = protocol{o, p.users - 1}
		return false
	}
	delete(s.protocols, proto)
	return true
}

// FreeProtocol gives it back however often it was taken.
func (s *Space) FreeProtocol(o Owner, proto uint8) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.protocols[proto].owner == o {
		delete(s.protocols, proto)
	}
}

// releaseProtocols gives all of an owner's back. mu is held.
func (s *Space) releaseProtocols(o Owner) {
	for proto, p := range s.protocols {
		if p.owner == o {
			delete(s.protocols, proto)
		}
	}
}

package netns

// This file owns the choice of a port for those who do not care which.

// The ephemeral range, both ends included, is that of Linux. UDPReserve ports of
// UDP in it are kept for the host stack.
const (
	EphemeralFirst = 32768
	EphemeralLast  = 60999
	UDPReserve     = 4096

	ephemeralPorts = EphemeralLast - EphemeralFirst + 1
)

// portSet is the ports of TCP and UDP that somebody holds on some address.
type portSet [2][1024]uint64

func (p *portSet) has(i int, port uint16) bool { return p[i][port>>6]&(1<<(port&63)) != 0 }
func (p *portSet) set(i int, port uint16)      { p[i][port>>6] |= 1 << (port & 63) }
func (p *portSet) clear(i int, port uint16)    { p[i][port>>6] &^= 1 << (port & 63) }

// IsEphemeral says whether a port is in the ephemeral range.
func IsEphemeral(port uint16) bool { return port >= EphemeralFirst && port <= EphemeralLast }

// exhausted says that what is left of the range is the host stack's.
func (s *Space) exhausted(e *entry) bool {
	return e.proto == UDP && e.owner != HostOwner && s.ephemeral[index(UDP)] >= ephemeralPorts-UDPReserve
}

// pick returns a port on which nothing has an address in common with e. It
// starts anywhere and takes the next one.
func (s *Space) pick(e *entry) (uint16, error) {
	i := index(e.proto)
	if s.exhausted(e) {
		return 0, ErrNoPort
	}
	start := s.config.Random() % ephemeralPorts
	for n := range uint32(ephemeralPorts) {
		port := uint16(EphemeralFirst + (start+n)%ephemeralPorts)
		if e.owner != HostOwner && s.restricted[Port{e.proto, port}] {
			continue
		}
		if !s.used.has(i, port) || s.buckets[i][port].unused(e.local) {
			return port, nil
		}
	}
	return 0, ErrNoPort
}

package netns

import "time"

// This file owns the cached copies of the table.

// portSet is the ports of TCP and UDP that somebody holds on some address.
type portSet [2][1024]uint64

func (p *portSet) has(i int, port uint16) bool { return p[i][port>>6]&(1<<(port&63)) != 0 }
func (p *portSet) set(i int, port uint16)      { p[i][port>>6] |= 1 << (port & 63) }
func (p *portSet) clear(i int, port uint16)    { p[i][port>>6] &^= 1 << (port & 63) }

// View is a copy of which ports are taken: 16 KiB. It may be old: it can advise,
// and never decides. The zero value is older than every table. A View belongs to
// one goroutine at a time.
type View struct {
	generation uint64
	ports      portSet
}

// Generation is the number of the table that v is a copy of.
func (v *View) Generation() uint64 { return v.generation }

// Taken says whether somebody held the port on some address when the copy was
// made. It is false for a protocol without ports.
func (v *View) Taken(proto uint8, port uint16) bool {
	return (proto == TCP || proto == UDP) && v.ports.has(index(proto), port)
}

// Generation is a number that grows with each change of the table.
func (s *Space) Generation() uint64 { return s.generation.Load() }

// Refresh makes v a copy of the present table. It does nothing, and takes no
// lock, if it is that already. It returns whether v was old.
func (s *Space) Refresh(v *View) bool {
	if v.generation == s.generation.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refresh(v)
}

func (s *Space) refresh(v *View) bool {
	generation := s.generation.Load()
	old := v.generation != generation
	if old {
		v.generation, v.ports = generation, s.used
	}
	return old
}

// ReserveView is Reserve for one who has a View. The table decides, whatever the
// View says. Afterwards v is a copy of the table as the answer left it, refused or
// not.
func (s *Space) ReserveView(now time.Duration, v *View, r Request) (Reservation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	got, err := s.reserve(now, r)
	s.refresh(v)
	return got, err
}

package rib

// This file owns sets of next hops. Routes with the same ways have one, so that a FIB of a million
// routes has few.

// Nexthops are ways that are equally good. They do not change.
type Nexthops struct {
	Hops []Hop // 1 to ECMP
	// Local says that it is the machine's own address: Hops[0] has its card.
	Local  bool
	number uint32
	uses   int
	key    setKey
}

// Pick chooses a way by a number that is the same for all packets of a flow.
func (n *Nexthops) Pick(flow uint32) *Hop {
	if len(n.Hops) == 1 {
		return &n.Hops[0]
	}
	return &n.Hops[uint64(flow)*uint64(len(n.Hops))>>32]
}

// setKey is what a set has in it.
type setKey struct {
	hops  [ECMP]Hop
	local bool
}

type sets struct {
	all  []*Nexthops // by number; nil: free
	free []uint32
	by   map[setKey]*Nexthops
}

func (s *sets) init() { s.by = map[setKey]*Nexthops{} }

// take returns the set with these hops, which it counts as one use of.
func (s *sets) take(hops []Hop, local bool) *Nexthops {
	key := setKey{local: local}
	copy(key.hops[:], hops)
	if n := s.by[key]; n != nil {
		n.uses++
		return n
	}
	n := &Nexthops{Hops: append([]Hop(nil), hops...), Local: local, uses: 1, key: key}
	if last := len(s.free) - 1; last >= 0 {
		n.number, s.free = s.free[last], s.free[:last]
		s.all[n.number] = n
	} else {
		n.number = uint32(len(s.all))
		s.all = append(s.all, n)
	}
	s.by[key] = n
	return n
}

// put ends a use.
func (s *sets) put(n *Nexthops) {
	if n.uses--; n.uses > 0 {
		return
	}
	delete(s.by, n.key)
	s.all[n.number] = nil
	s.free = append(s.free, n.number)
}

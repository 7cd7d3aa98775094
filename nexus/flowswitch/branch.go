package flowswitch

import (
	"syscall"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns branches: flows by what is in a datagram.

// Branch answers an abi.BranchRequest.
func (s *Switch) Branch(c *channel.Channel, r *abi.BranchRequest) syscall.Errno {
	a := s.channel(c.ID)
	if a == nil {
		return syscall.ENXIO
	}
	a.requests.Lock()
	defer a.requests.Unlock()
	if s.channel(c.ID) == nil { // it has gone meanwhile
		return syscall.ENXIO
	}
	trunk := s.table.ByID(r.Flow)
	if trunk == nil || trunk.Port != c.ID || trunk.Generation != r.Generation {
		return syscall.ENOENT
	}
	if r.Count > abi.PatternsMax {
		return syscall.EINVAL
	}
	list := make([]flow.Pattern, r.Count)
	for i := range list {
		p := &r.Patterns[i]
		if p.Length > abi.PatternMax || p.Offset > flow.PatternReach {
			return syscall.EINVAL
		}
		list[i] = flow.Pattern{Offset: int(p.Offset), Bytes: p.Bytes[:p.Length]}
	}
	b, err := s.table.AddBranch(s.now(), trunk, list)
	if err != nil {
		return errno(err)
	}
	r.Flow, r.Generation = b.ID, b.Generation
	return 0
}

// ahead reads the front of a packet before it is copied to its domain.
type ahead struct {
	room   [packet.FrontMax + flow.PatternReach]byte
	n, off int
	rest   func([]byte)
	// all is fill.
	all func(piece []byte)
}

// fronts is where who delivers packets reads their fronts: one after the other. It has no
// memory before the first packet for a flow with branches.
type fronts struct{ *ahead }

// read reads the front of a packet of n bytes. The packet is copied by what it returns then.
func (f *fronts) read(n int, from func([]byte)) (front []byte, all func([]byte)) {
	if f.ahead == nil {
		f.ahead = &ahead{}
		f.all = f.fill
	}
	a := f.ahead
	a.n, a.off, a.rest = min(n, len(a.room)), 0, from
	from(a.room[:a.n])
	return a.room[:a.n], a.all
}

// fill copies the packet, from its beginning.
func (a *ahead) fill(piece []byte) {
	n := copy(piece, a.room[a.off:a.n])
	if a.off += n; n < len(piece) {
		a.rest(piece[n:])
	}
}

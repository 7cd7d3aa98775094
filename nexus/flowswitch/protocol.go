package flowswitch

import (
	"net/netip"
	"syscall"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/netns"
	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns the protocols that a domain has whole: one domain each, which may take its
// own as often as it likes.

// bindProtocol is abi.FlowBind of one.
func (s *Switch) bindProtocol(a *attached, r *abi.FlowRequest) syscall.Errno {
	if r.Protocol > 255 || netns.IsHostProtocol(uint8(r.Protocol)) {
		return syscall.EPROTONOSUPPORT
	}
	if r.LocalPort != 0 {
		return syscall.EINVAL
	}
	proto := uint8(r.Protocol)
	if !a.policy.MayHave(proto) {
		return syscall.EACCES
	}
	s.whole.Lock()
	defer s.whole.Unlock()
	if err := s.names.ReserveProtocol(netns.Owner(a.Owner), proto); err != nil {
		return errno(err)
	}
	f := s.table.Lookup(&packet.Key{Proto: proto})
	if f == nil || f.Flags() != 0 || f.Port != a.ID {
		var err error
		f, err = s.table.Add(s.now(), flow.Spec{Mask: flow.Protocol, Key: packet.Key{Proto: proto}, Owner: a.Owner, Port: a.ID})
		if err != nil {
			s.names.ReleaseProtocol(netns.Owner(a.Owner), proto)
			return errno(err)
		}
	}
	s.answer(f, netip.AddrPortFrom(netip.AddrFrom16(r.Local), 0), r)
	return 0
}

// close is abi.FlowClose.
func (s *Switch) close(f *flow.Flow) {
	if f.Mask == flow.Protocol {
		s.whole.Lock()
		defer s.whole.Unlock()
		if !s.names.ReleaseProtocol(netns.Owner(f.Owner), f.Key.Proto) {
			return // it has taken it more often
		}
	}
	s.table.Close(s.now(), f, flow.LingerMax)
}

// freeProtocol gives the protocol of a flow back that has ended.
func (s *Switch) freeProtocol(f *flow.Flow) {
	if f.Mask != flow.Protocol {
		return
	}
	s.whole.Lock()
	defer s.whole.Unlock()
	if at := s.table.Lookup(&packet.Key{Proto: f.Key.Proto}); at == nil || at.Flags() != 0 {
		s.names.FreeProtocol(netns.Owner(f.Owner), f.Key.Proto)
	} // else it was taken again
}

// whole says whether a packet is of a protocol that a domain may have whole.
func whole(in *packet.Info) bool { return !netns.IsHostProtocol(in.Proto) }

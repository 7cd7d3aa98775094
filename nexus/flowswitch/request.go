package flowswitch

import (
	"net/netip"
	"syscall"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/netns"
)

// Flow answers a domain's request about a flow (abi.FlowRequest). It does not
// wait: the way to a peer is found out while the first packet is held.
func (s *Switch) Flow(c *channel.Channel, r *abi.FlowRequest) syscall.Errno {
	s.mu.RLock()
	a := s.channels[c.ID]
	var f *Flow
	if a != nil && r.Flow != 0 {
		f = a.flows[r.Flow]
	}
	s.mu.RUnlock()
	if a == nil {
		return syscall.ENXIO
	}
	if r.Flow != 0 && (f == nil || f.Generation != r.Generation) {
		return syscall.ENOENT
	}
	if r.LocalPort > 0xffff || r.RemotePort > 0xffff {
		return syscall.EINVAL
	}
	switch {
	case r.Op == abi.FlowBind && f == nil:
		return s.bind(a, r)
	case r.Op == abi.FlowListen && f != nil:
		return s.listen(f)
	case r.Op == abi.FlowConnect:
		return s.connect(a, f, r)
	case r.Op == abi.FlowClose && f != nil:
		s.closeFlow(f)
		return 0
	}
	return syscall.EINVAL
}

// protocol returns that of a request; false for one that has no flows.
func protocol(r *abi.FlowRequest) (uint8, bool) {
	switch r.Protocol {
	case protoTCP, protoUDP, protoICMP, protoICMPv6:
		return uint8(r.Protocol), true
	}
	return 0, false
}

// bind is abi.FlowBind.
func (s *Switch) bind(a *attached, r *abi.FlowRequest) syscall.Errno {
	proto, ok := protocol(r)
	if !ok {
		return syscall.EPROTONOSUPPORT
	}
	addr := netip.AddrFrom16(r.Local).Unmap()
	port := uint16(r.LocalPort)
	if !addr.IsUnspecified() && !s.local(addr) {
		return syscall.EADDRNOTAVAIL
	}
	serves := false
	switch proto {
	case protoUDP:
		serves = port != 0 && a.policy.MayListen(proto, port) || port == 0 && a.policy.MayListen(proto, 0)
		if !serves && !(port == 0 && a.policy.MayBindEphemeral(proto)) {
			return syscall.EACCES
		}
	case protoTCP:
		if !a.policy.MayListen(proto, port) {
			return syscall.EACCES
		}
		serves = true
	}
	f := &Flow{
		Proto: proto, Dual: r.Flags&abi.FlowDual != 0, serves: serves,
		channel: a, created: s.now(),
	}
	q := netns.Request{
		Kind: netns.Bound, Local: netip.AddrPortFrom(addr, port), Dual: f.Dual, Reuse: r.Flags&abi.FlowReuse != 0,
	}
	if proto == protoUDP {
		q.Kind = netns.Listener
	}
	return s.reserve(a, f, q, r)
}

// reserve takes a flow's port and adds the flow, and fills in the answer.
func (s *Switch) reserve(a *attached, f *Flow, q netns.Request, r *abi.FlowRequest) syscall.Errno {
	if len(a.flows) >= flowsMax {
		return syscall.ENOMEM
	}
	q.Owner, q.Proto = netns.Owner(a.Owner), f.Proto
	f.Local, f.Remote = q.Local, q.Remote
	if f.named() {
		claim, err := s.names.Reserve(s.time(), q)
		if err != nil {
			return netns.Errno(err)
		}
		f.claim, f.claimed = claim, true
		f.Local = netip.AddrPortFrom(q.Local.Addr(), claim.Port())
	}
	f.lastUsed.Store(f.created)
	s.mu.Lock()
	ok := s.insert(f)
	s.mu.Unlock()
	if !ok {
		s.release(f, 0)
		return syscall.EADDRINUSE
	}
	s.answer(f, r)
	return 0
}

// answer fills in what a request gave.
func (s *Switch) answer(f *Flow, r *abi.FlowRequest) {
	r.Flow, r.Generation, r.MTU = f.ID, f.Generation, uint32(s.port.MTU())
	r.Local, r.LocalPort = f.Local.Addr().As16(), uint32(f.Local.Port())
}

// listen is abi.FlowListen.
func (s *Switch) listen(f *Flow) syscall.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Proto != protoTCP || f.Kind() != Bound && f.Kind() != Listener {
		return syscall.EINVAL
	}
	if f.Kind() == Bound {
		if err := f.claim.Listen(s.time()); err != nil {
			return netns.Errno(err)
		}
	}
	f.kind.Store(uint32(Listener))
	return 0
}

// connect is abi.FlowConnect. A bound flow gets its peer, and another key.
func (s *Switch) connect(a *attached, f *Flow, r *abi.FlowRequest) syscall.Errno {
	proto, ok := protocol(r)
	if f != nil {
		proto, ok = f.Proto, true
	}
	if !ok {
		return syscall.EPROTONOSUPPORT
	}
	remote := netip.AddrPortFrom(netip.AddrFrom16(r.Remote).Unmap(), uint16(r.RemotePort))
	if !remote.Addr().IsValid() || remote.Addr().IsUnspecified() || remote.Port() == 0 && (proto == protoTCP || proto == protoUDP) {
		return syscall.EINVAL
	}
	if remote.Addr().IsMulticast() {
		return syscall.EADDRNOTAVAIL
	}
	if (proto == protoTCP || proto == protoUDP) && !a.policy.MayConnect(proto, remote) {
		return syscall.EACCES
	}
	source, ok := s.port.Source(remote.Addr())
	if !ok {
		return syscall.ENETUNREACH
	}
	if f != nil {
		return s.connectBound(f, source, remote, r)
	}
	made := &Flow{Proto: proto, channel: a, created: s.now(), serves: true}
	made.kind.Store(uint32(Connected))
	errno := s.reserve(a, made, netns.Request{
		Kind: netns.Connected, Local: netip.AddrPortFrom(source, 0), Remote: remote,
	}, r)
	if errno == 0 {
		s.port.Resolve(remote.Addr(), func(bool) {})
	}
	return errno
}

// connectBound gives a bound flow its peer, and with it another key.
func (s *Switch) connectBound(f *Flow, source netip.Addr, remote netip.AddrPort, r *abi.FlowRequest) syscall.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Kind() != Bound || s.byID[f.ID] != f {
		return syscall.EISCONN
	}
	if !f.Local.Addr().IsUnspecified() {
		source = f.Local.Addr()
	}
	if source.Is4() != remote.Addr().Is4() {
		return syscall.EAFNOSUPPORT
	}
	local := netip.AddrPortFrom(source, f.Local.Port())
	if s.flows[key{f.Proto, local, remote}] != nil {
		return syscall.EADDRINUSE
	}
	if f.named() {
		if err := f.claim.Connect(s.time(), source, remote); err != nil {
			return netns.Errno(err)
		}
	}
	s.remove(f)
	f.kind.Store(uint32(Connected))
	f.Local, f.Remote = local, remote
	s.insert(f)
	s.answer(f, r)
	return 0
}

// closeFlow is abi.FlowClose: the domain's socket is done with the flow. A
// connection that is not over lingers until it is.
func (s *Switch) closeFlow(f *Flow) {
	s.mu.Lock()
	f.closing = true
	lingers := f.Proto == protoTCP && f.Kind() == Connected && f.tcp.over() == 0 && f.TxPackets.Load() > 0
	if !lingers {
		s.remove(f)
	}
	s.mu.Unlock()
	if !lingers {
		s.release(f, 0)
	}
}

// named says that the flow's port is one of the machine's name space: an echo's
// identifier is not.
func (f *Flow) named() bool { return f.Proto == protoTCP || f.Proto == protoUDP }

func (s *Switch) time() time.Duration { return time.Duration(s.now()) }

package flowswitch

import (
	"errors"
	"net/netip"
	"syscall"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/flow"
	"github.com/sluice-os/sluice/nexus/netns"
	"github.com/sluice-os/sluice/nexus/packet"
)

// Flow answers a domain's request about a flow (abi.FlowRequest). It does not
// wait: the way to a peer is found out while the first packet is held.
func (s *Switch) Flow(c *channel.Channel, r *abi.FlowRequest) syscall.Errno {
	a := s.channel(c.ID)
	if a == nil {
		return syscall.ENXIO
	}
	a.requests.Lock()
	defer a.requests.Unlock()
	if s.channel(c.ID) == nil { // it has gone meanwhile
		return syscall.ENXIO
	}
	var f *flow.Flow
	if r.Flow != 0 {
		f = s.table.ByID(r.Flow)
		if f == nil || f.Port != c.ID || f.Generation != r.Generation {
			return syscall.ENOENT
		}
		if f.Trunk != 0 && r.Op != abi.FlowClose {
			return syscall.EINVAL // it has no port
		}
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
	case r.Op == abi.FlowJoin && f != nil:
		return s.join(a, f, r)
	case r.Op == abi.FlowLeave && f != nil:
		return s.leave(f, r)
	case r.Op == abi.FlowClose && f != nil:
		s.close(f)
		s.Reap()
		return 0
	}
	return syscall.EINVAL
}

// protocol returns that of a request; false for one that has no flows.
func protocol(r *abi.FlowRequest) (uint8, bool) {
	switch r.Protocol {
	case packet.TCP, packet.UDP, packet.ICMP, packet.ICMPv6:
		return uint8(r.Protocol), true
	}
	return 0, false
}

// errno is Linux' for an error of packages flow and netns.
func errno(err error) syscall.Errno {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flow.ErrExists):
		return syscall.EADDRINUSE
	case errors.Is(err, flow.ErrOwnerLimit), errors.Is(err, flow.ErrTableFull):
		return syscall.ENOMEM
	case errors.Is(err, flow.ErrGone):
		return syscall.ENOENT
	case errors.Is(err, flow.ErrInvalid), errors.Is(err, flow.ErrState):
		return syscall.EINVAL
	}
	return netns.Errno(err)
}

// bind is abi.FlowBind.
func (s *Switch) bind(a *attached, r *abi.FlowRequest) syscall.Errno {
	proto, ok := protocol(r)
	if !ok {
		return s.bindProtocol(a, r)
	}
	addr, port := netip.AddrFrom16(r.Local).Unmap(), uint16(r.LocalPort)
	if !addr.IsUnspecified() && !s.port.Local(addr) {
		return syscall.EADDRNOTAVAIL
	}
	q := netns.Request{Local: netip.AddrPortFrom(addr, port), Dual: r.Flags&abi.FlowDual != 0, Reuse: r.Flags&abi.FlowReuse != 0}
	switch proto {
	case packet.UDP:
		q.Kind = netns.Listener
		if !a.policy.MayListen(proto, port) {
			// A port by number is what a domain had in a channel that is defunct.
			q.Ephemeral = true
			if !a.policy.MayBindEphemeral(proto) || port != 0 && !netns.IsEphemeral(port) {
				return syscall.EACCES
			}
		}
	case packet.TCP:
		q.Kind = netns.Bound
		if !a.policy.MayListen(proto, port) {
			return syscall.EACCES
		}
	}
	if proto != packet.TCP && proto != packet.UDP && port > netns.EphemeralLast {
		return syscall.EADDRINUSE // the host stack's
	}
	spec := flow.Spec{Kind: flow.Bound, Mask: flow.Tuple3}
	spec.Key.Version = version(addr)
	if addr.IsUnspecified() {
		spec.Mask = flow.Tuple2Version
		if q.Dual && addr.Is6() {
			spec.Mask = flow.Tuple2
		}
	} else {
		spec.Key.Local = packet.Bytes(addr)
	}
	return s.reserve(a, proto, q, spec, r)
}

func version(a netip.Addr) uint8 {
	if a.Is4() {
		return 4
	}
	return 6
}

// reserve takes a port of the name space and adds the flow, and fills in the answer.
// An echo's identifier is no port, and the table alone knows which are in use.
func (s *Switch) reserve(a *attached, proto uint8, q netns.Request, spec flow.Spec, r *abi.FlowRequest) syscall.Errno {
	var claim netns.Reservation
	port := q.Local.Port()
	if proto == packet.TCP || proto == packet.UDP {
		q.Owner, q.Proto = netns.Owner(a.Owner), proto
		var err error
		if claim, err = s.names.Reserve(s.now(), q); err != nil {
			return errno(err)
		}
		port = claim.Port()
	}
	spec.Key.Proto, spec.Key.LocalPort = proto, port
	spec.Owner, spec.Port = a.Owner, a.ID
	add := s.table.Add
	if port == 0 {
		add = s.addEcho
	}
	f, err := add(s.now(), spec)
	if err != nil {
		claim.Release(s.now(), 0)
		return errno(err)
	}
	s.mu.Lock()
	s.claims[f.ID] = claim
	s.mu.Unlock()
	s.answer(f, netip.AddrPortFrom(q.Local.Addr(), f.Key.LocalPort), r)
	return 0
}

// addEcho adds a flow of echoes under an identifier that is free.
func (s *Switch) addEcho(now time.Duration, spec flow.Spec) (f *flow.Flow, err error) {
	const count, tries = netns.EphemeralLast - netns.EphemeralFirst + 1, 1024
	for range tries {
		spec.Key.LocalPort = netns.EphemeralFirst + uint16(s.echoes.Add(1)%count)
		if f, err = s.table.Add(now, spec); !errors.Is(err, flow.ErrExists) {
			break
		}
	}
	return f, err
}

// answer fills in what a request gave.
func (s *Switch) answer(f *flow.Flow, local netip.AddrPort, r *abi.FlowRequest) {
	r.Flow, r.Generation, r.MTU = f.ID, f.Generation, uint32(s.port.MTU())
	if f.Mask == flow.Tuple5 {
		r.MTU = uint32(s.port.PathMTU(f.Key.RemoteAddr()))
	}
	r.Local, r.LocalPort = local.Addr().As16(), uint32(local.Port())
}

// claim returns the port of a flow.
func (s *Switch) claim(f *flow.Flow) netns.Reservation {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.claims[f.ID]
}

// listen is abi.FlowListen.
func (s *Switch) listen(f *flow.Flow) syscall.Errno {
	if f.Kind() == flow.Listener {
		return 0
	}
	if f.Kind() != flow.Bound || f.Key.Proto != packet.TCP {
		return syscall.EINVAL
	}
	if err := s.claim(f).Listen(s.now()); err != nil {
		return errno(err)
	}
	return errno(s.table.Listen(f))
}

// connect is abi.FlowConnect. A bound flow becomes another, with the same port.
func (s *Switch) connect(a *attached, f *flow.Flow, r *abi.FlowRequest) syscall.Errno {
	proto, ok := protocol(r)
	if f != nil {
		proto, ok = f.Key.Proto, true
	}
	if !ok {
		return syscall.EPROTONOSUPPORT
	}
	remote := netip.AddrPortFrom(netip.AddrFrom16(r.Remote).Unmap(), uint16(r.RemotePort))
	ports := proto == packet.TCP || proto == packet.UDP
	if !ports {
		remote = netip.AddrPortFrom(remote.Addr(), 0) // an echo has one identifier
	}
	switch {
	case remote.Addr().IsUnspecified() || ports && remote.Port() == 0:
		return syscall.EINVAL
	case remote.Addr().IsMulticast() && proto != packet.UDP:
		return syscall.EADDRNOTAVAIL
	case ports && !a.policy.MayConnect(proto, remote):
		return syscall.EACCES
	}
	source, ok := s.port.Source(remote.Addr())
	if !ok {
		return syscall.ENETUNREACH
	}
	spec := flow.Spec{Kind: flow.Connected, Mask: flow.Tuple5}
	spec.Key = packet.Key{Version: version(remote.Addr()), Remote: packet.Bytes(remote.Addr()), RemotePort: remote.Port()}
	if f != nil {
		return s.connectBound(a, f, source, remote, spec, r)
	}
	spec.Key.Local = packet.Bytes(source)
	q := netns.Request{Kind: netns.Connected, Local: netip.AddrPortFrom(source, 0), Remote: remote}
	if err := s.reserve(a, proto, q, spec, r); err != 0 {
		return err
	}
	if f := s.table.ByID(r.Flow); f != nil {
		s.resolve(a, f)
	}
	return 0
}

// connectBound gives a bound flow its peer: its port moves to a flow of the full
// 5-tuple.
func (s *Switch) connectBound(a *attached, f *flow.Flow, source netip.Addr, remote netip.AddrPort, spec flow.Spec, r *abi.FlowRequest) syscall.Errno {
	if f.Kind() != flow.Bound {
		return syscall.EISCONN
	}
	if f.Mask == flow.Tuple3 {
		source = f.Key.LocalAddr()
	}
	if source.Is4() != remote.Addr().Is4() {
		return syscall.EAFNOSUPPORT
	}
	spec.Key.Local, spec.Key.LocalPort, spec.Key.Proto = packet.Bytes(source), f.Key.LocalPort, f.Key.Proto
	spec.Owner, spec.Port = a.Owner, a.ID
	claim := s.claim(f)
	if claim != (netns.Reservation{}) {
		if err := claim.Connect(s.now(), source, remote); err != nil {
			return errno(err)
		}
	}
	made, err := s.table.Add(s.now(), spec)
	if err != nil {
		return errno(err) // the port is the peer's alone from now on: the domain closes it
	}
	s.mu.Lock()
	delete(s.claims, f.ID)
	s.claims[made.ID] = claim
	s.mu.Unlock()
	s.table.Close(s.now(), f, 0)
	s.Reap()
	s.answer(made, netip.AddrPortFrom(source, f.Key.LocalPort), r)
	s.resolve(a, made)
	return 0
}

package host

// ICMP echo requests of our own.

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/sluice-os/sluice/kernel/host/netinfo"
)

// pingHeader is the length of an ICMP echo header; pingData that of the data,
// as iputils sends it.
const (
	pingHeader = 8
	pingData   = 56
)

// ErrNoReply says that nothing came back in time.
var ErrNoReply = errors.New("no reply")

// Pinger sends echo requests to one address. Its methods must not be called
// concurrently.
type Pinger struct {
	s        *Stack
	to       tcpip.FullAddress
	v4       bool
	ep       tcpip.Endpoint
	wq       waiter.Queue
	entry    waiter.Entry
	readable <-chan struct{}
}

// NewPinger prepares to ping an address. It fails when there is no route.
func (s *Stack) NewPinger(to netip.Addr) (*Pinger, error) {
	to = to.Unmap().WithZone("")
	p := &Pinger{s: s, v4: to.Is4(), to: tcpip.FullAddress{Addr: toAddress(to)}}
	transport, network := icmp.ProtocolNumber6, ipv6.ProtocolNumber
	if p.v4 {
		transport, network = icmp.ProtocolNumber4, ipv4.ProtocolNumber
	}
	// Left to itself gVisor sends to the card's own addresses over the
	// loopback, where it answers echo requests only for addresses it has there.
	if isLinkLocal(p.to.Addr) || s.ownsOnCard(p.to.Addr) {
		p.to.NIC = cardID
	}
	ep, err := s.net.NewEndpoint(transport, network, &p.wq)
	if err != nil {
		return nil, fmt.Errorf("ping %v: %v", to, err)
	}
	p.ep = ep
	ep.SocketOptions().SetReceiveBufferSize(pingReceive, false)
	ep.SocketOptions().SetReceiveTTL(true)
	ep.SocketOptions().SetReceiveHopLimit(true)
	if err := ep.Connect(p.to); err != nil {
		ep.Close()
		return nil, fmt.Errorf("ping %v: %v", to, err)
	}
	p.entry, p.readable = waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventErr)
	p.wq.EventRegister(&p.entry)
	return p, nil
}

// ownsOnCard reports whether the card's interface has the address.
func (s *Stack) ownsOnCard(a tcpip.Address) bool {
	info, ok := s.net.SingleNICInfo(cardID)
	return ok && slices.ContainsFunc(info.ProtocolAddresses, func(p tcpip.ProtocolAddress) bool {
		return p.AddressWithPrefix.Address == a
	})
}

// Close ends the pinger.
func (p *Pinger) Close() {
	p.wq.EventUnregister(&p.entry)
	p.ep.Close()
}

// Ping sends request number seq and waits for the answer to it, until timeout
// (ErrNoReply) or the end of ctx.
func (p *Pinger) Ping(ctx context.Context, seq uint16, timeout time.Duration) (netinfo.Echo, error) {
	request := make([]byte, pingHeader+pingData)
	for i := range request[pingHeader:] {
		request[pingHeader+i] = byte(i)
	}
	binary.BigEndian.PutUint16(request[6:], seq)
	request[0] = byte(header.ICMPv6EchoRequest)
	if p.v4 {
		request[0] = byte(header.ICMPv4Echo)
	}
	expired := make(chan struct{})
	timer := p.s.clock.AfterFunc(timeout, func() { close(expired) })
	defer timer.Stop()

	start := p.s.clock.NowMonotonic()
	if _, err := p.ep.Write(bytes.NewReader(request), tcpip.WriteOptions{}); err != nil {
		return netinfo.Echo{}, fmt.Errorf("ping: %v", err)
	}
	for {
		var reply bytes.Buffer
		r, err := p.ep.Read(&reply, tcpip.ReadOptions{NeedRemoteAddr: true})
		switch err.(type) {
		case nil:
			e, ok := p.parse(reply.Bytes(), r, seq)
			if ok {
				e.RTT = p.s.clock.NowMonotonic().Sub(start)
				return e, nil
			}
			continue
		case *tcpip.ErrWouldBlock:
		default:
			return netinfo.Echo{}, fmt.Errorf("ping: %v", err)
		}
		select {
		case <-p.readable:
		case <-expired:
			return netinfo.Echo{}, ErrNoReply
		case <-ctx.Done():
			return netinfo.Echo{}, ctx.Err()
		}
	}
}

// parse reads a reply; ok says that it answers request number seq.
func (p *Pinger) parse(b []byte, r tcpip.ReadResult, seq uint16) (e netinfo.Echo, ok bool) {
	want := byte(header.ICMPv6EchoReply)
	e.TTL = r.ControlMessages.HopLimit
	if p.v4 {
		want = byte(header.ICMPv4EchoReply)
		e.TTL = r.ControlMessages.TTL
	}
	if len(b) < pingHeader || b[0] != want || binary.BigEndian.Uint16(b[6:]) != seq {
		return e, false
	}
	e.From, e.Sequence, e.Bytes = fromAddress(r.RemoteAddr.Addr), seq, len(b)
	return e, true
}

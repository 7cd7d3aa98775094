package qemutest

// The peer's ping.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// pingInterval is the pause after which a request counts as lost.
const pingInterval = time.Second

// pingPayload makes a reply recognisable.
var pingPayload = []byte("sluice qemutest: an ICMP echo of some bytes.")

// echoRequest returns an echo request. The stack fills in identifier and
// checksum.
func echoRequest(to netip.Addr, seq uint16) []byte {
	b := make([]byte, header.ICMPv4MinimumSize, header.ICMPv4MinimumSize+len(pingPayload))
	if to.Is4() {
		h := header.ICMPv4(b)
		h.SetType(header.ICMPv4Echo)
		h.SetSequence(seq)
	} else {
		h := header.ICMPv6(b)
		h.SetType(header.ICMPv6EchoRequest)
		h.SetSequence(seq)
	}
	return append(b, pingPayload...)
}

// replySequence returns the number of an echo reply with our payload.
func replySequence(to netip.Addr, b []byte) (uint16, bool) {
	if len(b) < header.ICMPv4MinimumSize || !bytes.Equal(b[header.ICMPv4MinimumSize:], pingPayload) {
		return 0, false
	}
	if to.Is4() {
		h := header.ICMPv4(b)
		return h.Sequence(), h.Type() == header.ICMPv4EchoReply
	}
	h := header.ICMPv6(b)
	return h.Sequence(), h.Type() == header.ICMPv6EchoReply
}

// ping sends requests until one is answered or ctx ends.
func (p *Peer) ping(ctx context.Context, to netip.Addr) (time.Duration, error) {
	transport, network := icmp.ProtocolNumber4, ipv4.ProtocolNumber
	if to.Is6() {
		transport, network = icmp.ProtocolNumber6, ipv6.ProtocolNumber
	}
	var wq waiter.Queue
	ep, terr := p.stack.NewEndpoint(transport, network, &wq)
	if terr != nil {
		return 0, fmt.Errorf("%v", terr)
	}
	defer ep.Close()
	entry, readable := waiter.NewChannelEntry(waiter.ReadableEvents)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	if terr := ep.Connect(tcpip.FullAddress{NIC: peerNIC, Addr: addressOf(to)}); terr != nil {
		return 0, fmt.Errorf("%v", terr)
	}

	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	sent := map[uint16]time.Time{}
	for seq := uint16(1); ; seq++ {
		sent[seq] = time.Now()
		// An error here (no neighbour yet) is a lost request like any other.
		ep.Write(bytes.NewReader(echoRequest(to, seq)), tcpip.WriteOptions{})
		for waiting := true; waiting; {
			var reply bytes.Buffer
			if _, terr := ep.Read(&reply, tcpip.ReadOptions{}); terr == nil {
				if n, ok := replySequence(to, reply.Bytes()); ok && !sent[n].IsZero() {
					return time.Since(sent[n]), nil
				}
				continue
			}
			select {
			case <-readable:
			case <-tick.C:
				waiting = false
			case <-ctx.Done():
				return 0, errors.New("no answer")
			}
		}
	}
}

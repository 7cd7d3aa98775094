package socket

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// ResetConnections ends all connections of TCP but those of the loopback, also those that
// are being made, that wait for Accept, and that no socket has any more. Listeners and
// datagrams are not touched.
func (s *Stack) ResetConnections() {
	for _, e := range s.Net.RegisteredEndpoints() {
		ep, ok := e.(*tcp.Endpoint)
		if !ok {
			continue
		}
		switch tcp.EndpointState(ep.State()) {
		case tcp.StateInitial, tcp.StateBound, tcp.StateListen, tcp.StateClose, tcp.StateError:
			continue
		}
		if info, ok := ep.Info().(*stack.TransportEndpointInfo); ok && isLoopback(info.ID.LocalAddress) {
			continue
		}
		s.reset(ep)
	}
}

func (s *Stack) reset(ep *tcp.Endpoint) {
	if s.Reset == nil {
		ep.Abort()
		return
	}
	s.Reset(ep)
}

func isLoopback(a tcpip.Address) bool {
	if a.Len() == 4 {
		return header.IsV4LoopbackAddress(a)
	}
	return header.IsV6LoopbackAddress(a)
}

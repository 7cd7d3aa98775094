package host

// Ports: the name space has those of the machine, the host stack's own too.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// hostPorts is the first of the host stack's own ephemeral ports, the last is 65535. A domain
// may have one of them that the host stack does not use.
const hostPorts = 61000

// portTries is how many ports are tried for a connection.
const portTries = 16

var errNoPort = errors.New("no port is left")

// Reserve has f asked before a port is used, for a service or for a connection of the host
// stack's. ok is false where somebody else has it; release gives it back. It is called before
// Start.
func (s *Stack) Reserve(f func(protocol string, port uint16) (release func(), ok bool)) {
	s.reserve = f
}

// take takes a port.
func (s *Stack) take(protocol string, port uint16) (release func(), ok bool) {
	if s.reserve == nil {
		return func() {}, true
	}
	return s.reserve(protocol, port)
}

// dial opens a TCP or UDP connection to a server.
func (s *Stack) dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	remote := tcpip.FullAddress{Addr: toAddress(to.Addr().WithZone("")), Port: to.Port()}
	if isLinkLocal(remote.Addr) {
		remote.NIC = cardID
	}
	protocol := "udp"
	if strings.HasPrefix(network, "tcp") {
		protocol = "tcp"
	}
	err := errNoPort
	for range portTries {
		// Who can guess the port of a question can answer it (RFC 5452).
		var random [4]byte
		if _, err := io.ReadFull(s.cfg.Rand, random[:]); err != nil {
			return nil, fmt.Errorf("host: random source: %w", err)
		}
		local := tcpip.FullAddress{Port: uint16(hostPorts + binary.LittleEndian.Uint32(random[:])%(1<<16-hostPorts))}
		release, ok := s.take(protocol, local.Port)
		if !ok {
			continue
		}
		var c net.Conn
		if c, err = s.dialFrom(ctx, protocol, local, remote, release); err == nil {
			return c, nil
		}
		release()
		if bind := (&net.OpError{}); !strings.HasPrefix(err.Error(), "ep.Bind") && !(errors.As(err, &bind) && bind.Op == "bind") {
			break
		}
	}
	return nil, err
}

func (s *Stack) dialFrom(ctx context.Context, protocol string, local, remote tcpip.FullAddress, release func()) (net.Conn, error) {
	network := protocolOf(fromAddress(remote.Addr))
	if protocol == "tcp" {
		c, err := gonet.DialTCPWithBind(ctx, s.net, local, remote, network)
		if err != nil {
			return nil, err
		}
		return &tcpConn{TCPConn: c, release: sync.OnceFunc(release)}, nil
	}
	c, err := gonet.DialUDP(s.net, &local, &remote, network)
	if err != nil {
		return nil, err
	}
	return &udpConn{UDPConn: c, release: sync.OnceFunc(release)}, nil
}

// tcpConn and udpConn are connections with a port of the name space.
type tcpConn struct {
	*gonet.TCPConn
	release func()
}

// Close implements net.Conn.
func (c *tcpConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}

type udpConn struct {
	*gonet.UDPConn
	release func()
}

// Close implements net.Conn.
func (c *udpConn) Close() error {
	defer c.release()
	return c.UDPConn.Close()
}

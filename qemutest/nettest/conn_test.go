// Package nettest has the tests that any net.Conn must pass, for TCP connections
// over loopback addresses. They run on the host, and in a domain:
//
//	go run ./image test ./qemutest/nettest
package nettest

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"
)

// TestConn connects by each family, and by IPv4 to a listener of both.
func TestConn(t *testing.T) {
	for _, c := range []struct{ name, listen, host string }{
		{"IPv4", "127.0.0.1:0", "127.0.0.1"},
		{"IPv6", "[::1]:0", "::1"},
		{"IPv4 to both", "[::]:0", "127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) { return pipe(c.listen, c.host) })
		})
	}
}

// TestAcceptedConn has the accepted end where TestConn has the one that dialed.
func TestAcceptedConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c2, c1, stop, err = pipe("127.0.0.1:0", "127.0.0.1")
		return c1, c2, stop, err
	})
}

// pipe returns both ends of a connection: the one that dialed a host and the one
// that a listener accepted.
func pipe(listen, host string) (dialed, accepted net.Conn, stop func(), err error) {
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, nil, nil, err
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return nil, nil, nil, err
	}
	// The kernel's queue takes the connection before it is accepted.
	if dialed, err = net.Dial("tcp", net.JoinHostPort(host, port)); err != nil {
		return nil, nil, nil, err
	}
	if accepted, err = ln.Accept(); err != nil {
		dialed.Close()
		return nil, nil, nil, err
	}
	return dialed, accepted, func() { dialed.Close(); accepted.Close() }, nil
}

// The UDP side: a datagram, its answer.

package main

import (
	"errors"
	"net"
	"net/netip"
)

// largestDatagram is the most that UDP over IP can carry, in bytes.
const largestDatagram = 65535

// firstUserPort is the first port that a client picks for itself.
const firstUserPort = 1024

// mayAnswer tells whether a datagram from there is a client's. The ports below
// 1024 belong to services: to answer one that answers too would never end.
func mayAnswer(from netip.AddrPort) bool {
	a := from.Addr().Unmap()
	return from.Port() >= firstUserPort && a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// serveDatagrams sends datagrams back until c is closed.
func serveDatagrams(c *net.UDPConn) error {
	b := make([]byte, largestDatagram)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		// Other errors are about an earlier answer that nobody took.
		if err == nil && mayAnswer(from) {
			c.WriteToUDPAddrPort(b[:n], from)
		}
	}
}

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
)

// shapes are the ways in which a program takes a port: the network behind "tcp" or "udp",
// and the address.
var shapes = []struct{ family, host string }{
	{"4", ""}, {"6", ""}, {"", ""}, {"4", "10.0.2.15"}, {"6", "2001:db8:2::99"},
}

// kept is what keep has taken.
var kept io.Closer

// take takes a port in one of the shapes.
func take(network string, shape int, port string) (io.Closer, error) {
	s := shapes[shape]
	if network == "tcp" {
		return net.Listen(network+s.family, net.JoinHostPort(s.host, port))
	}
	return net.ListenPacket(network+s.family, net.JoinHostPort(s.host, port))
}

// keep gives back what it took last, and takes a port.
func keep(network string, shape int, port string) (err error) {
	if kept != nil {
		kept.Close()
	}
	kept, err = take(network, shape, port)
	if err != nil {
		kept = nil
	}
	return err
}

// inUse tries a port in each shape: x for what is in use by the error that programs ask for,
// o for what is free.
func inUse(network, port string) string {
	var s strings.Builder
	for i := range shapes {
		switch c, err := take(network, i, port); {
		case err == nil:
			s.WriteByte('o')
			c.Close()
		case errors.Is(err, syscall.EADDRINUSE):
			s.WriteByte('x')
		default:
			fmt.Fprintf(&s, "(%v)", err)
		}
	}
	return s.String()
}

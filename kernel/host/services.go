package host

// The services that the machine offers by itself: echo (RFC 862) and discard
// (RFC 863) over TCP, and the status page.

import (
	"net"
	"sync"
	"time"
)

const (
	discardPort = 9
	httpPort    = 80
	dhcpPort    = 68

	// streamBuffer is what echo, discard and /hash move at a time, in bytes.
	// Each connection has one.
	streamBuffer = 32 << 10
)

// idleMax is how long a connection may do nothing. A variable as httpStall is.
var idleMax = 60 * time.Second

var streamBuffers = sync.Pool{New: func() any { return new([streamBuffer]byte) }}

// serve opens all services whose ports are free.
func (s *Stack) serve() error {
	for _, service := range []struct {
		protocol string
		port     uint16
		open     func() error
	}{
		{"udp", echoPort, s.serveUDPEcho},
		{"tcp", echoPort, func() error { return s.serveTCP(echoPort, s.lim.echoConnections, echoTCP) }},
		{"tcp", discardPort, func() error { return s.serveTCP(discardPort, s.lim.discardConnections, discardTCP) }},
		{"tcp", httpPort, s.serveHTTP},
		{"udp", dhcpPort, func() error { return nil }}, // the client's, which has no socket
	} {
		if _, ok := s.take(service.protocol, service.port); !ok {
			s.link.echoElsewhere = s.link.echoElsewhere || service.protocol == "udp" && service.port == echoPort
			s.log.Debug("port left to a domain", "protocol", service.protocol, "port", service.port)
			continue
		}
		if err := service.open(); err != nil {
			return err
		}
	}
	return nil
}

// serveTCP runs f for each connection to port.
func (s *Stack) serveTCP(port uint16, max int, f func(net.Conn, []byte)) error {
	l, err := s.listen(port, max)
	if err != nil {
		return err
	}
	s.services = append(s.services, l)
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := streamBuffers.Get().(*[streamBuffer]byte)
				defer streamBuffers.Put(buf)
				f(c, buf[:])
			}()
		}
	})
	return nil
}

// idleTimer moves a connection's deadline, but not on every call: a timer
// costs more than a small read.
type idleTimer struct {
	c    net.Conn
	last time.Time
}

func (t *idleTimer) busy() {
	if now := time.Now(); now.Sub(t.last) > idleMax/4 {
		t.last = now
		t.c.SetDeadline(now.Add(idleMax))
	}
}

func echoTCP(c net.Conn, buf []byte) {
	idle := idleTimer{c: c}
	for {
		idle.busy()
		n, err := c.Read(buf)
		if n > 0 {
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func discardTCP(c net.Conn, buf []byte) {
	idle := idleTimer{c: c}
	for {
		idle.busy()
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

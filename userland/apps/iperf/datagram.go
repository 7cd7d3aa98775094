// UDP: datagrams of a test, their header, and what is missing of them.

package main

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// The datagrams of 4 bytes with which a client opens a stream and the server
// answers, those of today and those of versions before 3.12.
var (
	hello     = [4]byte{'9', '8', '7', '6'}
	answer    = [4]byte{'6', '7', '8', '9'}
	oldHello  = [4]byte{0x15, 0xcd, 0x5b, 0x07} // 123456789, little endian
	oldAnswer = [4]byte{0xb1, 0x68, 0xde, 0x3a} // 987654321, little endian
)

// reply returns the answer to the datagram that opens a stream.
func reply(b []byte) (a [4]byte, ok bool) {
	if len(b) != 4 {
		return a, false
	}
	switch [4]byte(b) {
	case hello:
		return answer, true
	case oldHello:
		return oldAnswer, true
	}
	return a, false
}

// header is at the start of a datagram: when it was sent, by a clock of the sender,
// and its number, from 1. Layout, big endian: seconds (4 bytes), microseconds (4),
// number (4, or 8 when wide).
type header struct {
	sent   time.Duration
	number int64
}

// parseHeader reads a header; ok is false when b is too short or says nonsense.
func parseHeader(b []byte, wide bool) (h header, ok bool) {
	if len(b) < smallestDatagram {
		return h, false
	}
	h.sent = time.Duration(binary.BigEndian.Uint32(b))*time.Second + time.Duration(binary.BigEndian.Uint32(b[4:]))*time.Microsecond
	if wide {
		n := binary.BigEndian.Uint64(b[8:])
		h.number = int64(n)
	} else {
		h.number = int64(binary.BigEndian.Uint32(b[8:]))
	}
	return h, h.number > 0
}

// put writes a header to b, which has smallestDatagram bytes at least.
func (h header) put(b []byte, wide bool) {
	binary.BigEndian.PutUint32(b, uint32(h.sent/time.Second))
	binary.BigEndian.PutUint32(b[4:], uint32(h.sent%time.Second/time.Microsecond))
	if wide {
		binary.BigEndian.PutUint64(b[8:], uint64(h.number))
	} else {
		binary.BigEndian.PutUint32(b[8:], uint32(h.number))
	}
}

// datagramCount is what a stream knows of its datagrams.
type datagramCount struct {
	packets int64         // the highest number
	lost    int64         // numbers that have not come
	jitter  time.Duration // RFC 3550, section 6.4.1
	transit time.Duration
	some    bool
}

// add takes in a datagram that came at a time of this side's clock.
func (c *datagramCount) add(h header, at time.Duration) {
	switch {
	case h.number > c.packets:
		c.lost += h.number - c.packets - 1
		c.packets = h.number
	case c.lost > 0:
		c.lost-- // it comes late
	}
	transit := at - h.sent
	if c.some {
		d := transit - c.transit
		c.jitter += (max(d, -d) - c.jitter) / 16
	}
	c.transit, c.some = transit, true
}

// datagrams are the streams of a UDP test.
type datagrams struct {
	host    netip.Addr // who may open them: the control connection's peer
	in, out int
	wide    bool
	full    chan struct{} // closed when all are there

	mu   sync.Mutex
	of   map[netip.AddrPort]*stream
	list []*stream
	to   []netip.AddrPort // of list
}

func newDatagrams(host netip.Addr, p *parameters) *datagrams {
	d := &datagrams{host: host.Unmap(), wide: p.Wide != 0, full: make(chan struct{}), of: map[netip.AddrPort]*stream{}}
	d.in, d.out = p.directions()
	return d
}

// take takes in a datagram and returns what to answer, if anything.
func (d *datagrams) take(b []byte, from netip.AddrPort, at time.Duration) (a [4]byte, ok bool) {
	d.mu.Lock()
	s := d.of[from]
	a, opens := reply(b)
	if s == nil && opens && from.Addr().Unmap() == d.host && len(d.list) < d.in+d.out {
		s = &stream{id: streamID(len(d.list)), sends: len(d.list) >= d.in}
		d.of[from] = s
		d.list = append(d.list, s)
		d.to = append(d.to, from)
		if len(d.list) == d.in+d.out {
			close(d.full)
		}
	}
	d.mu.Unlock()
	if s == nil || opens {
		return a, s != nil
	}
	if h, ok := parseHeader(b, d.wide); ok && !s.sends {
		s.mu.Lock()
		s.datagram.add(h, at)
		s.mu.Unlock()
		s.bytes.Add(int64(len(b)))
	}
	return a, false
}

// streams returns those that are there.
func (d *datagrams) streams() []*stream {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.list
}

// send sends datagrams to the client on stream n until stop is closed.
func (d *datagrams) send(c *net.UDPConn, n, size int, rate float64, stop <-chan struct{}) {
	s, to := d.list[n], d.to[n]
	b := append([]byte(nil), payload()[:min(size, tcpBuffer)]...)
	var number int64
	pace(rate, stop, func() (int64, bool) {
		number++
		header{time.Duration(time.Now().UnixNano()), number}.put(b, d.wide)
		if _, err := c.WriteToUDPAddrPort(b, to); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return 0, false
			}
			number-- // a full queue, or what an earlier one met
			time.Sleep(pause)
			return s.bytes.Load(), true
		}
		s.mu.Lock()
		s.datagram.packets = number
		s.mu.Unlock()
		return s.bytes.Add(int64(len(b))), true
	})
}

// port is the UDP side of the server. The test that runs gets what comes.
type port struct {
	conn *net.UDPConn
	test atomic.Pointer[datagrams]
}

// serve reads until the connection is closed.
func (p *port) serve() error {
	start := time.Now()
	b := make([]byte, largestDatagram+1)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if d := p.test.Load(); err == nil && d != nil {
			if a, ok := d.take(b[:n], from, time.Since(start)); ok {
				p.conn.WriteToUDPAddrPort(a[:], from)
			}
		}
	}
}

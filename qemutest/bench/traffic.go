package main

// The clients. Both guests are asked by the same code, in the same way.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
)

const (
	// block is what the client writes or reads at a time, in bytes.
	block = 256 << 10
	// bytesRequest is how much one GET /bytes asks for; the Linux guest has a
	// file of that length.
	bytesRequest = 32 << 20
	// trafficGrace is how long a measure may take beyond its span.
	trafficGrace = 30 * time.Second

	// datagram is the payload of the UDP echo measure, in bytes.
	datagram = 64
	// window is how many datagrams are on their way at a time. It keeps a guest
	// busy, and stays below the 256 buffers of its card's ring, so that what is
	// measured is what it answers and not how it drops.
	window = 128
	// burst is how many datagrams the client moves in one system call.
	burst = 64
	// lossMax is the silence after which datagrams on their way are lost.
	lossMax = 50 * time.Millisecond
)

// transferred is an amount of data and the time it took.
type transferred struct {
	bytes int64
	took  time.Duration
}

// megabits returns the rate in Mbit/s of payload.
func (t transferred) megabits() float64 { return float64(t.bytes) * 8 / 1e6 / t.took.Seconds() }

// dial connects. The connection ends with ctx, and trafficGrace after span.
func dial(ctx context.Context, network, address string, span time.Duration) (net.Conn, func(), error) {
	ctx, cancel := context.WithTimeout(ctx, span+trafficGrace)
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	return c, func() { stop(); cancel(); c.Close() }, nil
}

// send writes to a discard service for span, and at least one block. The time
// ends when the service has seen the end of the stream and closed its side, so
// that what only lies in a buffer does not count as taken.
func send(ctx context.Context, address string, span time.Duration) (t transferred, err error) {
	c, end, err := dial(ctx, "tcp", address, span)
	if err != nil {
		return t, err
	}
	defer end()
	data := make([]byte, block)
	start := time.Now()
	for first := true; first || time.Since(start) < span; first = false {
		n, err := c.Write(data)
		t.bytes += int64(n)
		if err != nil {
			return t, err
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return t, err
	}
	switch n, err := io.Copy(io.Discard, c); {
	case err != nil:
		return t, err
	case n > 0:
		return t, fmt.Errorf("discard answered with %d bytes", n)
	}
	t.took = time.Since(start)
	return t, nil
}

// receive reads GET /bytes over one connection for span, again and again.
func receive(ctx context.Context, address string, span time.Duration) (t transferred, err error) {
	ctx, cancel := context.WithTimeout(ctx, span+trafficGrace)
	defer cancel()
	transport := &http.Transport{ReadBufferSize: block, DisableCompression: true}
	defer transport.CloseIdleConnections()
	data := make([]byte, block)
	start := time.Now()
	for t.took = 0; t.took < span; t.took = time.Since(start) {
		request, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("http://%s/bytes?n=%d", address, bytesRequest), nil)
		if err != nil {
			return t, err
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			return t, err
		}
		n, err := readFor(response, data, start, span)
		t.bytes += n
		if err != nil {
			return t, err
		}
	}
	return t, nil
}

// readFor reads a response until its end or the end of the span, and at least
// once.
func readFor(response *http.Response, data []byte, start time.Time, span time.Duration) (n int64, err error) {
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.ContentLength != bytesRequest {
		return 0, fmt.Errorf("/bytes: %s with %d bytes, want %d", response.Status, response.ContentLength, bytesRequest)
	}
	for first := true; first || time.Since(start) < span; first = false {
		m, err := response.Body.Read(data)
		n += int64(m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// echoes is what came back.
type echoes struct {
	sent, received int
	took           time.Duration
}

// rate is in answers a second.
func (e echoes) rate() float64 { return float64(e.received) / e.took.Seconds() }

// exchange keeps window datagrams on their way to an echo service for span.
func exchange(c net.Conn, span time.Duration) (e echoes, err error) {
	socket := ipv4.NewPacketConn(c.(*net.UDPConn))
	out, in := messages(), messages()
	start := time.Now()
	for flying := 0; e.took < span; e.took = time.Since(start) {
		fresh := out[:min(burst, window-flying)]
		for i := range fresh {
			binary.BigEndian.PutUint64(fresh[i].Buffers[0], uint64(e.sent+i))
		}
		if len(fresh) > 0 {
			n, err := socket.WriteBatch(fresh, 0)
			if err != nil && !refused(err) {
				return e, err
			}
			e.sent += max(n, 0)
			flying += max(n, 0)
		}
		if err := c.SetReadDeadline(time.Now().Add(lossMax)); err != nil {
			return e, err
		}
		n, err := socket.ReadBatch(in, 0)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			flying = 0
		case err != nil && !refused(err):
			return e, err
		}
		for _, m := range in[:max(n, 0)] {
			if m.N == datagram {
				e.received++
			}
		}
		flying = max(flying-max(n, 0), 0)
	}
	return e, nil
}

// messages returns buffers for one burst.
func messages() []ipv4.Message {
	m := make([]ipv4.Message, burst)
	for i := range m {
		m[i].Buffers = [][]byte{make([]byte, datagram)}
	}
	return m
}

// refused reports whether err is the port-unreachable message of a service that
// has not started yet; the datagrams are lost and no more.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

package main

// The clients of the path's measures.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// keptConnections is how many connections ask at the same time.
	keptConnections = 16
	// newConnections is how many clients open a connection for each request.
	newConnections = 4

	keptRequest = "GET /healthz HTTP/1.1\r\nHost: guest\r\n\r\n"
	lastRequest = "GET /healthz HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n"
)

// takeRequests counts answers over kept connections.
func takeRequests(ctx context.Context, s settings, m *machine) (float64, error) {
	return together(ctx, s.Span, keptConnections, func(running func() bool, count func()) error {
		c, end, err := dial(ctx, "tcp", m.net.dialAddress(httpPort), s.Span)
		if err != nil {
			return err
		}
		defer end()
		in := bufio.NewReader(c)
		for running() {
			if _, err := io.WriteString(c, keptRequest); err != nil {
				return err
			}
			if err := answered(in); err != nil {
				return err
			}
			count()
		}
		return nil
	})
}

// takeConnections counts answers over a connection each.
func takeConnections(ctx context.Context, s settings, m *machine) (float64, error) {
	return together(ctx, s.Span, newConnections, func(running func() bool, count func()) error {
		for running() {
			c, end, err := dial(ctx, "tcp", m.net.dialAddress(httpPort), s.Span)
			if err != nil {
				return err
			}
			if _, err = io.WriteString(c, lastRequest); err == nil {
				err = answered(bufio.NewReader(c))
			}
			end()
			if err != nil {
				return err
			}
			count()
		}
		return nil
	})
}

// answered reads one answer.
func answered(in *bufio.Reader) error {
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var body [8]byte
	n, err := io.ReadFull(response.Body, body[:])
	if response.StatusCode != http.StatusOK || !bytes.Equal(body[:n], []byte("ok\n")) || !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("/healthz: %s, %q", response.Status, body[:n])
	}
	return nil
}

// together runs n clients until span is over and each has finished what it was at,
// and returns how much they counted in a second. The first error of one ends all.
func together(ctx context.Context, span time.Duration, n int, client func(running func() bool, count func()) error) (float64, error) {
	limited, cancel := context.WithTimeout(ctx, span)
	defer cancel()
	var (
		counted atomic.Int64
		wg      sync.WaitGroup
		failed  = make(chan error, n)
	)
	start := time.Now()
	for range n {
		wg.Go(func() {
			if err := client(func() bool { return limited.Err() == nil }, func() { counted.Add(1) }); err != nil {
				failed <- err
				cancel()
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	select {
	case err := <-failed:
		return 0, err
	default:
		return float64(counted.Load()) / took.Seconds(), ctx.Err()
	}
}

// viaStack has the kernel's own echo take the way through gVisor, as it does for
// headers with options: an IPv4 option that does nothing.
func viaStack(c net.Conn) error {
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptString(int(fd), syscall.IPPROTO_IP, syscall.IP_OPTIONS, "\x01\x01\x01\x01")
	})
	return errors.Join(err, failed)
}

// dialEcho connects to a guest's UDP echo.
func dialEcho(ctx context.Context, s settings, m *machine) (net.Conn, func(), error) {
	c, end, err := dial(ctx, "udp4", m.net.dialAddress(echoPort), s.Span)
	if err == nil && m.guest.Name == pathKernel {
		if err = viaStack(c); err != nil {
			end()
		}
	}
	return c, end, err
}

// takeStackEcho is takeUDP through gVisor in every Sluice guest.
func takeStackEcho(ctx context.Context, s settings, m *machine) (float64, error) {
	c, end, err := dialEcho(ctx, s, m)
	if err != nil {
		return 0, err
	}
	defer end()
	return echoRate(m, c, s.Span)
}

// takeEchoesAlone counts datagrams that are alone on their way.
func takeEchoesAlone(ctx context.Context, s settings, m *machine) (float64, error) {
	took, err := roundTrips(ctx, s, m)
	total := time.Duration(0)
	for _, t := range took {
		total += t
	}
	return float64(len(took)) / max(total.Seconds(), 1e-9), err
}

// takeRoundTrip returns a measure of how long one datagram takes that is alone on
// its way, in microseconds: the quantile of all.
func takeRoundTrip(quantile float64) func(context.Context, settings, *machine) (float64, error) {
	return func(ctx context.Context, s settings, m *machine) (float64, error) {
		took, err := roundTrips(ctx, s, m)
		if err != nil {
			return 0, err
		}
		slices.Sort(took)
		return float64(took[int(quantile*float64(len(took)-1))]) / 1e3, nil
	}
}

// roundTrips sends datagrams one after the other and returns how long each took.
func roundTrips(ctx context.Context, s settings, m *machine) ([]time.Duration, error) {
	c, end, err := dialEcho(ctx, s, m)
	if err != nil {
		return nil, err
	}
	defer end()
	var took []time.Duration
	buf := make([]byte, datagram)
	for start := time.Now(); time.Since(start) < s.Span; {
		sent := time.Now()
		if err := c.SetReadDeadline(sent.Add(time.Second)); err != nil {
			return nil, err
		}
		if _, err := c.Write(buf); err != nil {
			return nil, err
		}
		if _, err := c.Read(buf); err != nil {
			return nil, err
		}
		took = append(took, time.Since(sent))
	}
	return took, nil
}

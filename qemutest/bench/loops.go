package main

// The closed loops whose instructions are counted: the next question is asked when the answer
// has come.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// traceMeasure is a loop of so many units.
type traceMeasure struct {
	name, title string
	units       int
	// open returns the loop and what ends it.
	open func(ctx context.Context, m *machine) (loop func() error, end func(), err error)
}

const (
	tracedEchoes      = 16
	tracedWindow      = 32
	tracedRequests    = 8
	tracedConnections = 4
	// tracedSegments are sent in so many rounds, or asked for at once, of segmentPayload bytes.
	tracedSegments = 176
	tracedRounds   = 4
	segmentPayload = 1448
)

var traceMeasures = []traceMeasure{
	{"trace-udp", "UDP echo, one at a time", tracedEchoes, echoLoop(1, tracedEchoes)},
	{"trace-window", "UDP echo, 32 at a time", 4 * tracedWindow, echoLoop(tracedWindow, 4)},
	{"trace-http", "HTTP request", tracedRequests, requestLoop},
	{"trace-connection", "HTTP request and connection", tracedConnections, connectionLoop},
	{"trace-tcp-in", "TCP in, each 1448 bytes", tracedSegments, inLoop},
	{"trace-tcp-out", "TCP out, each 1448 bytes", tracedSegments, outLoop},
}

// echoLoop sends so many datagrams and waits for them, several times.
func echoLoop(window, rounds int) func(ctx context.Context, m *machine) (func() error, func(), error) {
	return func(ctx context.Context, m *machine) (func() error, func(), error) {
		c, end, err := dial(ctx, "udp", m.net.dialAddress(echoPort), callsMax)
		if err != nil {
			return nil, nil, err
		}
		out, in := make([]byte, datagram), make([]byte, datagram+1)
		return func() error {
			for range rounds {
				for range window {
					if _, err := c.Write(out); err != nil {
						return err
					}
				}
				for range window {
					if n, err := c.Read(in); err != nil || n != datagram {
						return fmt.Errorf("an echo of %d bytes: %w", n, err)
					}
				}
			}
			return nil
		}, end, nil
	}
}

func requestLoop(ctx context.Context, m *machine) (func() error, func(), error) {
	c, end, err := dial(ctx, "tcp", m.net.dialAddress(httpPort), callsMax)
	if err != nil {
		return nil, nil, err
	}
	in := bufio.NewReader(c)
	return func() error {
		for range tracedRequests {
			if _, err := io.WriteString(c, keptRequest); err != nil {
				return err
			}
			if err := answered(in); err != nil {
				return err
			}
		}
		return nil
	}, end, nil
}

func connectionLoop(ctx context.Context, m *machine) (func() error, func(), error) {
	return func() error {
		for range tracedConnections {
			c, end, err := dial(ctx, "tcp", m.net.dialAddress(httpPort), callsMax)
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
		}
		return nil
	}, func() {}, nil
}

// inLoop sends to the discard service, and waits each time until all has been acknowledged:
// before the host's TCP takes for lost what the traced guest has not come to.
func inLoop(ctx context.Context, m *machine) (func() error, func(), error) {
	c, end, err := dial(ctx, "tcp", m.net.dialAddress(discardPort), callsMax)
	if err != nil {
		return nil, nil, err
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		end()
		return nil, nil, err
	}
	data := make([]byte, tracedSegments/tracedRounds*segmentPayload)
	return func() error {
		for range tracedRounds {
			if _, err := c.Write(data); err != nil {
				return err
			}
			if err := acknowledged(ctx, raw); err != nil {
				return err
			}
		}
		return nil
	}, end, nil
}

// acknowledged waits until nothing of what was written is on its way.
func acknowledged(ctx context.Context, c syscall.RawConn) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(callsMax); ; {
		var n int
		var problem error
		if err := c.Control(func(fd uintptr) { n, problem = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
			return err
		}
		switch {
		case problem != nil || n == 0:
			return problem
		case time.Now().After(deadline):
			return fmt.Errorf("%d bytes are not acknowledged", n)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// outLoop fetches from memory on one connection.
func outLoop(ctx context.Context, m *machine) (func() error, func(), error) {
	c, end, err := dial(ctx, "tcp", m.net.dialAddress(httpPort), callsMax)
	if err != nil {
		return nil, nil, err
	}
	in := bufio.NewReaderSize(c, block)
	return func() error {
		const want = tracedSegments * segmentPayload
		if _, err := fmt.Fprintf(c, "GET /bytes?n=%d HTTP/1.1\r\nHost: guest\r\n\r\n", want); err != nil {
			return err
		}
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if n, err := io.Copy(io.Discard, response.Body); err != nil || n != want {
			return errors.Join(fmt.Errorf("%d bytes of %d have come", n, want), err)
		}
		return nil
	}, end, nil
}

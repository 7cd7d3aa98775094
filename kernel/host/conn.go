package host

import (
	"net"
	"os"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// smallWrite is the size in bytes below which a write is small: what it
	// costs beside its data counts.
	smallWrite = 4 << 10
	// smallWrites is how many small writes may wait for acknowledgements.
	smallWrites = 16
	// drainMax is how long the next one waits for them.
	drainMax = 30 * time.Second
)

// conn is an accepted connection. One goroutine at a time may write.
type conn struct {
	*gonet.TCPConn
	ep   tcpip.Endpoint
	wq   *waiter.Queue
	l    *listener
	once sync.Once
	// sendMax is the size of the send buffer; wide says that it is one of the
	// few large ones.
	sendMax int
	wide    bool
	// small counts the small writes since the send queue was seen empty.
	small int
}

func newConn(l *listener, ep tcpip.Endpoint, wq *waiter.Queue) net.Conn {
	c := &conn{TCPConn: gonet.NewTCPConn(wq, ep), ep: ep, wq: wq, l: l, sendMax: l.s.lim.sendMin}
	if c.wide = l.s.wide.Add(1) <= wideConnections; c.wide {
		c.sendMax = l.s.lim.sendMax
	} else {
		l.s.wide.Add(-1)
	}
	// Segments leave when they are written; the writers here write blocks.
	ep.SocketOptions().SetDelayOption(false)
	ep.SocketOptions().SetSendBufferSize(int64(c.sendMax), true)
	return c
}

// Write implements net.Conn. gVisor bounds the bytes that wait for
// acknowledgements, not what holds them, which for single bytes is hundreds of
// times as much: small writes are bounded here.
func (c *conn) Write(b []byte) (int, error) {
	if len(b) < smallWrite {
		if c.small == smallWrites {
			if err := c.drain(); err != nil {
				return 0, err
			}
		}
		c.small++
	}
	return c.TCPConn.Write(b)
}

// drain waits until the peer has acknowledged everything. gVisor tells writers
// when the queue falls below half of the buffer: of a buffer of two bytes, when
// it is empty. (That the size is set with "notify" orders it with what the
// endpoint is just doing.)
func (c *conn) drain() error {
	const events = waiter.WritableEvents | waiter.EventErr | waiter.EventHUp
	entry, changed := waiter.NewChannelEntry(events)
	c.wq.EventRegister(&entry)
	defer c.wq.EventUnregister(&entry)
	c.ep.SocketOptions().SetSendBufferSize(2, true)
	defer c.ep.SocketOptions().SetSendBufferSize(int64(c.sendMax), false)

	expired := make(chan struct{})
	timer := c.l.s.clock.AfterFunc(drainMax, func() { close(expired) })
	defer timer.Stop()
	for c.ep.Readiness(events) == 0 {
		select {
		case <-changed:
		case <-expired:
			return os.ErrDeadlineExceeded
		}
	}
	c.small = 0
	return nil
}

// Close implements net.Conn. What was written is still sent, for lingerMax.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.TCPConn.Close()
		c.l.linger(c.ep, c.wide)
	})
	return nil
}

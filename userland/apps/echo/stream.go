// The TCP side: connections, their number and their silence.

package main

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// streamBuffer is what a connection may have under way in here, in bytes.
const streamBuffer = 8 << 10

// acceptPause is how long to wait when the system has no descriptor or memory
// for one more connection.
const acceptPause = 50 * time.Millisecond

// streams are the connections of a listener.
type streams struct {
	limit int
	idle  time.Duration
	all   sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

func newStreams(limit int, idle time.Duration) *streams {
	return &streams{limit: limit, idle: idle, open: map[net.Conn]struct{}{}}
}

// serve accepts connections until l is closed, and returns when the last of them
// has ended.
func (s *streams) serve(l net.Listener) error {
	defer s.all.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if passing(err) {
				time.Sleep(acceptPause)
				continue
			}
			s.close()
			return err
		}
		if !s.add(c) {
			c.Close()
			continue
		}
		s.all.Go(func() {
			defer s.remove(c)
			echo(c, s.idle)
		})
	}
}

// passing tells whether to accept again may help.
func passing(err error) bool {
	return errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// add takes a connection in, if there is room.
func (s *streams) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.open) >= s.limit {
		return false
	}
	s.open[c] = struct{}{}
	return true
}

func (s *streams) remove(c net.Conn) {
	c.Close()
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
}

// close ends all connections and lets no more in.
func (s *streams) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.open {
		c.Close()
	}
}

// echo sends back what c says, until its end or until nothing has moved for idle.
func echo(c net.Conn, idle time.Duration) error {
	b := make([]byte, streamBuffer)
	for {
		c.SetDeadline(time.Now().Add(idle))
		n, err := c.Read(b)
		if n > 0 {
			c.SetDeadline(time.Now().Add(idle))
			if _, err := c.Write(b[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

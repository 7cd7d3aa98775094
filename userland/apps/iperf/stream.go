// A stream of a test: what it has carried, and TCP's way to carry it.

package main

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// tcpBuffer is what a TCP stream reads and writes at a time at most, in bytes.
const tcpBuffer = 64 << 10

// pause is the shortest that a sender with a limit sleeps; it sends what has become
// due meanwhile at once.
const pause = time.Millisecond

// payload is what senders send: bytes that do not compress.
var payload = sync.OnceValue(func() []byte {
	b := make([]byte, tcpBuffer)
	rand.NewChaCha8([32]byte{'s', 'l', 'u', 'i', 'c', 'e'}).Read(b)
	return b
})

// stream is one of a test's.
type stream struct {
	id    int
	sends bool
	conn  net.Conn // of TCP
	bytes atomic.Int64

	mu       sync.Mutex
	datagram datagramCount
	omitted  streamResult // its counts when the omitted part was over
}

// omit sets what there was so far aside.
func (s *stream) omit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.omitted = streamResult{Bytes: s.bytes.Load(), Errors: s.datagram.lost, Packets: s.datagram.packets}
	s.datagram.jitter = 0
}

// result returns what the stream has carried in a time.
func (s *stream) result(took time.Duration) streamResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	return streamResult{
		ID: s.id, Bytes: s.bytes.Load() - s.omitted.Bytes, Retransmits: -1,
		Jitter: s.datagram.jitter.Seconds(),
		Errors: s.datagram.lost, OmittedErrors: s.omitted.Errors,
		Packets: s.datagram.packets, OmittedPackets: s.omitted.Packets,
		EndTime: took.Seconds(),
	}
}

// receive reads until the connection or its deadline ends.
func (s *stream) receive(size int) {
	b := make([]byte, min(size, tcpBuffer))
	for {
		n, err := s.conn.Read(b)
		s.bytes.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// send writes blocks until the connection or its deadline ends, or stop is closed.
func (s *stream) send(size int, rate float64, stop <-chan struct{}) {
	b := payload()[:min(size, tcpBuffer)]
	pace(rate, stop, func() (int64, bool) {
		n, err := s.conn.Write(b)
		return s.bytes.Add(int64(n)), err == nil
	})
}

// pace calls one, which returns how much has been sent in all, as often as rate
// (bit/s, 0 for all there is) lets it, until stop is closed or one says no.
func pace(rate float64, stop <-chan struct{}, one func() (sent int64, more bool)) {
	start := time.Now()
	wait := time.NewTimer(time.Hour)
	defer wait.Stop()
	for {
		select {
		case <-stop:
			return
		default:
		}
		sent, more := one()
		if !more {
			return
		}
		if rate <= 0 {
			continue
		}
		if early := due(sent, rate) - time.Since(start); early > 0 {
			wait.Reset(max(early, pause))
			select {
			case <-stop:
				return
			case <-wait.C:
			}
		}
	}
}

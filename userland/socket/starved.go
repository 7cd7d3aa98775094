package socket

import (
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/waiter"
)

// starvedTime is how often those who could not send look whether they can.
const starvedTime = time.Millisecond

// starved are the sockets that were refused a datagram because Stack.Full said so.
// gVisor does not know of that, so it cannot tell when they may send again. The
// zero value has none.
type starved struct {
	mu    sync.Mutex
	socks map[*sock]struct{}
	timer *time.Timer // runs while there are any
}

// add has a socket told when full is false again.
func (s *starved) add(k *sock, full func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socks == nil {
		s.socks = map[*sock]struct{}{}
	}
	s.socks[k] = struct{}{}
	if s.timer == nil {
		s.timer = time.AfterFunc(starvedTime, func() { s.look(full) })
	} else if len(s.socks) == 1 {
		s.timer.Reset(starvedTime)
	}
}

// remove forgets a socket.
func (s *starved) remove(k *sock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.socks, k)
}

// look tells all of them, or waits on.
func (s *starved) look(full func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.socks) == 0:
	case full():
		s.timer.Reset(starvedTime)
	default:
		for k := range s.socks {
			k.wq.Notify(waiter.WritableEvents)
		}
		clear(s.socks)
	}
}

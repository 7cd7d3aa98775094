package socket

import (
	"sync"

	"gvisor.dev/gvisor/pkg/waiter"
)

// starved are the sockets that were refused a datagram because the link took none.
// gVisor does not know of that, so it cannot tell when they may send again. The
// zero value has none.
type starved struct {
	mu    sync.Mutex
	socks map[*sock]struct{}
}

// add has a socket told at the next call of tell.
func (s *starved) add(k *sock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socks == nil {
		s.socks = map[*sock]struct{}{}
	}
	s.socks[k] = struct{}{}
}

// remove forgets a socket that is closed: nobody sends through it.
func (s *starved) remove(k *sock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.socks, k)
}

// tell tells all of them that they may send.
func (s *starved) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.socks {
		k.wq.Notify(waiter.WritableEvents)
	}
	clear(s.socks)
}

package posix

import (
	"slices"
	"sync"
	"syscall"
)

// pollable is an object that tells when it may be read or written without waiting.
type pollable interface {
	// poll has ready called with 'r', 'w' or 'r'+'w' whenever that may have
	// become so, and at once for what is so now; nil ends it. Each descriptor of
	// the file has its own, and a second one is EEXIST. A call for nothing does no
	// harm, one that is missing does.
	poll(fd int, ready func(mode int)) syscall.Errno
}

// Modes of readiness.
const (
	modeRead  = 'r'
	modeWrite = 'w'
	modeBoth  = modeRead + modeWrite
)

// PollOpen begins to call PollReady with pd when a descriptor may be read or
// written. It is EPERM for one that never waits, and EEXIST if that has begun.
func (p *Process) PollOpen(fd int, pd uintptr) syscall.Errno {
	f, err := p.file(fd)
	if err != 0 {
		return err
	}
	defer f.release()
	o, ok := f.object.(pollable)
	if !ok || p.PollReady == nil {
		return syscall.EPERM
	}
	return o.poll(fd, func(mode int) { p.PollReady(pd, mode) })
}

// PollClose ends that.
func (p *Process) PollClose(fd int) syscall.Errno {
	f, err := p.file(fd)
	if err != 0 {
		return err
	}
	defer f.release()
	if o, ok := f.object.(pollable); ok {
		o.poll(fd, nil)
	}
	return 0
}

// watchers are those who wait for an object: goroutines in calls that wait, and
// pollers of descriptors. The zero value has none.
type watchers struct {
	mu      sync.Mutex
	pollers []poller
	first   [1]poller // room for as many as most have
	calls   map[chan struct{}]struct{}
	gone    bool // no descriptor is left
}

type poller struct {
	fd    int
	ready func(mode int)
}

// tell wakes them all. What it calls does not come back here.
func (w *watchers) tell(mode int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.calls {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	for _, p := range w.pollers {
		p.ready(mode)
	}
}

// abandon has until return, and never wait again: the last descriptor was closed. Who polled
// it is told of that, and of nothing more.
func (w *watchers) abandon() {
	w.mu.Lock()
	w.gone = true
	w.mu.Unlock()
	w.tell(modeBoth)
	w.mu.Lock()
	w.pollers, w.first = nil, [1]poller{}
	w.mu.Unlock()
}

// set names the poller of a descriptor, which has none.
func (w *watchers) set(fd int, ready func(mode int)) syscall.Errno {
	w.mu.Lock()
	defer w.mu.Unlock()
	same := func(p poller) bool { return p.fd == fd }
	switch {
	case ready == nil:
		w.pollers = slices.DeleteFunc(w.pollers, same)
	case slices.ContainsFunc(w.pollers, same):
		return syscall.EEXIST
	default:
		if w.pollers == nil {
			w.pollers = w.first[:0]
		}
		w.pollers = append(w.pollers, poller{fd, ready})
		ready(modeBoth)
	}
	return 0
}

// until calls try until it returns another error than EAGAIN, and waits between
// two calls until somebody tells. It is EBADF when the last descriptor is closed
// meanwhile.
func (w *watchers) until(try func() syscall.Errno) syscall.Errno {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	if w.calls == nil {
		w.calls = map[chan struct{}]struct{}{}
	}
	w.calls[c] = struct{}{}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.calls, c)
		w.mu.Unlock()
	}()
	for {
		if err := try(); err != syscall.EAGAIN {
			return err
		}
		w.mu.Lock()
		gone := w.gone
		w.mu.Unlock()
		if gone {
			return syscall.EBADF
		}
		<-c
	}
}

// How much a client may ask.

package main

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// mostClients is of how many clients is known what they asked; the one that was
// silent for longest is forgotten.
const mostClients = 1024

// burstTime is the time whose queries may come at once.
const burstTime = 2

// limits are token buckets, one a client.
type limits struct {
	rate float64 // tokens a second

	mu    sync.Mutex
	of    map[netip.Prefix]*list.Element
	order list.List // of *bucket, the last that asked in front
}

type bucket struct {
	client netip.Prefix
	tokens float64
	at     time.Duration
}

func newLimits(rate int) *limits {
	return &limits{rate: float64(rate), of: map[netip.Prefix]*list.Element{}}
}

// client returns who an address stands for: itself, or its /64 (IPv6), of which a
// client may use any.
func client(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// take tells whether a may ask once more.
func (l *limits) take(a netip.Addr, now time.Duration) bool {
	who := client(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.of[who]
	if e == nil {
		if len(l.of) >= mostClients {
			last := l.order.Back()
			delete(l.of, l.order.Remove(last).(*bucket).client)
		}
		e = l.order.PushFront(&bucket{who, l.rate * burstTime, now})
		l.of[who] = e
	} else {
		l.order.MoveToFront(e)
	}
	b := e.Value.(*bucket)
	b.tokens = min(b.tokens+l.rate*max(now-b.at, 0).Seconds(), l.rate*burstTime)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

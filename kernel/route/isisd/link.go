package isisd

import (
	"github.com/sluice-os/sluice/kernel/route/isis"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// This file owns links: what arrives on them waits here for the goroutine.

// Port is a link's card. Send must not block, and not keep the bytes.
type Port interface {
	Address() [6]byte
	Send(to [6]byte, pdu []byte)
}

const (
	// waitingMax is how many PDUs of a link may wait. What is dropped beyond is sent again by
	// those who have sent it.
	waitingMax = 256
	// turnMax is how many PDUs are taken before time and commands are looked at.
	turnMax = 64
)

// Link is one of the machine's links, whether the protocol runs on it or not.
type Link struct {
	r    *Router
	name string
	card rib.Card
	port Port

	// What follows is under Router.mu.
	facts   isis.Link
	news    bool
	waiting int
	dropped uint64

	// circuit is the instance's number of it, -1 for none. It belongs to the goroutine.
	circuit int
	known   isis.Link
}

// arrival is a PDU that waits.
type arrival struct {
	link *Link
	from pdu.SNPA
	b    []byte
}

// AddLink adds the link of a card, which routes name by its number. It is called before Start.
func (r *Router) AddLink(name string, card rib.Card, port Port) *Link {
	l := &Link{r: r, name: name, card: card, port: port, circuit: -1}
	r.links[name] = l
	return l
}

// Receive takes a PDU that has arrived. It copies the bytes and never blocks.
func (l *Link) Receive(from [6]byte, b []byte) {
	r := l.r
	r.mu.Lock()
	if l.waiting >= waitingMax || len(b) > pdu.LengthMax {
		l.dropped++
		r.mu.Unlock()
		return
	}
	l.waiting++
	var room []byte
	if n := len(r.free); n > 0 {
		room, r.free = r.free[n-1], r.free[:n-1]
	}
	r.queue = append(r.queue, arrival{l, from, append(room[:0], b...)})
	r.mu.Unlock()
	r.notify()
}

// Tell tells what the link is like now. It never blocks. The slices are the link's from then on.
func (l *Link) Tell(f isis.Link) {
	l.r.mu.Lock()
	l.facts, l.news = f, true
	l.r.mu.Unlock()
	l.r.notify()
}

// takeFacts gives the instance what is new of links.
func (r *Router) takeFacts() {
	r.mu.Lock()
	var news []*Link
	for _, l := range r.links {
		if l.news {
			l.news, l.known = false, l.facts
			news = append(news, l)
		}
	}
	r.mu.Unlock()
	for _, l := range news {
		if r.instance != nil && l.circuit >= 0 {
			r.instance.SetLink(r.env.Now(), l.circuit, l.known)
		}
	}
}

// takeArrivals gives the instance what has arrived, and says whether there is more.
func (r *Router) takeArrivals() (more bool) {
	var turn [turnMax]arrival
	r.mu.Lock()
	n := copy(turn[:], r.queue)
	r.queue = r.queue[:copy(r.queue, r.queue[n:])]
	more = len(r.queue) > 0
	for _, a := range turn[:n] {
		a.link.waiting--
	}
	r.mu.Unlock()
	for _, a := range turn[:n] {
		if r.instance != nil && a.link.circuit >= 0 {
			r.instance.Receive(r.env.Now(), a.link.circuit, a.from, a.b)
		}
	}
	r.mu.Lock()
	for _, a := range turn[:n] {
		if len(r.free) < turnMax {
			r.free = append(r.free, a.b)
		}
	}
	r.mu.Unlock()
	return more
}

// overflows is how many PDUs of a link were dropped because too many waited.
func (l *Link) overflows() uint64 {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	return l.dropped
}

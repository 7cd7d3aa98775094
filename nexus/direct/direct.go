// Package direct gives channels the frames of a network card that are neither IP nor ARP:
// each channel has one EtherType for itself. The link header is the kernel's as far as it
// says who sends.
package direct

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/netif"
)

// HeaderLen is the length of a link header in bytes: to whom, from whom, EtherType.
const HeaderLen = 14

var (
	// ErrReserved says that an EtherType is nobody's alone: the host stack's, or a tag's.
	ErrReserved = errors.New("direct: the EtherType is reserved")
	// ErrBusy says that another channel has it (EBUSY).
	ErrBusy = errors.New("direct: the EtherType is taken")
)

// reserved are IPv4, ARP, IPv6, and the tags of VLANs (IEEE 802.1Q, 802.1ad).
var reserved = []uint16{0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8, 0x9100}

// Valid says whether a channel may have an EtherType. Below 0x600 it is a length.
func Valid(etherType uint16) bool { return etherType >= 0x600 && !slices.Contains(reserved, etherType) }

// Parse reads an EtherType as manifests have it: four hexadecimal digits, "88cc". false: it
// is none, or not Valid.
func Parse(word string) (uint16, bool) {
	n, err := strconv.ParseUint(word, 16, 16)
	return uint16(n), err == nil && len(word) == 4 && word == strings.ToLower(word) && Valid(uint16(n))
}

// Reason is why a frame that a domain sends is dropped.
type Reason uint8

const (
	Short   Reason = iota // no link header
	Long                  // longer than the MTU and a header
	Type                  // the EtherType is not the channel's
	Source                // a source that is neither nothing nor the card's
	Expired               // its lifetime was over before there was room for it
	NoRoom                // arrived, and ring or pool of the channel were used up
	reasonCount
)

var reasonNames = [reasonCount]string{"tx_short", "tx_long", "tx_type", "tx_source", "tx_expired", "rx_no_room"}

// Card is a network card's frames. Its methods may be called concurrently, but for those of
// netif.FrameReceiver, which it implements.
type Card struct {
	port    netif.FramePort
	now     func() time.Duration
	drops   [reasonCount]atomic.Uint64
	stalled atomic.Bool // some channel waits for the card

	mu   sync.Mutex // of who changes ends
	ends atomic.Pointer[map[uint16]*End]
	// What follows belongs to the receiver: who was given frames since the last Flush, and
	// when Room was called.
	news  []*End
	began time.Duration
	over  func() bool
}

// NewCard prepares a card. now is a clock.
func NewCard(p netif.FramePort, now func() time.Duration) *Card {
	c := &Card{port: p, now: now}
	c.ends.Store(&map[uint16]*End{})
	c.over = func() bool { return c.now()-c.began >= roomSlice }
	return c
}

// roomSlice is for how long Room sends what has waited, as in package flowswitch.
const roomSlice = time.Millisecond

// End is the channel of an EtherType.
type End struct {
	card      *Card
	channel   *channel.Channel
	etherType uint16
	news      bool // of the receiver: it was given a frame since Flush
	arrived   channel.Filler
	stalled   atomic.Bool

	// What follows belongs to the sender, of which the channel has one at a time.
	pieces  [][]byte
	out     netif.Outgoing
	backlog netif.Backlog // what waits in front of the card
	send    func(*channel.Packet) bool
	// waits says that the frame at hand has found the card full, and expires is when its
	// lifetime is over, if it has one.
	waits   bool
	expires time.Duration
}

// Open gives a channel an EtherType. It fails with ErrReserved and ErrBusy.
func (c *Card) Open(ch *channel.Channel, etherType uint16) (*End, error) {
	if !Valid(etherType) {
		return nil, fmt.Errorf("%w: %#04x", ErrReserved, etherType)
	}
	e := &End{card: c, channel: ch, etherType: etherType}
	e.send, e.backlog.Owed, e.backlog.Reporter = e.pass, ch.Account(), ch
	c.mu.Lock()
	defer c.mu.Unlock()
	if (*c.ends.Load())[etherType] != nil {
		return nil, fmt.Errorf("%w: %#04x", ErrBusy, etherType)
	}
	c.change(func(m map[uint16]*End) { m[etherType] = e })
	c.port.AllGroups(true) // a protocol of its own has groups of its own, which nobody tells
	return e, nil
}

func (c *Card) change(f func(map[uint16]*End)) {
	next := map[uint16]*End{}
	for t, e := range *c.ends.Load() {
		next[t] = e
	}
	f(next)
	c.ends.Store(&next)
}

// Close ends the channel. Its arena is the caller's to free.
func (e *End) Close() {
	c := e.card
	c.mu.Lock()
	if (*c.ends.Load())[e.etherType] == e {
		c.change(func(m map[uint16]*End) { delete(m, e.etherType) })
		c.port.AllGroups(false)
	}
	c.mu.Unlock()
	e.channel.Close()
}

// Wants implements netif.FrameReceiver.
func (c *Card) Wants(etherType uint16) bool { return (*c.ends.Load())[etherType] != nil }

// Frame implements netif.FrameReceiver.
func (c *Card) Frame(etherType uint16, length int, pieces [][]byte) {
	e := (*c.ends.Load())[etherType]
	if e == nil {
		return
	}
	began := c.now()
	e.arrived.Reset(pieces)
	if !e.channel.Deliver(&channel.Delivery{Length: length}, e.arrived.Fill) {
		c.drops[NoRoom].Add(1)
	}
	if !e.news {
		e.news = true
		c.news = append(c.news, e)
	}
	c.port.Worked(&e.backlog, c.now()-began)
}

// Flush implements netif.FrameReceiver.
func (c *Card) Flush() {
	for i, e := range c.news {
		e.news = false
		e.channel.Flush()
		c.news[i] = nil
	}
	c.news = c.news[:0]
}

// Room implements netif.FrameReceiver. Of several that wait any may be the first: the order is
// that of a map, which is another each time.
func (c *Card) Room() (more bool) {
	if !c.stalled.Swap(false) {
		return false
	}
	c.began = c.now()
	var began time.Duration
	var last *netif.Backlog // whose work goes on since began
	for _, e := range *c.ends.Load() {
		if !e.stalled.Swap(false) {
			continue
		}
		if last != nil {
			c.port.Worked(last, c.now()-began)
		}
		began, last = c.now(), &e.backlog
		// A violation shows again when the domain asks for a sync.
		if e.channel.ResumeUntil(e.send, c.over) == channel.ErrMore {
			e.stalled.Store(true)
			more = true
		}
		if more = more || c.over(); more {
			c.stalled.Store(true)
			break
		}
	}
	c.port.Flush(last)
	if last != nil {
		c.port.Worked(last, c.now()-began)
	}
	return more
}

// Sync does what a notification asks for.
func (e *End) Sync() error {
	err := e.channel.Sync(e.send)
	e.card.port.Flush(&e.backlog)
	return err
}

// pass sends a frame; false: it waits for the card.
func (e *End) pass(p *channel.Packet) bool {
	c := e.card
	again := e.waits
	e.waits = false
	// What was copied and checked is what is sent.
	var head [HeaderLen]byte
	n := 0
	e.pieces = e.pieces[:0]
	for _, piece := range p.Pieces {
		k := copy(head[n:], piece)
		if n += k; k < len(piece) {
			e.pieces = append(e.pieces, piece[k:])
		}
	}
	why := reasonCount
	own, from := c.port.Address(), [6]byte(head[6:12])
	switch {
	case n < HeaderLen:
		why = Short
	case p.Length > HeaderLen+c.port.MTU():
		why = Long
	case binary.BigEndian.Uint16(head[12:]) != e.etherType:
		why = Type
	case from != own && from != [6]byte{}:
		why = Source
	}
	var life time.Duration
	if why == reasonCount && p.Lifetime != 0 {
		if life = e.left(p, again); life <= 0 {
			why = Expired
		}
	}
	if why != reasonCount {
		c.drops[why].Add(1)
		e.channel.Refused()
		e.report(p, why)
		return true
	}
	to := [6]byte(head[:6])
	e.out = netif.Outgoing{
		EtherType: e.etherType, Body: e.pieces, PayloadLen: p.Length - HeaderLen,
		Channel: e.channel.ID, Class: p.Class, Backlog: &e.backlog, Asks: p.Asks, Cookie: p.Cookie,
		Life: life,
	}
	if c.port.Send(&e.out, to) != netif.Full {
		return true
	}
	// Room that came before it was known that somebody waits is not told again.
	e.stalled.Store(true)
	c.stalled.Store(true)
	e.waits = c.port.Send(&e.out, to) == netif.Full
	return !e.waits
}

// left is what is left of the lifetime of a frame, which goes on while the frame waits.
func (e *End) left(p *channel.Packet, again bool) time.Duration {
	now := e.card.now()
	if !again {
		e.expires = now + time.Duration(p.Lifetime)*time.Microsecond
	}
	return e.expires - now
}

// report tells the domain of a frame that was dropped, if it asks.
func (e *End) report(p *channel.Packet, why Reason) {
	status := uint16(abi.StatusRefused)
	if why == Expired {
		status = abi.StatusExpired
	}
	if p.Asks != 0 && abi.Reported(p.Asks, status) {
		e.channel.Report(p.Cookie, status)
	}
}

// Drops calls f with each reason for which frames were dropped, and how many.
func (c *Card) Drops(f func(name string, n uint64)) {
	for r := range reasonCount {
		f("direct_drop_"+reasonNames[r], c.drops[r].Load())
	}
}

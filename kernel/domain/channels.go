package domain

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/direct"
	"github.com/sluice-os/sluice/nexus/pipe"
)

// Channel is an open one.
type Channel interface {
	Arena() *arena.Arena
	// Sync does what the domain's notification asks for. It may end early with
	// channel.ErrMore, see SetSlice.
	Sync() error
	// Resize gives one ring n slots: see channel.Channel.Resize.
	Resize(kind, n int) error
	// SetSlice has a function asked whether a Sync takes too long.
	SetSlice(over func() bool)
	// Owed takes the time for which the kernel has worked for the channel while nobody was
	// charged, or somebody else.
	Owed() time.Duration
	// Regions is the memory that its arena has, in bytes.
	Regions() [arena.Regions]int
	// SetBroken has f called when the domain has broken the contract outside of a
	// call of its own. f must not block.
	SetBroken(f func(*channel.Violation))
	// SetStalled has f called when nobody takes what the domain sends, and others want
	// the memory of it: see channel.Channel. f must not block.
	SetStalled(f func())
	// Defunct takes the channel's memory back: see channel.Channel.
	Defunct() (freed int, err error)
	// Err is why the channel does not work; nil: it does.
	Err() error
	// Pause says whether the domain is kept from running.
	Pause(on bool)
	// Close ends the channel. The caller frees the arena, while the memory that it
	// was opened with is there.
	Close()
}

// Flows is a Channel with flows: one of the network.
type Flows interface {
	Channel
	// Memory is how many bytes it has: what comes and goes, and the rest.
	Memory() (packets, rest int)
	// Used is when a packet passed or the domain asked for a sync last, since the
	// machine's boot.
	Used() time.Duration
	// Flow answers a request about a flow. It does not wait.
	Flow(*abi.FlowRequest) syscall.Errno
	// Branch does the same.
	Branch(*abi.BranchRequest) syscall.Errno
	// Names is asked when Flow has answered EACCES: the request may be answered
	// otherwise when what it returns is closed, as names are looked up. Empty: it
	// will not.
	Names(*abi.FlowRequest) []<-chan struct{}
}

// Network is the nexus of one network card.
type Network interface {
	// Open opens a channel for the domain with an id.
	Open(id uint64, c *config.Domain, o *Opening) (Channel, error)
	// Page is the net page.
	Page() []byte
}

// Pipes are those between domains.
type Pipes interface {
	// OpenPipe opens the domain's end of a pipe, as Network.Open does. The error
	// is ErrNoPipe for a name that the domain does not have.
	OpenPipe(id uint64, c *config.Domain, name string, o *Opening) (Channel, error)
}

// Monitors are channels that show what passes others.
type Monitors interface {
	// OpenMonitor opens one, as Network.Open does. The error is ErrNoTarget for what
	// cannot be watched.
	OpenMonitor(id uint64, c *config.Domain, w Watch, o *Opening) (Channel, error)
}

// Watch is what a monitor watches.
type Watch struct {
	Kind      uint32 // abi.RecordNetif or abi.RecordChannel
	Target    uint32
	Direction uint32
	Snap      int // bytes of a packet
}

// Links are channels of frames.
type Links interface {
	// OpenLink opens one, as Network.Open does, for frames of an EtherType that the
	// domain may have. The error is direct.ErrBusy when another one has it.
	OpenLink(id uint64, c *config.Domain, etherType uint16, o *Opening) (Channel, error)
}

// ErrNoTarget says that there is nothing to watch, or not so.
var ErrNoTarget = errors.New("no such target")

// Opening is what a channel is opened with.
type Opening struct {
	Schema string
	Slots  [abi.RingKinds]int // of its rings; 0: those of the schema
	// Offloads is what is done for a channel of the network: abi.OffloadChecksum and its like.
	Offloads uint32
	Memory   arena.Memory // of the domain's
	Notify   func()       // tells the domain of news
}

// ErrNoPipe says that a domain has no such pipe.
var ErrNoPipe = errors.New("no pipe")

// openChannel is ControlOpen.
func (d *Domain) openChannel(r *abi.OpenRequest) uint64 {
	number := 0
	for number < len(d.channels) && d.channels[number] != nil {
		number++
	}
	if number == len(d.channels) {
		return result(abi.BadArgument)
	}
	c, refused := d.newChannel(number, r)
	if refused != 0 {
		return result(refused)
	}
	d.setChannel(number, c)
	r.Channel, r.Base = uint64(number), d.memory.windowAt(number).base
	return uint64(number)
}

// newChannel makes the channel that a request asks for, or says why not; 0: it did.
func (d *Domain) newChannel(number int, r *abi.OpenRequest) (Channel, abi.Errno) {
	if !d.memory.space.Shadow() { // without it memory could not be taken back
		return nil, abi.OverQuota
	}
	event := uint64(abi.EventChannel) << number
	o := &Opening{
		Schema: text(r.Schema[:]), Memory: d.memory.windowAt(number), Notify: func() { d.post(event) },
		Offloads: r.Offloads,
	}
	if !abi.OffloadsPossible(r.Offloads) {
		return nil, abi.BadArgument
	}
	for kind, n := range r.Slots {
		o.Slots[kind] = int(n)
	}
	name := text(r.Pipe[:])
	open := func() (Channel, error) { return d.nexus.Open(d.id, d.config, o) }
	switch {
	case r.Watch != 0 && !d.config.Observe:
		return nil, abi.NotAllowed
	case r.Watch != 0 && d.env.Monitors == nil:
		return nil, abi.NotNow
	case r.Watch != 0:
		w := Watch{Kind: r.Watch, Target: r.Target, Direction: r.Direction, Snap: int(r.Snap)}
		open = func() (Channel, error) { return d.env.Monitors.OpenMonitor(d.id, d.config, w, o) }
	case r.EtherType != 0 && !d.config.MayLink(r.EtherType):
		return nil, abi.NotAllowed
	case r.EtherType != 0 && d.links == nil:
		return nil, abi.NotNow
	case r.EtherType != 0:
		open = func() (Channel, error) { return d.links.OpenLink(d.id, d.config, uint16(r.EtherType), o) }
	case name != "" && d.env.pipes == nil:
		return nil, abi.NotNow
	case name != "":
		open = func() (Channel, error) { return d.env.pipes.OpenPipe(d.id, d.config, name, o) }
	case d.nexus == nil:
		return nil, abi.NotNow
	}
	c, err := open()
	// One that is defunct waits for memory, and takes nobody's.
	if errors.Is(err, arena.ErrShort) && d.channels[number] == nil && d.memory.more(arenaFirst(r)) {
		c, err = open()
	}
	switch {
	case err == nil:
	case errors.Is(err, arena.ErrBounds), errors.Is(err, ErrNoPipe), errors.Is(err, ErrNoTarget):
		return nil, abi.BadArgument
	case errors.Is(err, pipe.ErrBusy), errors.Is(err, pipe.ErrPeerClosed), errors.Is(err, direct.ErrBusy):
		return nil, abi.NotNow
	default:
		return nil, abi.OverQuota
	}
	c.SetBroken(func(v *channel.Violation) { d.kill(*d.violation(number, v)) })
	c.SetStalled(func() { go d.stalled(number, c) })
	c.SetSlice(d.turn.Over)
	return c, 0
}

// arenaFirst is how many bytes the arena of a request takes when it is opened; 0 for one
// that is refused.
func arenaFirst(r *abi.OpenRequest) uint64 {
	params, err := arena.Named(text(r.Schema[:]))
	if err != nil {
		return 0
	}
	layout, err := arena.NewLayout(params)
	if err != nil {
		return 0
	}
	return uint64(layout.First())
}

// text is one that is padded with zeros.
func text(padded []byte) string { return string(bytes.TrimRight(padded, "\x00")) }

// setChannel changes which channel has a number. Only the domain's own goroutine does;
// others look with channelsMu held.
func (d *Domain) setChannel(number int, c Channel) {
	d.channelsMu.Lock()
	defer d.channelsMu.Unlock()
	d.channels[number], d.memory.arenas[number] = c, nil
	if c != nil {
		d.memory.arenas[number] = c.Arena().Layout
		c.Pause(d.suspended()) // it may be so since the request
	}
}

// resize is ControlResize. A domain that has broken its rings ends with its next
// notification.
func (d *Domain) resize(r *abi.ResizeRequest) uint64 {
	if r.Channel >= abi.ChannelsMax || d.channels[r.Channel] == nil {
		return result(abi.BadArgument)
	}
	err := d.channels[r.Channel].Resize(int(r.Ring), int(r.Slots))
	var v *channel.Violation
	switch {
	case err == nil:
		return 0
	case errors.Is(err, arena.ErrBounds):
		return result(abi.BadArgument)
	case errors.Is(err, channel.ErrDefunct):
		return result(abi.Defunct)
	case errors.Is(err, channel.ErrBusy), errors.Is(err, channel.ErrClosed), errors.As(err, &v):
		return result(abi.NotNow)
	}
	return result(abi.OverQuota)
}

// endChannel ends a channel: first for the network, then for the domain, then its
// memory is free.
func (d *Domain) endChannel(number int) {
	c := d.channels[number]
	d.setChannel(number, nil)
	c.Close()
	c.Arena().Free()
	d.memory.windowAt(number).close(c.Arena().Range)
}

// held is the memory of an open channel, in bytes by region.
type held struct {
	number int
	bytes  [arena.Regions]int
}

// arenas is the memory of the open channels.
func (d *Domain) arenas() (list []held) {
	d.channelsMu.Lock()
	defer d.channelsMu.Unlock()
	for number, c := range d.channels {
		if c != nil {
			list = append(list, held{number, c.Regions()})
		}
	}
	return list
}

// closeChannel is ControlClose.
func (d *Domain) closeChannel(number uint64) uint64 {
	if number >= abi.ChannelsMax || d.channels[number] == nil {
		return result(abi.BadArgument)
	}
	d.endChannel(int(number))
	return 0
}

// closeChannels ends all of them.
func (d *Domain) closeChannels() {
	for i, c := range d.channels {
		if c != nil {
			d.endChannel(i)
		}
	}
}

// owed takes what the kernel has done for the domain's channels beside its turns, in
// nanoseconds.
func (d *Domain) owed() (ns int64) {
	for _, c := range d.channels {
		if c != nil {
			ns += int64(c.Owed())
		}
	}
	return ns
}

// notify is SysNotify.
func (d *Domain) notify(number uint64) *Exit {
	u := d.user
	if number >= abi.ChannelsMax || d.channels[number] == nil {
		u.AX = result(abi.BadArgument)
		return nil
	}
	u.AX = 0
	err := d.channels[number].Sync()
	for errors.Is(err, channel.ErrMore) && !d.doomed() {
		// What one call asks for may be the work of many slices.
		d.turn.Yield()
		err = d.channels[number].Sync()
	}
	if err == nil {
		return nil
	}
	var v *channel.Violation
	if errors.As(err, &v) {
		e := d.violation(int(number), v)
		e.traced = true
		return e
	}
	switch {
	case errors.Is(err, channel.ErrDefunct):
		u.AX = result(abi.Defunct)
	case !errors.Is(err, channel.ErrMore):
		u.AX = result(abi.NotNow)
	}
	return nil
}

// violation is how the domain ends when it has broken a channel's contract.
func (d *Domain) violation(number int, v *channel.Violation) *Exit {
	e := &Exit{Reason: Corruption, Detail: fmt.Sprintf("channel %d: %v (code %#x)", number, v, v.Code())}
	if errors.Is(v, channel.ErrWithheld) {
		e.Reason = Withheld
	}
	return e
}

// flow is ControlFlow.
func (d *Domain) flow(r *abi.FlowRequest) uint64 {
	if r.Channel >= abi.ChannelsMax {
		return result(abi.BadArgument)
	}
	c, ok := d.channels[r.Channel].(Flows)
	if !ok {
		return result(abi.BadArgument)
	}
	errno := c.Flow(r)
	if errno == syscall.EACCES {
		if names := c.Names(r); len(names) > 0 {
			d.await(names)
			errno = c.Flow(r)
		}
	}
	return flowResult(errno)
}

// branch is ControlBranch.
func (d *Domain) branch(r *abi.BranchRequest) uint64 {
	if r.Channel >= abi.ChannelsMax {
		return result(abi.BadArgument)
	}
	c, ok := d.channels[r.Channel].(Flows)
	if !ok {
		return result(abi.BadArgument)
	}
	return flowResult(c.Branch(r))
}

func flowResult(errno syscall.Errno) uint64 {
	if errno != 0 {
		return result(abi.Errno(-abi.FlowErrno - int64(errno)))
	}
	return 0
}

// namesMax is how long a request waits for names.
const namesMax = 5 * time.Second

// await gives the token up until all are closed, for namesMax, or until the domain must
// end.
func (d *Domain) await(all []<-chan struct{}) {
	d.turn.Release()
	defer d.turn.Acquire()
	end := clock.Nanotime() + int64(namesMax)
	d.alarm.Set(end)
	for _, one := range all {
		for waiting := true; waiting; {
			select {
			case <-one:
				waiting = false
			case <-d.wake: // events stay noted in the event page
				if d.doomed() {
					return
				}
			case <-d.alarm.C:
				if d.alarm.Rang(end) {
					return
				}
				d.alarm.Set(end)
			}
		}
	}
}

// pipeNames is ControlPipes: the names of the domain's pipes, each with a zero behind
// it. The answer is how many bytes they take, of which as many are written as fit.
func (d *Domain) pipeNames(addr, n uint64) uint64 {
	var text []byte
	for _, name := range d.config.Pipes {
		text = append(append(text, name...), 0)
	}
	part := text[:min(uint64(len(text)), n)]
	if len(part) > 0 && !d.memory.copyOut(addr, part) {
		return result(abi.BadAddress)
	}
	return uint64(len(text))
}

// exchange copies a request in, has f answer it, and copies it out. T has no
// pointers.
func exchange[T any](d *Domain, addr, n uint64, f func(*T) uint64) uint64 {
	var r T
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&r)), unsafe.Sizeof(r))
	if n != uint64(len(bytes)) {
		return result(abi.BadArgument)
	}
	// The answer must find its place before anything is done.
	if !d.memory.pages(addr, n, write, func([]byte) {}) || !d.memory.copyIn(bytes, addr) {
		return result(abi.BadAddress)
	}
	answer := f(&r)
	if int64(answer) >= 0 {
		d.memory.copyOut(addr, bytes)
	}
	return answer
}

// readStats is ControlStats: the memory begins with an offset and takes what is
// there. A text is made when its beginning is read.
func (d *Domain) readStats(addr, n uint64) uint64 {
	var word [8]byte
	if d.env.Stats == nil || !d.config.Observe {
		return result(abi.NotNow)
	}
	if n < uint64(len(word)) || !d.memory.pages(addr, n, write, func([]byte) {}) || !d.memory.copyIn(word[:], addr) {
		return result(abi.BadAddress)
	}
	offset := binary.LittleEndian.Uint64(word[:])
	if offset == 0 {
		d.stats = d.env.Stats()
	}
	if offset > uint64(len(d.stats)) {
		return result(abi.BadArgument)
	}
	part := d.stats[offset:]
	part = part[:min(uint64(len(part)), n)]
	d.memory.copyOut(addr, part)
	if len(part) == 0 {
		d.stats = nil
	}
	return uint64(len(part))
}

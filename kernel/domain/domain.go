// Package domain runs programs in ring 3, each in an address space of its own
// and with a Go runtime of its own. See docs/domains.md.
package domain

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/domain/alarm"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/kernel/domain/program"
	"github.com/sluice-os/sluice/kernel/domain/token"
	"github.com/sluice-os/sluice/kernel/trap"
	"github.com/sluice-os/sluice/kernel/vm"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/netif"
)

// Domain is one start of a program: from its first instruction to its last.
type Domain struct {
	name   string
	id     uint64
	config *config.Domain
	env    *Environment
	// nexus and links are what it is on; nil: nothing.
	nexus  Network
	links  Links
	memory memory
	// user is its processor state, in a page that the garbage collector does
	// not know and that counts against the quota.
	user *trap.User
	turn *token.Turn
	out  *output
	in   *input

	// upcall is where upcalls go; 0 until SysUpcall.
	upcallEntry, upcallStack uint64
	// interrupted is what SysResume puts back while an upcall runs.
	interrupted   trap.Frame
	inUpcall      bool
	fault         *Exit // what the upcall's fault ends it for, if it cannot answer
	pendingUpcall atomic.Uint64

	// channels are changed by the domain's goroutine, with channelsMu held, under
	// which others take their memory back.
	channels   [abi.ChannelsMax]Channel
	channelsMu sync.Mutex
	stats      []byte // what ControlStats reads

	events *atomic.Uint64 // in the event page
	wake   chan struct{}  // has a value when a wait must look again
	alarm  *alarm.Alarm

	// What the domain's goroutine looks at each time round needs no lock: the exit that it must
	// end with, whatever it does; what closes when it may go on, nil when it is not suspended;
	// and how long it has run, in nanoseconds.
	killed  atomic.Pointer[Exit]
	resumed atomic.Pointer[chan struct{}]
	running atomic.Int64

	mu    sync.Mutex
	asked bool // SIGTERM was sent
}

// Environment is what all domains of a machine share.
type Environment struct {
	token *token.Token
	// refreshed is when the processor has dropped its translations last: see refresh.
	refreshed int64
	Random    func([]byte) (int, error)
	// Console prints one line of a domain's.
	Console func(name string, line []byte)
	// Network returns the nexus and the channels of frames that a domain is on; nil:
	// there are none.
	Network func(*config.Domain) (Network, Links)
	// NewPipes makes the pipes that the domains of the image name.
	NewPipes func([]config.Domain) Pipes
	pipes    Pipes
	// Monitors opens monitors for domains that may observe; nil: there are none.
	Monitors Monitors
	// relieve takes memory of idle channels back, if a number of bytes can be had for
	// domains by that.
	relieve func(need uint64) bool
	// Stats describes the machine in JSON, for domains that show it.
	Stats func() []byte
}

// lastID numbers the starts of domains.
var lastID atomic.Uint64

// start loads a program. An error is one line that says what would be right.
func start(env *Environment, c *config.Domain, img *program.Image, files []byte, out *output, in *input) (d *Domain, err error) {
	began := clock.Nanotime()
	d = &Domain{name: c.Name, id: lastID.Add(1), config: c, env: env, out: out, in: in, wake: make(chan struct{}, 1)}
	space := vm.NewSpace(c.Name, c.Quota)
	if space == nil && env.relieve(pageNeed) {
		space = vm.NewSpace(c.Name, c.Quota)
	}
	if space == nil {
		return nil, errStart(c, noFrames)
	}
	d.memory = memory{space: space, program: img, relieve: env.relieve}
	defer func() {
		if err != nil {
			d.reclaim()
		}
	}()
	if why := d.memory.load(); why != allowed {
		return nil, errStart(c, why)
	}
	if why := d.memory.shareData(abi.FilesStart, files, vm.Read); why != allowed {
		return nil, errStart(c, why)
	}
	boot, event, record := space.Give(abi.BootPage, vm.Read, vm.ForState), space.Give(abi.EventPage, vm.Write, vm.ForState), space.Private()
	if boot == nil || event == nil || record == nil || !space.Share(abi.ClockPage, clockPage, vm.Read) {
		return nil, errStart(c, d.memory.short())
	}
	d.nexus, d.links = env.Network(c)
	if d.nexus != nil && !space.Share(abi.NetPage, d.nexus.Page(), vm.Read) {
		return nil, errStart(c, d.memory.short())
	}
	xsave, fsgs := trap.Features()
	b := abi.Boot{ID: d.id, Quota: c.Quota, HeapStart: img.End, FilesSize: uint64(len(files)), Started: uint64(began)}
	copy(b.Name[:len(b.Name)-1], c.Name)
	if xsave {
		b.Flags |= abi.BootXSAVE
	}
	if c.Observe && env.Stats != nil {
		b.Flags |= abi.BootObserve
	}
	if len(c.Link) > 0 && d.links != nil {
		b.Flags |= abi.BootLink
	}
	if fsgs {
		b.Flags |= abi.BootFSGSBASE
	}
	if err := fillBoot(boot, b, append([]string{c.Name}, c.Args...), c.Env); err != nil {
		return nil, err
	}
	d.events = eventWord(event)
	// A page of its own: aligned, and never moved.
	d.user = (*trap.User)(unsafe.Pointer(&record[0]))
	d.user.Root = space.Root()
	d.user.Reset(img.Entry, abi.StackTop)
	d.alarm = alarm.New(clock.Nanotime)
	if d.turn, err = env.token.Join(c.Weight, c.Cap, d.owed); err != nil {
		return nil, err
	}
	return d, nil
}

func errStart(c *config.Domain, why refusal) error {
	if why == noFrames {
		return fmt.Errorf("%s: give the machine more, or stop another", why)
	}
	return fmt.Errorf("a quota of %d KiB is too small to start: give it more memory", c.Quota>>10)
}

// reclaim gives back all that the domain had.
func (d *Domain) reclaim() {
	d.mu.Lock()
	d.events = nil // post must not write to a page that is somebody else's
	d.mu.Unlock()
	if d.turn != nil {
		d.turn.Leave()
	}
	if d.alarm != nil {
		d.alarm.Stop()
	}
	d.user = nil
	d.closeChannels()
	d.memory.space.Destroy()
}

// run is the life of the domain, on a goroutine of its own.
func (d *Domain) run() (end Exit) {
	d.turn.Acquire()
	for {
		if k := d.killed.Load(); k != nil {
			d.turn.Release()
			return *k
		}
		if d.pause() {
			continue
		}
		before := clock.Nanotime()
		if !d.turn.Begin(before) {
			d.turn.Yield()
			continue
		}
		d.deliver()
		d.env.refresh(before)
		trap.Enter(d.user)
		after := clock.Nanotime()
		netif.Ran()
		d.running.Add(after - before)
		if e := d.handle(); e != nil {
			if e.traced {
				e.Trace = d.trace()
			}
			d.turn.Release()
			return *e
		}
	}
}

// used is the processor time that top shows.
func (d *Domain) used() time.Duration { return time.Duration(d.running.Load()) }

// doomed says that the domain must end.
func (d *Domain) doomed() bool { return d.killed.Load() != nil }

// kill ends the domain at its next chance, which is within a slice.
func (d *Domain) kill(e Exit) {
	d.killed.CompareAndSwap(nil, &e)
	d.poke()
}

// terminate is SIGTERM.
func (d *Domain) terminate() {
	d.mu.Lock()
	d.asked = true
	d.mu.Unlock()
	d.post(abi.EventTerm)
}

// post sets events and wakes the domain.
func (d *Domain) post(events uint64) {
	d.mu.Lock()
	if d.events != nil {
		d.events.Or(events)
	}
	d.mu.Unlock()
	d.request(abi.UpcallEvents)
	d.poke()
}

func (d *Domain) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

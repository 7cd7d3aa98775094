package host

// A bound on packets that wait for a neighbour's link address. gVisor keeps up
// to 256 for each of 64 neighbours, and whoever claims to have their addresses
// can make it answer: that would be 40 MiB. Here frames from neighbours whose
// address is being asked for are let through at a rate that bounds the answers.

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// resolveTime is how long gVisor asks for a link address, and keeps what
	// waits for it: three seconds.
	resolveTime = 4 * time.Second
	// unresolvedMax bounds the bytes let through in any resolveTime, counted as
	// what their answers take when they wait.
	unresolvedMax = 256 << 10
	// recentTime is how long a neighbour whose link address is known no more counts as one that
	// is there, and recentMax how many do.
	recentTime = 10 * time.Minute
	recentMax  = 256
)

// neighbours knows which neighbours have a known link address. It implements
// stack.NUDDispatcher.
type neighbours struct {
	clock tcpip.Clock
	// asking counts the entries that gVisor is asking for: as long as there is
	// none, nothing waits.
	asking atomic.Int32
	// routes is the table in force, for the next hop to a peer.
	routes atomic.Pointer[[]route]

	// generation changes with every neighbour and every route.
	generation atomic.Uint64

	mu     sync.Mutex
	states map[tcpip.Address]neighbour
	// recent are those that were usable until then.
	recent map[tcpip.Address]tcpip.MonotonicTime
	// Bytes let through: in the span that began at start, and in the one before.
	start             tcpip.MonotonicTime
	current, previous int
}

// neighbour is what gVisor has said of one.
type neighbour struct {
	state stack.NeighborState
	mac   tcpip.LinkAddress
}

// answers says that gVisor knows the neighbour's link address.
func (n neighbour) answers() bool {
	switch n.state {
	case stack.Reachable, stack.Stale, stack.Delay, stack.Probe, stack.Static:
		return true
	}
	return false
}

// usable says that it has told it too.
func (n neighbour) usable() bool { return n.answers() && len(n.mac) == len(macAddr{}) }

var _ stack.NUDDispatcher = (*neighbours)(nil)

func newNeighbours(clock tcpip.Clock) *neighbours {
	n := &neighbours{clock: clock, states: make(map[tcpip.Address]neighbour), recent: make(map[tcpip.Address]tcpip.MonotonicTime)}
	n.routes.Store(new([]route))
	n.generation.Store(1)
	return n
}

// OnNeighborAdded implements stack.NUDDispatcher.
func (n *neighbours) OnNeighborAdded(id tcpip.NICID, e stack.NeighborEntry) { n.set(id, e, false) }

// OnNeighborChanged implements stack.NUDDispatcher.
func (n *neighbours) OnNeighborChanged(id tcpip.NICID, e stack.NeighborEntry) { n.set(id, e, false) }

// OnNeighborRemoved implements stack.NUDDispatcher.
func (n *neighbours) OnNeighborRemoved(id tcpip.NICID, e stack.NeighborEntry) { n.set(id, e, true) }

func (n *neighbours) set(id tcpip.NICID, e stack.NeighborEntry, removed bool) {
	if id != cardID {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.generation.Add(1)
	was, is := n.states[e.Addr], neighbour{e.State, e.LinkAddr}
	if was.state == stack.Incomplete {
		n.asking.Add(-1)
	}
	switch {
	case was.usable() && (removed || !is.usable()):
		n.remember(e.Addr)
	case !removed && (is.usable() || is.state == stack.Unreachable):
		delete(n.recent, e.Addr)
	}
	if removed {
		delete(n.states, e.Addr)
		return
	}
	n.states[e.Addr] = is
	if e.State == stack.Incomplete {
		n.asking.Add(1)
	}
}

// remember notes that a neighbour was usable until now. n.mu is held.
func (n *neighbours) remember(a tcpip.Address) {
	if len(n.recent) >= recentMax {
		oldest := a
		for b, t := range n.recent {
			if at, there := n.recent[oldest]; !there || t.Before(at) {
				oldest = b
			}
		}
		delete(n.recent, oldest)
	}
	n.recent[a] = n.clock.NowMonotonic()
}

// recently says that a neighbour was usable not long ago.
func (n *neighbours) recently(a netip.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	t, ok := n.recent[toAddress(a)]
	return ok && n.clock.NowMonotonic().Sub(t) < recentTime
}

// admit reports whether an IP packet of size bytes from src may go to gVisor,
// which may answer it. Who sent nothing by IP is admitted.
func (n *neighbours) admit(src netip.Addr, size int) bool {
	if n.asking.Load() == 0 || !src.IsValid() {
		return true
	}
	hop := toAddress(nextHop(*n.routes.Load(), src))
	now := n.clock.NowMonotonic()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.states[hop].answers() {
		return true
	}
	if past := now.Sub(n.start); past >= resolveTime {
		n.previous = n.current
		if past >= 2*resolveTime {
			n.previous = 0
		}
		n.start, n.current = now, 0
	}
	cost := 2*size + packetBytes
	if n.previous+n.current+cost > unresolvedMax {
		return false
	}
	n.current += cost
	return true
}

// setRoutes puts a table into force.
func (n *neighbours) setRoutes(table []route) {
	n.routes.Store(&table)
	n.generation.Add(1)
}

// lookup returns the neighbour to which packets for an address go, and what is
// known of it, with the generation that it holds for.
func (n *neighbours) lookup(to netip.Addr) (hop netip.Addr, known neighbour, generation uint64) {
	generation = n.generation.Load()
	hop = nextHop(*n.routes.Load(), to)
	n.mu.Lock()
	defer n.mu.Unlock()
	return hop, n.states[toAddress(hop)], generation
}

// nextHop returns the neighbour to which packets for an address go: its router,
// or itself.
func nextHop(table []route, to netip.Addr) netip.Addr {
	hop, best := to, -1
	for _, r := range table {
		if r.destination.Bits() > best && r.destination.Contains(to) {
			best, hop = r.destination.Bits(), to
			if r.gateway.IsValid() {
				hop = r.gateway
			}
		}
	}
	return hop
}

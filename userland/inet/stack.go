package inet

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"runtime/goos"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/channel"
	"github.com/sluice-os/sluice/userland/link"
	"github.com/sluice-os/sluice/userland/names"
	"github.com/sluice-os/sluice/userland/socket"
)

// Interfaces of a domain's stack.
const (
	loopbackID tcpip.NICID = 1
	channelID  tcpip.NICID = 2
)

// node is the domain's place in the network.
type node struct {
	stack   *stack.Stack
	link    *link.Endpoint // nil: there is no channel
	names   *names.Names
	channel uint64 // its number
	mu      sync.Mutex
	seen    uint64 // generation of the net page that is in force
}

// kernel makes a system call of the kernel.
//
//go:linkname kernel runtime.sluiceKernel
func kernel(num, a1, a2, a3, a4 uintptr) int64

// deepStacks prepares the runtime for the depth of gVisor's calls.
//
//go:linkname deepStacks runtime.sluiceDeepStacks
func deepStacks()

// control makes a request about channels and flows; the answer is in the same
// memory, which must not be on a stack that can move.
func control(request uintptr, memory unsafe.Pointer, size uintptr) int64 {
	return kernel(abi.SysControl, request, uintptr(memory), size, 0)
}

// newNode opens a channel and puts a stack on it. Without a channel the stack has
// its loopback alone.
func newNode() *node {
	deepStacks()
	n := &node{}
	n.stack = stack.New(stack.Options{
		Clock: newClock(),
		NetworkProtocols: []stack.NetworkProtocolFactory{
			ipv4.NewProtocol,
			// The machine's addresses were checked and its routers heard by the
			// host stack.
			ipv6.NewProtocolWithOptions(ipv6.Options{DADConfigs: stack.DADConfigurations{}}),
		},
		TransportProtocols: []stack.TransportProtocolFactory{
			tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6,
		},
		// Packets to the machine's addresses go to the kernel: another domain
		// may be meant.
	})
	n.tune()
	must(n.stack.CreateNICWithOptions(loopbackID, loopback.New(), stack.NICOptions{Name: "lo"}))
	n.addAddress(loopbackID, tcpip.AddrFrom4([4]byte{127, 0, 0, 1}), 8)
	n.addAddress(loopbackID, tcpip.AddrFrom16([16]byte{15: 1}), 128)

	request := &abi.OpenRequest{Slots: sizes(), Offloads: offloads()}
	copy(request.Schema[:], schema())
	if e := control(abi.ControlOpen, unsafe.Pointer(request), unsafe.Sizeof(*request)); e < 0 {
		if e == int64(abi.BadArgument) {
			// The schema is one that there is.
			fatal(ringsVariable, "the kernel refuses rings of these sizes: want powers of two, rx, tx, alloc and free 2 to 16384, event 2 to 1024")
		}
		n.routes(nil)
		return n
	}
	n.channel = request.Channel
	c, err := n.attach(request)
	if err != nil {
		panic("sluice: " + err.Error())
	}
	n.names = names.New(n.flow)
	page := readNet()
	n.link = link.New(c, max(page.MTU, ipv6Least), func() { atomic.OrUint64(&goos.Pending, 1<<goos.LastEvent) })
	must(n.stack.CreateNICWithOptions(channelID, n.link, stack.NICOptions{Name: "eth0"}))
	n.follow()
	return n
}

// attach attaches to the channel that a request has opened.
func (n *node) attach(r *abi.OpenRequest) (*channel.Channel, error) {
	return channel.New(unsafe.Pointer(uintptr(r.Base)), func() {
		kernel(abi.SysNotify, uintptr(n.channel), 0, 0, 0)
	})
}

// flow makes a request about a flow.
func (n *node) flow(r *abi.FlowRequest) syscall.Errno {
	r.Channel = uint32(n.channel)
	switch e := control(abi.ControlFlow, unsafe.Pointer(r), unsafe.Sizeof(*r)); {
	case e <= -abi.FlowErrno:
		return syscall.Errno(-abi.FlowErrno - e)
	case e < 0:
		return syscall.EINVAL
	}
	return 0
}

// start lets packets in and out, for the sockets of s.
func (n *node) start(s *socket.Stack) {
	if n.link == nil {
		return
	}
	s.Wire, s.WireNIC = n.link, channelID
	n.link.Datagram = func(in *link.Datagram) bool {
		return s.Deliver(&socket.Datagram{From: in.From, To: in.To, Pieces: in.Pieces, Length: in.Length, Valid: in.Valid})
	}
	n.link.Raw = func(in *link.Datagram) bool {
		return s.DeliverRaw(in.Protocol, &socket.Datagram{From: in.From, To: in.To, Pieces: in.Pieces, Length: in.Length, Valid: in.Valid})
	}
	n.link.Room = s.Room
	n.link.Events = func(events []abi.Slot, lost bool) { n.noticed(s, events, lost) }
	acks := &delayed{signal: n.link.Signal}
	delayAck = acks.add
	s.Reset = reset
	go n.link.Flusher(func() bool { goos.Wait(goos.LastEvent); return true }, acks.send)
	go n.receive(s)
	go func() {
		for {
			goos.Wait(netEvent)
			n.follow()
			s.AddressesChanged()
		}
	}()
}

// schema names the arena that fits the domain: it counts against its quota.
func schema() string {
	boot := (*abi.Boot)(unsafe.Pointer(uintptr(abi.BootPage)))
	if boot.Quota < smallDomain {
		return "small"
	}
	return "default"
}

// smallDomain is the quota in bytes below which a domain gets a small channel.
const smallDomain = 24 << 20

// channelEvent and netEvent are the numbers of abi.EventChannel and abi.EventNet.
const (
	channelEvent = 8
	netEvent     = 3
)

// ipv6Least is the smallest MTU of IPv6 (RFC 8200, section 5).
const ipv6Least = 1280

// must ends the program: what it is told cannot happen with these arguments.
func must(err tcpip.Error) {
	if err != nil {
		panic("sluice: network stack: " + err.String())
	}
}

// timeWaitMax is how many connections may be in TIME-WAIT.
//
//go:linkname timeWaitMax internal/sluice/mod/gvisor.dev/gvisor/pkg/tcpip/transport/tcp.sluiceTimeWaitMax
var timeWaitMax int64

// waitingMax is how many segments without data may wait to be handled.
//
//go:linkname waitingMax internal/sluice/mod/gvisor.dev/gvisor/pkg/tcpip/transport/tcp.sluiceWaitingMax
var waitingMax int64

const (
	// waitingPart is the part of the quota for which there may be one, in bytes: it takes
	// about a fortieth of that.
	waitingPart  = 32 << 10
	waitingLeast = 128

	// timeWaitPart is the part of the quota for which there is one, in bytes: it takes
	// about a sixteenth of that.
	timeWaitPart  = 256 << 10
	timeWaitLeast = 32
)

// tune sets TCP up as the host stack has it, with buffers that fit a small domain.
func (n *node) tune() {
	boot := (*abi.Boot)(unsafe.Pointer(uintptr(abi.BootPage)))
	most := int(min(max(boot.Quota/16, 64<<10), 4<<20))
	first := min(most, 256<<10)
	sack := tcpip.TCPSACKEnabled(true)
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	cubic := tcpip.CongestionControlOption("cubic")
	timeWaitMax = int64(max(boot.Quota/timeWaitPart, timeWaitLeast))
	waitingMax = int64(max(boot.Quota/waitingPart, waitingLeast))
	// The kernel's flow is gone after that time too.
	timeWait := tcpip.TCPTimeWaitTimeoutOption(2 * time.Second)
	for _, o := range []tcpip.SettableTransportProtocolOption{
		&sack, &moderate, &cubic, &timeWait,
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: first, Max: most},
		&tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: first, Max: most},
	} {
		must(n.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o))
	}
}

func (n *node) addAddress(id tcpip.NICID, a tcpip.Address, prefix int) {
	protocol := ipv4.ProtocolNumber
	if a.Len() == 16 {
		protocol = ipv6.ProtocolNumber
	}
	// One that is there already stays.
	n.stack.AddProtocolAddress(id, tcpip.ProtocolAddress{
		Protocol:          protocol,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: a, PrefixLen: prefix},
	}, stack.AddressProperties{})
}

// routes sends everything but the loopback's own to the kernel, which knows the
// way.
func (n *node) routes(page *abi.Net) {
	table := []tcpip.Route{
		{Destination: subnet([]byte{127, 0, 0, 0}, 8), NIC: loopbackID},
		{Destination: subnet([]byte{15: 1}, 128), NIC: loopbackID},
	}
	if page != nil && page.Up != 0 {
		table = append(table,
			tcpip.Route{Destination: subnet(make([]byte, 4), 0), NIC: channelID},
			tcpip.Route{Destination: subnet(make([]byte, 16), 0), NIC: channelID})
	}
	n.stack.SetRouteTable(table)
}

func subnet(a []byte, bits int) tcpip.Subnet {
	return tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(a), PrefixLen: bits}.Subnet()
}

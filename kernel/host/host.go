// Package host is the kernel's own TCP/IP stack: gVisor's netstack on a network
// card, with addresses from DHCP, routers or the command line, a resolver, and
// the small services that the machine offers until apps run in domains.
//
// The package needs no hardware: the card is a nic.Device, time and randomness
// are given by the Config.
package host

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/options"
)

// Interface numbers in gVisor's stack.
const (
	loopbackID tcpip.NICID = 1
	cardID     tcpip.NICID = 2
)

// loopbackName is the loopback's; Config has the card's.
const loopbackName = "lo"

const (
	mtuMin  = 576 // RFC 791: what every IPv4 host takes
	mtuMin6 = 1280

	// bufferMin bounds TCP buffers from below, in bytes.
	bufferMin = 16 << 10
)

// Config is what a Stack is made with. The zero value of a field gives the
// default that its comment names.
type Config struct {
	IPv4 options.IPv4
	IPv6 options.IPv6
	// Name and Index are the interface's, as "ip link" shows them; "eth0" and 2.
	Name  string
	Index int
	// Hostname goes to the DHCP server; "sluice".
	Hostname string
	// MemoryBudget is how many bytes the stack may hold for its peers, from
	// MemoryBudgetMin (the default) to MemoryBudgetMax.
	MemoryBudget int
	// Clock gives time and timers; the machine's. Now is the same time with less work, from
	// anywhere on: the path of packets asks it. Default: what Clock says.
	Clock tcpip.Clock
	Now   func() time.Duration
	// Rand is a cryptographic random source; crypto/rand.
	Rand io.Reader
	// Log takes the events of the stack; slog.Default().
	Log *slog.Logger
	// Status is what the status page says about the machine.
	Status Status
}

// Status is what others know about the machine, for the status page.
type Status struct {
	Version, BuildID string
	// Uptime is the time since boot; nil: since New.
	Uptime func() time.Duration
	// Memory returns the machine's memory in bytes; nil: not shown.
	Memory func() (total, used uint64)
}

// Stack is the host stack on one card. Its methods may be called concurrently.
type Stack struct {
	cfg      Config
	log      *slog.Logger
	clock    tcpip.Clock
	now      func() time.Duration // since New
	lim      limits
	counters counters

	link   *link
	net    *stack.Stack
	config *configurator
	// wide counts the connections that have one of the large send buffers.
	wide atomic.Int32

	// reserve asks for a port; nil: all are free.
	reserve func(protocol string, port uint16) (release func(), ok bool)

	// lookups is full while a lookup runs.
	lookups chan struct{}

	stop   chan struct{}
	ctx    context.Context // ends with stop
	cancel context.CancelFunc
	once   sync.Once
	closed sync.Once
	wg     sync.WaitGroup
	// services are closed with the stack.
	services []io.Closer
}

// New makes a stack on dev. Nothing moves before Start. It fails when the
// device's MTU is out of range or the random source fails.
func New(dev nic.Device, cfg Config) (*Stack, error) {
	info := dev.Info()
	if info.MTU < mtuMin || info.MTU > 0xffff {
		return nil, fmt.Errorf("host: MTU %d of %s, want %d to %d bytes", info.MTU, info.Driver, mtuMin, 0xffff)
	}
	if info.MAC[0]&1 != 0 || info.MAC == [6]byte{} {
		return nil, fmt.Errorf("host: MAC %x of %s is not the address of a station", info.MAC, info.Driver)
	}
	if info.MTU < mtuMin6 {
		cfg.IPv6 = options.IPv6{} // RFC 8200, section 5
	}
	if cfg.Clock == nil {
		cfg.Clock = tcpip.NewStdClock()
	}
	if cfg.Now == nil {
		cfg.Now = func() time.Duration { return cfg.Clock.NowMonotonic().Sub(tcpip.MonotonicTime{}) }
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Name == "" {
		cfg.Name = "eth0"
	}
	if cfg.Index == 0 {
		cfg.Index = int(cardID)
	}
	if cfg.Hostname == "" {
		cfg.Hostname = "sluice"
	}
	var seed [16]byte
	if _, err := io.ReadFull(cfg.Rand, seed[:]); err != nil {
		return nil, fmt.Errorf("host: random source: %w", err)
	}

	s := &Stack{
		cfg:     cfg,
		log:     cfg.Log,
		clock:   cfg.Clock,
		now:     sinceStart(cfg.Now),
		lim:     limitsFor(cfg.MemoryBudget),
		lookups: make(chan struct{}, 1),
		stop:    make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.link = newLink(dev, s.lim, &s.counters, cfg.Clock, s.now)
	s.config = newConfigurator(s, seed)
	s.net = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			arp.NewProtocol, ipv4.NewProtocolWithOptions(ipv4.Options{IGMP: ipv4.IGMPOptions{Enabled: true}}), s.config.newIPv6(),
		},
		TransportProtocols: []stack.TransportProtocolFactory{
			tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6,
		},
		Clock:       cfg.Clock,
		NUDDisp:     s.link.neighbours,
		HandleLocal: true,
		SecureRNG:   cfg.Rand,
		RandSource:  &lockedSource{source: mathrand.NewSource(int64(binary.LittleEndian.Uint64(seed[8:])))},
	})
	s.link.delivered = s.net.Stats().IP.PacketsDelivered.Value
	if err := s.setUp(); err != nil {
		s.cancel()
		s.net.Close()
		return nil, err
	}
	return s, nil
}

// lockedSource makes a source safe for concurrent use, as gVisor requires.
type lockedSource struct {
	mu     sync.Mutex
	source mathrand.Source
}

func (s *lockedSource) Int63() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.source.Int63()
}

func (s *lockedSource) Seed(seed int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.source.Seed(seed)
}

// setUp tunes TCP and creates the interfaces. The card's stays disabled until
// its link is up.
func (s *Stack) setUp() error {
	sack := tcpip.TCPSACKEnabled(true)
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	// CUBIC as gVisor has it ends slow start when the acknowledgements of a round take longer than half
	// a round trip to come. On a near network those of a few long packets do, and from there it takes a
	// second to come to what the link carries.
	reno := tcpip.CongestionControlOption("reno")
	wait := tcpip.TCPTimeWaitTimeoutOption(timeWait)
	linger := tcpip.TCPLingerTimeoutOption(timeWait) // FIN-WAIT-2
	for _, o := range []tcpip.SettableTransportProtocolOption{
		&sack, &moderate, &reno, &wait, &linger,
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: bufferMin, Default: s.lim.receiveFirst, Max: s.lim.receiveMax},
		&tcpip.TCPSendBufferSizeRangeOption{Min: bufferMin, Default: s.lim.sendMax, Max: s.lim.sendMax},
	} {
		if err := s.net.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("host: TCP option %T: %v", o, err)
		}
	}
	datagrams := tcpip.ReceiveBufferSizeOption{Min: stack.MinBufferSize, Default: udpReceive, Max: udpReceive}
	if err := s.net.SetOption(datagrams); err != nil {
		return fmt.Errorf("host: UDP buffers: %v", err)
	}
	// Domains have the ephemeral ports below.
	if err := s.net.SetPortRange(hostPorts, 65535); err != nil {
		return fmt.Errorf("host: ports: %v", err)
	}
	if err := s.net.CreateNICWithOptions(loopbackID, loopback.New(), stack.NICOptions{Name: loopbackName}); err != nil {
		return fmt.Errorf("host: loopback: %v", err)
	}
	if err := s.net.CreateNICWithOptions(cardID, s.link, stack.NICOptions{Name: s.cfg.Name, Disabled: true}); err != nil {
		return fmt.Errorf("host: interface: %v", err)
	}
	return s.config.setUp()
}

// Start begins to move frames, asks for addresses and opens the services. It
// returns at once; what comes of it is logged.
func (s *Stack) Start() error {
	err := errors.New("host: started twice")
	s.once.Do(func() {
		s.link.onLinkChange, s.link.onRate = s.config.linkChanged, s.config.rateChanged
		s.link.onDHCP = s.config.dhcpArrived
		if err = s.serve(); err != nil {
			return
		}
		s.link.filter.start()
		p := newPoller(s.link)
		s.wg.Go(s.config.run)
		s.wg.Go(func() { s.link.tx.runFlusher(s.stop) })
		s.wg.Go(p.run)
		s.log.Info("network interface", "name", s.cfg.Name, "driver", s.link.info.Driver,
			"at", s.link.info.Location, "mac", formatMAC(s.link.mac[:]), "mtu", s.link.info.MTU)
	})
	return err
}

// Close ends the stack: connections are reset, its goroutines have ended when
// it returns. The device is left alone.
func (s *Stack) Close() {
	s.closed.Do(func() {
		for _, c := range s.services {
			c.Close()
		}
		close(s.stop)
		s.cancel()
		s.link.closed.Store(true)
		s.link.dev.Kick()
		s.wg.Wait()
		s.net.Close()
		s.net.Wait()
		s.link.tx.discard()
	})
}

func formatMAC(b []byte) string {
	if len(b) != header.EthernetAddressSize {
		return ""
	}
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5])
}

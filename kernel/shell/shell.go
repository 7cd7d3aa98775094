// Package shell is the console: a line editor and a few commands with the words
// of the tools that people know. It gets all it shows through a System, and
// runs on any byte stream.
package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/sluice-os/sluice/kernel/host/netinfo"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/steer"
	"github.com/sluice-os/sluice/nexus/view"
)

// Prompt stands at the start of each input line.
const Prompt = "sluice> "

// System is what the shell shows and does. A nil function means that the
// machine has no such thing, and the command says so.
type System struct {
	Links      func() []netinfo.Link
	Addresses  func() []netinfo.Address
	Routes     func() []netinfo.Route
	Neighbours func() []netinfo.Neighbour
	Statistics func() []netinfo.Group
	Counters   func() []netinfo.Counter
	// Lookup resolves a name, or an address in text form.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	// NewPinger prepares to ping an address.
	NewPinger func(to netip.Addr) (Pinger, error)

	// Memory tells where memory went, after two garbage collections if collect
	// is set. With audit it looks at every frame too.
	Memory func(collect, audit bool) Memory
	// Log returns the kept log lines, oldest first, without line ends.
	Log func() []string
	PCI func() []PCIDevice
	// Uptime is the time since boot.
	Uptime func() time.Duration
	// Idled is how much of it the processor waited.
	Idled func() time.Duration
	// PowerOff and Reboot return only when they fail.
	PowerOff func() error
	Reboot   func() error
	// SetQdisc changes the queue in front of the card, and SetRate how many bits a second a
	// domain may send by it, 0 for any; nil: there is none.
	SetQdisc func(name string) error
	SetRate  func(domain string, rate aqm.Rate) error
	// SetMarks says whether the classes that domains choose are written into what leaves; nil:
	// there is none.
	SetMarks func(on bool)
	// Rules calls f with the rules of the card of a name, "" for all cards, and returns its
	// errors; nil: there are none.
	Rules func(card string, f func(card string, r *steer.Rules) error) error
	// Tables are what commands of their names show: ss, flows, rings, pools, arenas,
	// and channels for netstat.
	Tables map[string]func() *view.Table
	// Router is nil on a machine without a network, and Routing without a routing protocol.
	Router  Router
	Routing Routing
	// Domains is nil on a machine without.
	Domains Domains
	// Fault makes the machine fail in the given way.
	Fault func(way string) error
}

// Pinger sends echo requests to one address.
type Pinger interface {
	// Ping sends one request and waits for its answer. An error other than
	// that of ctx means that none came within timeout.
	Ping(ctx context.Context, seq uint16, timeout time.Duration) (netinfo.Echo, error)
	Close()
}

// PCIDevice is one function on a PCI bus.
type PCIDevice struct {
	Address        string // "00:02.0"
	Class          string // "Ethernet controller"
	Vendor, Device uint16
	Revision       uint8
	Driver         string // empty without one
	Interrupts     string // "MSI", of a device that has a driver
}

// errUsage makes run print the command's usage.
var errUsage = errors.New("usage")

// Shell reads commands from a console. Make it by New.
type Shell struct {
	sys    System
	in     io.Reader
	out    io.Writer
	editor editor

	mu         sync.Mutex
	foreground func(keys []byte) (rest []byte) // takes the keys while a command runs, but the rest
}

// setForeground has a running command take the keys. Those that f returns are the shell's.
func (s *Shell) setForeground(f func(keys []byte) (rest []byte)) {
	s.mu.Lock()
	s.foreground = f
	s.mu.Unlock()
}

// New returns a shell. Run starts it.
func New(in io.Reader, out io.Writer, sys System) *Shell {
	return &Shell{sys: sys, in: in, out: &crlfWriter{w: out}, editor: editor{echo: out}}
}

// crlfWriter ends lines as a serial terminal wants them. A command, the domain
// that it is attached to and the echo of keys may write at the same time.
type crlfWriter struct {
	mu  sync.Mutex
	w   io.Writer
	buf bytes.Buffer
}

func (c *crlfWriter) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf.Reset()
	for _, ch := range b {
		if ch == '\n' {
			c.buf.WriteByte('\r')
		}
		c.buf.WriteByte(ch)
	}
	if _, err := c.w.Write(c.buf.Bytes()); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Run reads and executes lines until the input ends or ctx does, and returns
// the input's error; io.EOF is none. After a cancelled ctx one goroutine may
// stay in the reader's Read.
func (s *Shell) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	input := make(chan []byte)
	failed := make(chan error, 1)
	go func() {
		for {
			// The console delivers a key at a time: nothing is lost by
			// reading little, and each chunk is its reader's own.
			buf := make([]byte, 64)
			n, err := s.in.Read(buf)
			if n > 0 {
				select {
				case input <- buf[:n]:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()

	s.editor.prompt()
	var pending []byte
	for {
		for len(pending) > 0 {
			b := pending[0]
			pending = pending[1:]
			line, ready := s.editor.key(b)
			if !ready {
				continue
			}
			pending = s.execute(ctx, line, pending, input)
			s.editor.prompt()
		}
		select {
		case pending = <-input:
		case err := <-failed:
			if err == io.EOF {
				return nil
			}
			return fmt.Errorf("console: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// typeAheadMax bounds what is kept of keys typed while a command runs, in
// bytes.
const typeAheadMax = 1024

// execute runs one line while it watches the keys: ^C ends the command, the
// rest is returned for later, behind what was typed before.
func (s *Shell) execute(ctx context.Context, line string, typed []byte, input <-chan []byte) []byte {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	typed = watch(nil, typed, cancel)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Execute(ctx, line)
	}()
	for {
		select {
		case <-done:
			return typed
		case keys := <-input:
			s.mu.Lock()
			take := s.foreground
			s.mu.Unlock()
			if take != nil {
				keys = take(keys)
			}
			typed = watch(typed, keys, cancel)
		}
	}
}

// watch appends keys to typed. A ^C calls cancel and forgets all keys before it.
func watch(typed, keys []byte, cancel func()) []byte {
	for _, b := range keys {
		switch {
		case b == keyInterrupt:
			cancel()
			typed = typed[:0]
		case len(typed) < typeAheadMax:
			typed = append(typed, b)
		}
	}
	return typed
}

// Execute runs one line and prints what comes of it.
func (s *Shell) Execute(ctx context.Context, line string) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return
	}
	for i := range commands {
		c := &commands[i]
		if c.name != words[0] {
			continue
		}
		switch err := c.run(s, ctx, words[1:]); {
		case err == errUsage && len(words) == 1:
			fmt.Fprintf(s.out, "%s: arguments missing, want: %s\n", c.name, c.usage)
		case err == errUsage:
			fmt.Fprintf(s.out, "%s: wrong arguments %q, want: %s\n", c.name, strings.Join(words[1:], " "), c.usage)
		case err != nil:
			fmt.Fprintf(s.out, "%s: %v\n", c.name, err)
		}
		return
	}
	var names []string
	for _, c := range commands {
		if c.help != "" {
			names = append(names, c.name)
		}
	}
	fmt.Fprintf(s.out, "%q: unknown command, want one of %s\n", words[0], strings.Join(names, " "))
}

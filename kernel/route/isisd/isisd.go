// Package isisd runs IS-IS on a machine: it gives an isis.Instance the machine's clock, the PDUs
// and facts of its links and its configuration, and takes its routes to the machine's table. One
// goroutine owns the instance; all others put what they have into queues.
//
// The package needs no hardware: a link's card is a Port, and its facts are told.
package isisd

import (
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis"
	"github.com/sluice-os/sluice/kernel/route/isis/config"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// This file owns the goroutine and what wakes it.

// Environment is what the machine gives.
type Environment struct {
	// Now is the time since boot.
	Now func() time.Duration
	Log *slog.Logger
	// Seed makes jitter differ between machines.
	Seed uint64
	// Memory is how much the database may take, in bytes: see LSPMemory. 0: isis.Config's default.
	Memory uint64
	// Install takes changes of routes, in their order.
	Install func(put []rib.Route, gone []netip.Prefix)
	// Held is how many of the routes that Install was given, and that are not gone, the table has:
	// it may have refused some. nil: all.
	Held func() int
}

// LSPMemory is what an LSP of a level takes at most with all that it says, in bytes.
const LSPMemory = 11 * 1492

// lspsMin is how many LSPs of a level are held however little memory there is.
const lspsMin = 64

// maxLSPs is how many of each level there may be; 0: as many as isis.Config says.
func (e *Environment) maxLSPs() int {
	if e.Memory == 0 {
		return 0
	}
	return max(lspsMin, int(e.Memory/(2*LSPMemory)))
}

// Router is the protocol on a machine. Its methods may be called concurrently, but for AddLink.
type Router struct {
	env      Environment
	links    map[string]*Link
	wake     chan struct{}
	commands chan func()
	stop     chan struct{}
	done     sync.WaitGroup

	mu    sync.Mutex
	queue []arrival
	free  [][]byte

	// What follows belongs to the goroutine. instance is nil as long as there is no net.
	config   *config.Config
	instance *isis.Instance
	began    time.Duration
	circuits map[int]*Link // by circuit
	log      logs
	routes   map[netip.Prefix]rib.Route
	// lacking is how many of them the table has refused, full how many it held then, and offer when it
	// may be given them again.
	lacking, full int
	offer         time.Duration
}

// New makes a router with the configuration that lines have; see package config. Without any it
// waits for one.
func New(env Environment, lines string) (*Router, error) {
	c, err := config.Parse(lines)
	if err != nil && strings.TrimSpace(lines) != "" {
		return nil, err
	}
	return &Router{
		env: env, config: c, links: map[string]*Link{}, wake: make(chan struct{}, 1), commands: make(chan func()), stop: make(chan struct{}),
		routes: map[netip.Prefix]rib.Route{},
	}, nil
}

// Start starts the protocol.
func (r *Router) Start() { r.done.Go(r.run) }

// Stop ends it: its routes are taken back.
func (r *Router) Stop() {
	close(r.stop)
	r.done.Wait()
}

// notify wakes the goroutine. It never blocks.
func (r *Router) notify() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run is the goroutine.
func (r *Router) run() {
	r.begin()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		r.takeFacts()
		more := r.takeArrivals()
		wait := time.Hour
		if r.instance != nil {
			r.instance.Tick(r.env.Now())
			if at, ok := r.instance.Next(); ok {
				wait = max(0, min(at-r.env.Now(), time.Hour))
			}
		}
		wait = r.offerAgain(r.env.Now(), wait)
		if more {
			wait = 0
		}
		timer.Reset(wait)
		select {
		case <-r.wake:
		case <-timer.C:
		case f := <-r.commands:
			f()
		case <-r.stop:
			r.end()
			return
		}
	}
}

// errStopped says that the router has been stopped.
var errStopped = errors.New("isis: stopped")

// do has the goroutine call a function, and waits for it.
func (r *Router) do(f func()) error {
	done := make(chan struct{})
	select {
	case r.commands <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-r.stop:
		return errStopped
	}
}

package domain

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/kernel/domain/grace"
	"github.com/sluice-os/sluice/kernel/domain/program"
	"github.com/sluice-os/sluice/kernel/domain/restart"
	"github.com/sluice-os/sluice/kernel/domain/token"
	"github.com/sluice-os/sluice/nexus/newc"
)

// State is where an app is in its life.
type State string

const (
	StateRefused State = "refused" // it can never run; Last tells why
	StateLoaded  State = "loaded"  // not started yet
	StateRunning State = "running"
	StateWaiting State = "waiting" // for its restart
	StateStopped State = "stopped"
	// StateSuspended is what is shown of one that runs and is suspended.
	StateSuspended State = "suspended"
)

// stopGrace is how long an app has between SIGTERM and its end.
const stopGrace = 5 * time.Second

// Manager runs the machine's domains.
type Manager struct {
	env  Environment
	apps []*app // in the order of the archive
	// pressure is held by who takes memory of channels for others.
	pressure sync.Mutex
}

// app is a domain of the manifest, over all its starts.
type app struct {
	manager *Manager
	config  config.Domain
	image   *program.Image
	files   []byte
	out     *output
	in      *input

	mu       sync.Mutex
	state    State
	current  *Domain
	stopping bool // asked to stay stopped
	cancel   chan struct{}
	done     chan struct{} // closed when the app has stopped for good
	starts   int
	first    time.Duration // when it was started for the first time
	last     Exit
	used     time.Duration // processor time of ended starts
	peak     uint64
}

// NewManager reads the archive that came with the image. Apps that cannot run
// are logged and kept as refused; the others are started by StartAll.
func NewManager(archive []byte, env Environment) (*Manager, error) {
	env.token = token.New(clock.Nanotime)
	m := &Manager{env: env}
	m.env.relieve = m.relieve
	entries, err := readArchive(archive)
	if err != nil {
		return nil, err
	}
	configs, err := config.Decode(entries[config.EntryName])
	if err != nil {
		return nil, fmt.Errorf("the configuration of the domains: %w: build the image again", err)
	}
	if env.NewPipes != nil {
		m.env.pipes = env.NewPipes(configs)
	}
	for _, c := range configs {
		a := &app{manager: m, config: c, files: entries[c.Name+config.FilesSuffix], state: StateLoaded}
		a.in = &input{}
		name := c.Name
		a.out = &output{print: func(line []byte) { env.Console(name, line) }}
		if _, err := m.find(c.Name); err == nil {
			a.refuse(errors.New("there is one of that name already: name each differently"))
		} else if err := c.Check(); err != nil {
			a.refuse(err)
		} else if a.image, err = program.Parse(entries[c.Name]); err != nil {
			a.refuse(err)
		}
		m.apps = append(m.apps, a)
	}
	return m, nil
}

// readArchive returns the entries of the archive by name.
func readArchive(archive []byte) (map[string][]byte, error) {
	entries := map[string][]byte{}
	for {
		f, rest, more, bad := newc.Next(archive)
		if bad {
			return nil, errors.New("the archive of domains is damaged: build the image again")
		}
		if !more {
			return entries, nil
		}
		entries[f.Name], archive = f.Data, rest
	}
}

// Options returns the words of the kernel's command line that an archive
// carries.
func Options(archive []byte) string { return entryOf(archive, config.OptionsName) }

// ISIS returns the lines of the configuration of IS-IS that an archive carries.
func ISIS(archive []byte) string { return entryOf(archive, config.ISISName) }

// entryOf is the text of an entry; "": there is none.
func entryOf(archive []byte, name string) string {
	entries, err := readArchive(archive)
	if err != nil {
		return ""
	}
	return string(entries[name])
}

// Listeners returns the ports that the domains of an archive may listen on at a network
// card, in the manifest's words. Domains that name no card are on the first.
func Listeners(archive []byte, nic string, first bool) (ports []string) {
	entries, err := readArchive(archive)
	if err != nil {
		return nil
	}
	configs, err := config.Decode(entries[config.EntryName])
	if err != nil {
		return nil
	}
	for _, c := range configs {
		if c.NIC == nic || c.NIC == "" && first {
			ports = append(ports, c.Listen...)
		}
	}
	return ports
}

func (a *app) refuse(err error) {
	a.state, a.last = StateRefused, Exit{Reason: Refused, Detail: err.Error()}
	slog.Error("domain refused", "domain", a.config.Name, "reason", err)
}

// StartAll starts the apps that begin with the machine, but for the one named.
func (m *Manager) StartAll(but string) {
	for _, a := range m.apps {
		if a.config.Start && a.config.Name != but {
			_, _ = a.start() // refused ones have said so
		}
	}
}

// Post sets events for every domain that runs.
func (m *Manager) Post(events uint64) {
	for _, d := range m.present() {
		d.post(events)
	}
}

// present returns the starts that run, in the order of the archive.
func (m *Manager) present() (list []*Domain) {
	for _, a := range m.apps {
		a.mu.Lock()
		if a.current != nil {
			list = append(list, a.current)
		}
		a.mu.Unlock()
	}
	return list
}

// find returns the app of a name.
func (m *Manager) find(name string) (*app, error) {
	for _, a := range m.apps {
		if a.config.Name == name {
			return a, nil
		}
	}
	return nil, fmt.Errorf("no domain %q: the command domains lists them", name)
}

// start has the app run, if it does not. loaded is closed when it can be talked to, or could
// not be loaded.
func (a *app) start() (loaded <-chan struct{}, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch a.state {
	case StateRefused:
		return nil, fmt.Errorf("domain %s cannot run: %s", a.config.Name, a.last.Detail)
	case StateRunning, StateWaiting:
		return nil, fmt.Errorf("domain %s is %s already", a.config.Name, a.state)
	}
	a.state, a.stopping = StateRunning, false
	a.cancel, a.done = make(chan struct{}), make(chan struct{})
	there := make(chan struct{})
	go a.supervise(a.cancel, sync.OnceFunc(func() { close(there) }), a.done)
	return there, nil
}

// startNow is start, and waits until the app is loaded.
func (a *app) startNow() error {
	loaded, err := a.start()
	if err == nil {
		<-loaded
	}
	return err
}

// supervise runs the app until its policy or a person lets it end. An end is logged when the
// state says so: who reads of it may start the app anew at once.
func (a *app) supervise(cancel chan struct{}, loaded func(), done chan struct{}) {
	defer close(done)
	backoff := restart.Backoff{First: a.config.Backoff, Most: a.config.BackoffMax}
	for {
		began := clock.Since()
		end := a.runOnce(loaded)
		delay, again := backoff.Next(a.config.Policy, end.Failed(), clock.Since()-began)
		a.mu.Lock()
		a.state = StateWaiting
		if a.stopping || !again || end.Reason == Refused {
			a.state = StateStopped
		}
		stopped := a.state == StateStopped
		a.mu.Unlock()
		a.tell(&end)
		if stopped {
			return
		}
		if delay > 0 {
			slog.Info("domain starts again", "domain", a.config.Name, "in", delay)
			select {
			case <-time.After(delay):
			case <-cancel:
			}
		}
		a.mu.Lock()
		if a.stopping {
			a.state = StateStopped
			a.mu.Unlock()
			return
		}
		a.state = StateRunning
		a.mu.Unlock()
	}
}

// tell logs the end of a start.
func (a *app) tell(end *Exit) {
	if end.Reason == Refused {
		slog.Error("domain not started", "domain", a.config.Name, "reason", end.Detail)
		return
	}
	attrs := []any{"domain", a.config.Name, "reason", end.String()}
	for i, call := range end.Trace {
		attrs = append(attrs, fmt.Sprintf("at%d", i), call)
	}
	if end.Failed() {
		slog.Warn("domain ended", attrs...)
	} else {
		slog.Info("domain ended", attrs...)
	}
}

// runOnce is one start, from loading, after which it calls loaded, to the last page given
// back.
func (a *app) runOnce(loaded func()) (end Exit) {
	defer loaded() // if it never came so far
	d, err := start(&a.manager.env, &a.config, a.image, a.files, a.out, a.in)
	if err != nil {
		end = Exit{Reason: Refused, Detail: err.Error()}
		a.mu.Lock()
		a.last = end
		a.mu.Unlock()
		return end
	}
	a.mu.Lock()
	a.current = d
	if a.starts == 0 {
		a.first = clock.Since()
	}
	a.starts++
	stopping := a.stopping
	a.mu.Unlock()
	loaded()
	if stopping {
		d.kill(Exit{Reason: Stopped})
	}
	end = d.run()
	a.out.close()
	a.mu.Lock()
	a.current, a.last = nil, end
	a.used += d.used()
	a.peak = max(a.peak, d.memory.space.Peak())
	a.mu.Unlock()
	d.reclaim()
	a.manager.relieved()
	return end
}

// halt ends the app and waits until it has: with SIGTERM and, if that does not
// do within the grace, by force. force leaves the first step out.
func (a *app) halt(force bool) error {
	a.mu.Lock()
	if a.state != StateRunning && a.state != StateWaiting {
		defer a.mu.Unlock()
		return fmt.Errorf("domain %s is not running: it is %s", a.config.Name, a.state)
	}
	if !a.stopping {
		a.stopping = true
		close(a.cancel)
	}
	d, done := a.current, a.done
	a.mu.Unlock()
	if d != nil && !force {
		d.goOn()
		d.pauseChannels()
		d.terminate()
		if grace.Ends(done, stopGrace) {
			return nil
		}
		slog.Warn("domain does not stop: it is killed", "domain", a.config.Name, "after", stopGrace)
	}
	if d != nil {
		d.kill(Exit{Reason: Killed, Detail: "by the operator"})
	}
	<-done
	return nil
}

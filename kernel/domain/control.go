package domain

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/shell"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/view"
)

// Manager is what the shell's commands work on.
var _ shell.Domains = (*Manager)(nil)

// List implements shell.Domains.
func (m *Manager) List() (list []shell.Domain) {
	for _, a := range m.apps {
		list = append(list, a.info())
	}
	return list
}

func (a *app) info() shell.Domain {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := shell.Domain{
		Name: a.config.Name, State: string(a.state), Quota: a.config.Quota,
		Time: a.used, Peak: a.peak, Restarts: max(a.starts-1, 0), Last: a.last.String(),
	}
	if d := a.current; d != nil {
		i.Time += d.used()
		if d.suspended() {
			i.State = string(StateSuspended)
		}
		i.Memory = d.memory.space.Used()
		i.Peak = max(i.Peak, d.memory.space.Peak())
	}
	if alive := clock.Since() - a.first; a.starts > 0 && alive > 0 {
		i.Share = float64(i.Time) / float64(alive)
	}
	return i
}

// Table is List for programs.
func (m *Manager) Table() *view.Table {
	t := view.New("NAME", "STATE", "CPU#", "MEMORY#", "PEAK#", "QUOTA#", "RESTARTS#", "LAST EXIT")
	for _, d := range m.List() {
		t.Add(d.Name, d.State, strconv.FormatFloat(d.Time.Seconds(), 'f', 6, 64), d.Memory, d.Peak, d.Quota, d.Restarts, d.Last)
	}
	return t
}

// Arenas is a table of the memory of all channels and pipes, by region, in bytes.
func (m *Manager) Arenas() *view.Table {
	names := []string{"DOMAIN", "CHANNEL#"}
	for id := range arena.Regions {
		names = append(names, strings.ToUpper(id.String())+"#")
	}
	t := view.New(append(names, "TOTAL#")...)
	for _, a := range m.apps {
		a.mu.Lock()
		d := a.current
		a.mu.Unlock()
		if d == nil {
			continue
		}
		for _, c := range d.arenas() {
			row, total := []any{d.name, c.number}, 0
			for _, n := range c.bytes {
				row = append(row, n)
				total += n
			}
			t.Add(append(row, total)...)
		}
	}
	return t
}

// Start implements shell.Domains.
func (m *Manager) Start(name string) error {
	a, err := m.find(name)
	if err != nil {
		return err
	}
	return a.startNow()
}

// Stop implements shell.Domains.
func (m *Manager) Stop(name string) error {
	a, err := m.find(name)
	if err != nil {
		return err
	}
	return a.halt(false)
}

// Kill implements shell.Domains.
func (m *Manager) Kill(name string) error {
	a, err := m.find(name)
	if err != nil {
		return err
	}
	return a.halt(true)
}

// Restart implements shell.Domains. A domain that does not run is started.
func (m *Manager) Restart(name string) error {
	a, err := m.find(name)
	if err != nil {
		return err
	}
	_ = a.halt(false) // it need not run
	return a.startNow()
}

// running returns the app and its present start.
func (m *Manager) running(name string) (*app, *Domain, error) {
	a, err := m.find(name)
	if err != nil {
		return nil, nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.current != nil:
		return a, a.current, nil
	case a.state == StateWaiting:
		return nil, nil, fmt.Errorf("domain %s is waiting for its restart", name)
	case a.state == StateRunning: // between two starts
		return nil, nil, fmt.Errorf("domain %s is being loaded: try again", name)
	default:
		return nil, nil, fmt.Errorf("domain %s is not running: it is %s: start it with: domain start %s", name, a.state, name)
	}
}

// Send implements shell.Domains.
func (m *Manager) Send(name string, text []byte) error {
	a, d, err := m.running(name)
	if err != nil {
		return err
	}
	if n := a.in.add(text); n < len(text) {
		return fmt.Errorf("domain %s does not read: %d bytes of %d are left out, %d wait already", name, len(text)-n, len(text), inputMax)
	}
	d.post(abi.EventInput)
	return nil
}

// Interrupt implements shell.Domains.
func (m *Manager) Interrupt(name string) error {
	_, d, err := m.running(name)
	if err == nil {
		d.post(abi.EventInterrupt)
	}
	return err
}

// EndInput implements shell.Domains.
func (m *Manager) EndInput(name string) error {
	a, d, err := m.running(name)
	if err == nil {
		a.in.end(true)
		d.post(abi.EventInput)
	}
	return err
}

// Attach implements shell.Domains.
func (m *Manager) Attach(name string, out func([]byte)) (<-chan struct{}, func(), error) {
	a, _, err := m.running(name)
	if err != nil {
		return nil, nil, err
	}
	a.in.end(false)
	a.out.setRaw(out)
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.done, func() { a.out.setRaw(nil) }, nil
}

// Run starts a domain with everything that it writes going to out, and waits
// until it has stopped for good. It says how the last start ended.
func (m *Manager) Run(name string, out func([]byte)) (Exit, error) {
	a, err := m.find(name)
	if err != nil {
		return Exit{}, err
	}
	a.out.setRaw(out)
	defer a.out.setRaw(nil)
	if _, err := a.start(); err != nil {
		return Exit{}, err
	}
	a.mu.Lock()
	done := a.done
	a.mu.Unlock()
	<-done
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last, nil
}

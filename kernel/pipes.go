package kernel

import (
	"fmt"
	"slices"
	"sync"

	"github.com/sluice-os/sluice/kernel/domain"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/nexus/budget"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/monitor"
	"github.com/sluice-os/sluice/nexus/pipe"
)

// pipes are those of the manifest, by name. It implements domain.Pipes.
type pipes struct {
	random func([]byte) (int, error)
	budget *budget.Budget
	mu     sync.Mutex
	joints map[string]*joint
}

// joint is a pipe between two domains. When both have closed their ends it is made
// anew for who opens it next.
type joint struct {
	domains [pipe.Ports]string
	pipe    *pipe.Pipe
	open    int // ends
	ends    [pipe.Ports]*pipeEnd
}

// newPipes prepares those that two domains of the image name.
func newPipes(domains []config.Domain, random func([]byte) (int, error), b *budget.Budget) *pipes {
	p := &pipes{random: random, budget: b, joints: map[string]*joint{}}
	for _, d := range domains {
		for _, name := range d.Pipes {
			if j := p.joints[name]; j == nil {
				p.joints[name] = &joint{domains: [pipe.Ports]string{d.Name}}
			} else if j.domains[1] == "" {
				j.domains[1] = d.Name
			}
		}
	}
	return p
}

// OpenPipe implements domain.Pipes.
func (p *pipes) OpenPipe(id uint64, c *config.Domain, name string, o *domain.Opening) (domain.Channel, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.joints[name]
	if j == nil || !slices.Contains(c.Pipes, name) || !slices.Contains(j.domains[:], c.Name) {
		return nil, fmt.Errorf("%w %q of domain %s", domain.ErrNoPipe, name, c.Name)
	}
	ch, err := newChannel(p.random, p.budget, id, c, o)
	if err != nil {
		return nil, err
	}
	if j.open == 0 {
		j.pipe = &pipe.Pipe{}
	}
	port := slices.Index(j.domains[:], c.Name)
	end, err := j.pipe.Attach(port, ch)
	if err != nil {
		ch.Close()
		ch.Arena().Free()
		return nil, err
	}
	j.open++
	j.ends[port] = &pipeEnd{Channel: ch, end: end, pipes: p, joint: j, port: port}
	return j.ends[port], nil
}

// list describes the channels.
func (p *pipes) list() (list []channel.Listed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, j := range p.joints {
		for _, e := range j.ends {
			if e != nil {
				counts := e.end.Counts()
				list = append(list, channel.Listed{Channel: e.Channel, Nexus: "pipe " + name, TooLong: counts.TooLong, Lost: counts.Lost})
			}
		}
	}
	return list
}

// pipeEnd implements domain.Channel.
type pipeEnd struct {
	*channel.Channel
	end   *pipe.End
	pipes *pipes
	joint *joint
	port  int
}

func (e *pipeEnd) Sync() error { return e.end.Sync() }

// Defunct implements domain.Channel.
func (e *pipeEnd) Defunct() (int, error) { return e.end.Defunct() }

func (e *pipeEnd) Close() {
	e.pipes.mu.Lock()
	defer e.pipes.mu.Unlock()
	e.end.Close()
	monitor.Forget(e.Channel)
	e.joint.open--
	e.joint.ends[e.port] = nil
}

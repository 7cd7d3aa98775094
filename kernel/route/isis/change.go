package isis

import (
	"fmt"
	"reflect"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns changes of circuits while the instance runs.

// RemoveCircuit takes a circuit away: its neighbours are gone, and its prefixes are announced no
// more. The next circuit that is added may have its number.
func (i *Instance) RemoveCircuit(now time.Duration, circuit int) {
	c := i.circuits[circuit]
	if c.removed {
		return
	}
	c.clear(now, "circuit removed")
	i.circuits[circuit] = i.noCircuit(circuit)
	i.changed(now, 3)
}

// noCircuit stands where a circuit was: it is for no family and hears nothing.
func (i *Instance) noCircuit(index int) *circuit {
	return &circuit{i: i, index: index, removed: true, config: CircuitConfig{Passive: true}}
}

// clear ends what a circuit does, and takes it out of all queues.
func (c *circuit) clear(now time.Duration, why string) {
	c.end(now, why)
	for _, l := range c.i.each(3) {
		for _, e := range l.order {
			e.srm.remove(c.index)
			e.queued.remove(c.index)
		}
	}
}

// changed has all be said and found anew of what circuits are.
func (i *Instance) changed(now time.Duration, levels pdu.Levels) {
	for _, l := range i.each(levels) {
		l.regenerate(now)
		l.scheduleSPF(now)
	}
	i.timers.run(now)
}

// SetCircuit gives a circuit another configuration. Another metric, and another priority, leave
// its neighbours as they are; with all else the circuit begins anew. It fails as AddCircuit does,
// and then changes nothing.
func (i *Instance) SetCircuit(now time.Duration, circuit int, cc CircuitConfig) error {
	if err := cc.check(&i.config); err != nil {
		return err
	}
	c := i.circuits[circuit]
	if c.removed {
		return fmt.Errorf("%w: circuit %d was removed", ErrConfig, circuit)
	}
	same := c.config
	same.Metric, same.Priority = cc.Metric, cc.Priority
	if reflect.DeepEqual(same, cc) {
		c.config = cc
		for _, l := range c.lans {
			if l != nil {
				l.helloSoon(now)
				l.elect(now)
			}
		}
		i.changed(now, c.levels())
		return nil
	}
	c.clear(now, "circuit configured")
	next := i.newCircuit(circuit, cc)
	next.alarms, next.drops, next.tooLong = c.alarms, c.drops, c.tooLong
	link := c.link
	i.circuits[circuit] = next
	i.SetLink(now, circuit, link)
	i.changed(now, 3)
	return nil
}

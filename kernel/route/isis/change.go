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

// SetCircuit gives a circuit another configuration. Another metric, another priority, and other
// keys leave its neighbours as they are: hellos are checked with the keys from then on, so that one
// whose hellos they do not open is gone when its hold time is over. With all else the circuit begins
// anew. It fails as AddCircuit does, and then changes nothing.
func (i *Instance) SetCircuit(now time.Duration, circuit int, cc CircuitConfig) error {
	if err := cc.check(&i.config); err != nil {
		return err
	}
	c := i.circuits[circuit]
	if c.removed {
		return fmt.Errorf("%w: circuit %d was removed", ErrConfig, circuit)
	}
	same := c.config
	same.Metric, same.Priority, same.Keys = cc.Metric, cc.Priority, cc.Keys
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

// SetKeys gives the levels other keys; see Config.Keys. What comes is checked with them from then on,
// what is held stays. Our LSPs are written anew where another key seals them, so that the one before
// is needed no more when all routers have done so. It fails with ErrConfig or pdu.ErrKey, and then
// changes nothing.
func (i *Instance) SetKeys(now time.Duration, keys [3]Keys) error {
	for _, k := range keys {
		if err := k.check(); err != nil {
			return err
		}
	}
	old := i.config.Keys
	i.config.Keys = keys
	for _, l := range i.each(3) {
		if reflect.DeepEqual(old[l.n], keys[l.n]) {
			continue
		}
		if !reflect.DeepEqual(old[l.n].sending(now), keys[l.n].sending(now)) {
			for _, e := range l.order {
				e.body = nil
			}
		}
		l.regenerate(now)
	}
	i.timers.run(now)
	return nil
}

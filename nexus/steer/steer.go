// Package steer has the rules of a card: which flows leave it in which service class, whatever
// their packets say of themselves.
package steer

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/packet"
)

const (
	// MaxMasks is how many kinds of rules there may be: those that ask for the same fields, and
	// for as many bits of the addresses, are of one kind. Each is a lookup for a flow.
	MaxMasks = 30
	// MaxRules is how many rules there may be in all.
	MaxRules = 512
)

var (
	// ErrExists says that there is a rule for the same flows.
	ErrExists = errors.New("there is a rule for these flows; delete it first")
	// ErrAbsent says that there is none.
	ErrAbsent = errors.New("there is no rule for these flows")
	// ErrMasks says that there are too many kinds of rules.
	ErrMasks = fmt.Errorf("there are %d kinds of rules already, and no more can be: use lengths of prefixes that others have", MaxMasks)
	// ErrFull says that there are too many rules.
	ErrFull = fmt.Errorf("there are %d rules already, and no more can be", MaxRules)
)

// Rule says in which class flows leave. What is not said is any; an address or a port is.
type Rule struct {
	// Proto is an IP protocol; 0: any.
	Proto uint8
	// Local and Remote are networks of the same family; the zero value is any. Bits behind the
	// prefix are ignored.
	Local, Remote netip.Prefix
	// LocalPort and RemotePort are those of TCP and UDP, and LocalPort the identifier of
	// echoes; 0: any.
	LocalPort, RemotePort uint16
	Class                 aqm.Class
}

// check says what is wrong with a rule.
func (r *Rule) check() error {
	switch {
	case !r.Local.IsValid() && !r.Remote.IsValid() && r.LocalPort == 0 && r.RemotePort == 0:
		return errors.New("a rule wants an address or a port")
	case r.Local.IsValid() && r.Remote.IsValid() && r.Local.Addr().Is4() != r.Remote.Addr().Is4():
		return errors.New("a rule's addresses want to be of one family")
	case r.Class >= aqm.Classes:
		return fmt.Errorf("there is no class %d", r.Class)
	}
	return nil
}

// mask says which fields a rule asks for, and for how many bits of the addresses in the form
// of a packet.Key.
type mask struct {
	local, remote                         uint8
	version, proto, localPort, remotePort bool
}

// mask returns that of a rule.
func (r *Rule) mask() (m mask) {
	bits := func(p netip.Prefix) uint8 {
		switch {
		case !p.IsValid():
			return 0
		case p.Addr().Is4():
			return uint8(96 + p.Bits())
		}
		return uint8(p.Bits())
	}
	return mask{
		local: bits(r.Local), remote: bits(r.Remote), version: r.Local.IsValid() || r.Remote.IsValid(),
		proto: r.Proto != 0, localPort: r.LocalPort != 0, remotePort: r.RemotePort != 0,
	}
}

// key returns what a flow's key is like under the rule's mask.
func (r *Rule) key() packet.Key {
	k := packet.Key{Proto: r.Proto, LocalPort: r.LocalPort, RemotePort: r.RemotePort}
	for _, p := range []struct {
		to   *[16]byte
		from netip.Prefix
	}{{&k.Local, r.Local}, {&k.Remote, r.Remote}} {
		if p.from.IsValid() {
			*p.to = packet.Bytes(p.from.Addr())
			k.Version = 6
			if p.from.Addr().Is4() {
				k.Version = 4
			}
		}
	}
	r.mask().apply(&k)
	return k
}

// apply clears what the mask does not ask for.
func (m mask) apply(k *packet.Key) {
	clip(&k.Local, m.local)
	clip(&k.Remote, m.remote)
	if !m.version {
		k.Version = 0
	}
	if !m.proto {
		k.Proto = 0
	}
	if !m.localPort {
		k.LocalPort = 0
	}
	if !m.remotePort {
		k.RemotePort = 0
	}
}

// clip clears all but the first bits of an address.
func clip(a *[16]byte, bits uint8) {
	i := int(bits / 8)
	if i == len(a) {
		return
	}
	a[i] &^= 0xff >> (bits % 8)
	clear(a[i+1:])
}

// compare puts masks that ask for more in front. Of those that ask for as many bits the one
// that says more of the peer is first.
func (m mask) compare(o mask) int {
	weight := func(m mask) int {
		n := int(m.local) + int(m.remote)
		for _, f := range []struct {
			on   bool
			bits int
		}{{m.version, 1}, {m.proto, 8}, {m.localPort, 16}, {m.remotePort, 16}} {
			if f.on {
				n += f.bits
			}
		}
		return n
	}
	is := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(weight(o), weight(m)), cmp.Compare(o.remote, m.remote),
		cmp.Compare(is(o.remotePort), is(m.remotePort)), cmp.Compare(is(o.proto), is(m.proto)), cmp.Compare(o.local, m.local))
}

// list has the rules of one mask.
type list struct {
	mask
	rules map[packet.Key]Rule
}

// Rules are those of a card. The zero value has none. They may be looked at and changed
// concurrently.
type Rules struct {
	mu         sync.Mutex
	lists      atomic.Pointer[[]list] // most specific first; what it points to does not change
	generation atomic.Uint32
}

// Generation is another one after each change; 0: there was never a rule.
func (r *Rules) Generation() uint32 { return r.generation.Load() }

func (r *Rules) all() []list {
	if l := r.lists.Load(); l != nil {
		return *l
	}
	return nil
}

// Class returns the class of a flow by the most specific rule for it, as ClassOf of package aqm
// takes it (from 1 on); 0: no rule is for it.
func (r *Rules) Class(k packet.Key) uint32 {
	for _, l := range r.all() {
		masked := k
		l.apply(&masked)
		if rule, ok := l.rules[masked]; ok {
			return uint32(rule.Class) + 1
		}
	}
	return 0
}

// Add adds a rule: ErrExists, ErrMasks, ErrFull, or what is wrong with it.
func (r *Rules) Add(rule Rule) error {
	if err := rule.check(); err != nil {
		return err
	}
	return r.change(rule, func(old map[packet.Key]Rule, k packet.Key) error {
		if _, ok := old[k]; ok {
			return ErrExists
		}
		old[k] = rule
		return nil
	})
}

// Delete takes the rule for the same flows away, of whatever class: ErrAbsent.
func (r *Rules) Delete(rule Rule) error {
	return r.change(rule, func(old map[packet.Key]Rule, k packet.Key) error {
		if _, ok := old[k]; !ok {
			return ErrAbsent
		}
		delete(old, k)
		return nil
	})
}

// change puts other lists in the place of those that are there: f changes that of a rule's mask.
func (r *Rules) change(rule Rule, f func(map[packet.Key]Rule, packet.Key) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, all, count := rule.mask(), slices.Clone(r.all()), 0
	i := slices.IndexFunc(all, func(l list) bool { return l.mask == m })
	if i < 0 {
		i = len(all)
		all = append(all, list{mask: m})
	}
	changed := map[packet.Key]Rule{}
	for k, v := range all[i].rules {
		changed[k] = v
	}
	if err := f(changed, rule.key()); err != nil {
		return err
	}
	all[i].rules = changed
	if len(changed) == 0 {
		all = slices.Delete(all, i, i+1)
	}
	for _, l := range all {
		count += len(l.rules)
	}
	switch {
	case len(all) > MaxMasks:
		return ErrMasks
	case count > MaxRules:
		return ErrFull
	}
	slices.SortFunc(all, func(a, b list) int { return a.compare(b.mask) })
	r.lists.Store(&all)
	if r.generation.Add(1) == 0 {
		r.generation.Add(1)
	}
	return nil
}

// List returns the rules, in the order in which they are looked at.
func (r *Rules) List() (rules []Rule) {
	for _, l := range r.all() {
		from := len(rules)
		for _, rule := range l.rules {
			rules = append(rules, rule)
		}
		slices.SortFunc(rules[from:], func(a, b Rule) int { return cmp.Compare(a.String(), b.String()) })
	}
	return rules
}

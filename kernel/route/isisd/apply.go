package isisd

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
	"github.com/sluice-os/sluice/kernel/route/rib"
)

// This file owns how the instance comes to be what the configuration says.

// Configure takes a command of package config in. What it changes of an interface, of keys or of the
// overload changes while all goes on; with all else the protocol begins anew.
func (r *Router) Configure(words []string) (err error) {
	if stopped := r.do(func() { err = r.configure(words) }); stopped != nil {
		return stopped
	}
	return err
}

func (r *Router) configure(words []string) error {
	next := r.config.Clone()
	if err := next.Apply(words); err != nil {
		return err
	}
	if next.On() {
		if err := next.Check(); err != nil {
			return err
		}
	}
	for _, name := range next.Names() {
		if _, was := r.config.Interfaces[name]; !was && r.links[name] == nil {
			return fmt.Errorf("isis: this machine has no interface %q: those are %s", name, strings.Join(r.linkNames(), ", "))
		}
	}
	old := r.config
	r.config = next
	same := old.Instance
	same.Overload, same.Keys = next.Instance.Overload, next.Instance.Keys
	if r.instance == nil || !next.On() || !reflect.DeepEqual(same, next.Instance) {
		r.end()
		r.begin()
		return nil
	}
	now := r.env.Now()
	r.instance.SetOverload(now, next.Instance.Overload)
	if err := r.instance.SetKeys(now, next.Instance.Keys); err != nil {
		return err
	}
	for name := range old.Interfaces {
		if l := r.links[name]; l != nil && l.circuit >= 0 {
			if _, stays := next.Interfaces[name]; !stays {
				r.instance.RemoveCircuit(now, l.circuit)
				delete(r.circuits, l.circuit)
				l.circuit = -1
			}
		}
	}
	for _, name := range next.Names() {
		if reflect.DeepEqual(old.Interfaces[name], next.Interfaces[name]) {
			continue
		}
		if err := r.setCircuit(now, name); err != nil {
			return err
		}
	}
	return nil
}

func (r *Router) linkNames() (list []string) {
	for name := range r.links {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// setCircuit makes the circuit of a link what the configuration says. An interface that the
// machine does not have is passed over.
func (r *Router) setCircuit(now time.Duration, name string) error {
	l := r.links[name]
	if l == nil {
		r.env.Log.Warn("isis: this machine has no such interface", "interface", name)
		return nil
	}
	cc := r.config.Interfaces[name]
	cc.SNPA = l.port.Address()
	if l.circuit >= 0 {
		return r.instance.SetCircuit(now, l.circuit, cc)
	}
	n, err := r.instance.AddCircuit(now, cc)
	if err != nil {
		return err
	}
	l.circuit, r.circuits[n] = n, l
	r.instance.SetLink(now, n, l.known)
	return nil
}

// begin makes an instance, if there is a net.
func (r *Router) begin() {
	if !r.config.On() {
		return
	}
	c := r.config.Clone().Instance
	c.MaxLSPs, c.ECMP = r.env.maxLSPs(), cmp.Or(c.ECMP, rib.ECMP)
	c.Seed, c.Event, c.Routes, c.Stopwatch = r.env.Seed, r.event, r.install, r.env.Now
	c.Send = func(circuit int, to pdu.SNPA, b []byte) { r.circuits[circuit].port.Send(to, b) }
	r.began, r.circuits = r.env.Now(), map[int]*Link{}
	i, err := isis.New(r.began, c)
	if err != nil {
		r.env.Log.Error("isis does not start", "reason", err)
		return
	}
	r.instance = i
	for _, name := range r.config.Names() {
		if err := r.setCircuit(r.began, name); err != nil {
			r.env.Log.Error("isis: interface left out", "interface", name, "reason", err)
		}
	}
	r.env.Log.Info("isis", "system", c.System, "area", c.Areas[0], "interfaces", strings.Join(r.config.Names(), ","))
}

// end forgets the instance, and takes its routes back.
func (r *Router) end() {
	r.instance, r.circuits = nil, nil
	for _, l := range r.links {
		l.circuit = -1
	}
	r.takeBack()
}

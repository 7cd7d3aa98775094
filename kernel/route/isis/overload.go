package isis

import "time"

// This file owns the times in which this router is not to be used: after its start, when a database
// has no room for what there is, and when its sequence numbers are used up.

func (i *Instance) overloaded() bool { return i.config.Overload || i.starting }

// overloaded says whether the level's LSP is to have others keep off.
func (l *level) overloaded() bool { return l.i.overloaded() || l.lacks.running() }

// Overloaded says whether others are told not to send traffic through this router, at a level at
// least.
func (i *Instance) Overloaded() bool {
	for _, l := range i.each(3) {
		if l.overloaded() {
			return true
		}
	}
	return false
}

// refuse notes that an LSP has found no room: paths over this router would be computed from a part
// of the network (ISO 10589 7.3.19). It is over when none was refused for fullFor.
func (l *level) refuse(now time.Duration) {
	was := l.lacks.running()
	l.i.timers.set(&l.lacks, now+fullFor)
	if !was {
		l.overloadChanged(now, "on: the database is full")
	}
}

// overloadChanged tells that the database has become full or is so no more.
func (l *level) overloadChanged(now time.Duration, text string) {
	l.i.event(Event{At: now, Kind: OverloadChange, Level: l.n, Text: l.n.String() + " " + text})
	l.regenerate(now)
}

// SetOverload has others not send traffic through this router, or do so again.
func (i *Instance) SetOverload(now time.Duration, on bool) {
	if i.config.Overload == on {
		return
	}
	i.config.Overload = on
	i.event(Event{At: now, Kind: OverloadChange, Text: map[bool]string{true: "on", false: "off"}[on]})
	i.regenerateAll(now)
	i.timers.run(now)
}

func (i *Instance) regenerateAll(now time.Duration) {
	for _, l := range i.each(3) {
		l.regenerate(now)
	}
}

// disRounds is after how many CSNPs of ours a LAN has sent us what we lack.
const disRounds = 2

// checkStarted ends the overload of the start when every neighbour has listed what it has and all
// of that has come.
func (i *Instance) checkStarted(now time.Duration) {
	if !i.starting {
		return
	}
	any := false
	for _, c := range i.circuits {
		for _, l := range i.each(c.levels()) {
			f := c.floods[l.n]
			if !c.upAny(l.n) {
				continue
			}
			any = true
			complete := f.complete || c.lans[l.n] != nil && c.lans[l.n].us && f.rounds >= disRounds
			if !complete || len(f.asked) > 0 {
				return
			}
		}
	}
	if any {
		i.started(now, "synchronised")
	}
}

func (i *Instance) started(now time.Duration, why string) {
	i.starting = false
	i.timers.stop(&i.start)
	if !i.config.Overload {
		i.event(Event{At: now, Kind: OverloadChange, Text: "off: " + why})
	}
	i.regenerateAll(now)
}

// speak is called when a sequence number is used up, and again when all have forgotten it: until
// then we have no neighbours and no LSPs (ISO 10589 7.3.16.1).
func (i *Instance) speak(now time.Duration) {
	i.silent = !i.silent
	i.event(Event{At: now, Kind: SilentChange, Text: map[bool]string{true: "on", false: "off"}[i.silent]})
	if !i.silent {
		for _, c := range i.circuits {
			if c.link.Carrier && !c.config.Passive {
				c.begin(now)
			}
		}
		i.regenerateAll(now)
		return
	}
	i.timers.set(&i.silence, now+silentFor)
	for _, c := range i.circuits {
		c.end(now, Silent.String())
	}
	for _, l := range i.each(3) {
		for len(l.order) > 0 {
			l.forget(l.order[0])
		}
		clear(l.names)
		i.timers.stop(&l.generate)
		l.scheduleSPF(now)
	}
}

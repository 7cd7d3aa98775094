package isis

import (
	"fmt"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns what is told about what happens.

// EventKind says what an Event is about.
type EventKind uint8

const (
	AdjacencyChange EventKind = iota // From, To and Text, which says why
	GateForced                       // an adjacency is let up by max-wait alone
	DISChange                        // Node is the LAN's now; none: nobody's
	Generated                        // LSP and Sequence
	Purged                           // LSP and Sequence; Text says why
	SPFRun                           // Number is how many nodes are reached; see SPF
	RoutesChanged                    // Number is how many changed
	OverloadChange                   // Text is on or off, and why
	Alarm                            // Reason: somebody has to mend that
	SilentChange                     // Text is on or off
)

var eventNames = [...]string{"adjacency", "gate forced", "dis", "generated", "purged", "spf", "routes", "overload", "alarm", "silent"}

// String is the kind's name.
func (k EventKind) String() string { return eventNames[k] }

// Event is one thing that has happened. What a kind does not name is zero.
type Event struct {
	At       time.Duration
	Kind     EventKind
	Circuit  string
	Level    pdu.Level
	System   pdu.SystemID
	From, To State
	Node     pdu.NodeID
	LSP      pdu.LSPID
	Sequence uint32
	Number   int
	Reason   Reason
	Text     string
	SPF      SPF
}

// SPF is more of what an event of SPFRun tells.
type SPF struct {
	// Took is how long it took, if Config.Stopwatch is there.
	Took time.Duration
	// Triggers is how many events called for it, and First the LSP that was the first of them; zero:
	// an adjacency or a circuit.
	Triggers int
	First    pdu.LSPID
}

// String is the event in a line, without its time.
func (e Event) String() string {
	switch e.Kind {
	case AdjacencyChange:
		return fmt.Sprintf("%s %s: %v %v -> %v%s", e.Kind, e.place(), e.System, e.From, e.To, e.why())
	case GateForced:
		return fmt.Sprintf("%s %s: %v", e.Kind, e.place(), e.System)
	case DISChange:
		return fmt.Sprintf("%s %s: %v", e.Kind, e.place(), e.Node)
	case Generated, Purged:
		return fmt.Sprintf("%s %v %v sequence %d%s", e.Kind, e.Level, e.LSP, e.Sequence, e.why())
	case SPFRun:
		return fmt.Sprintf("%s %v: %d nodes", e.Kind, e.Level, e.Number)
	case RoutesChanged:
		return fmt.Sprintf("%s: %d changed", e.Kind, e.Number)
	case Alarm:
		return fmt.Sprintf("%s %s: %v", e.Kind, e.place(), e.Reason)
	}
	return fmt.Sprintf("%s: %s", e.Kind, e.Text)
}

func (e Event) place() string {
	if e.Level == 0 {
		return e.Circuit
	}
	return e.Circuit + " " + e.Level.String()
}

func (e Event) why() string {
	if e.Text == "" {
		return ""
	}
	return " (" + e.Text + ")"
}

// alarms keeps what goes on and on from being told each time.
type alarms [ReasonCount]struct {
	last time.Duration
	told bool
}

// alarmQuiet is how long a cause must not have occurred to be told again.
const alarmQuiet = time.Minute

// alarm tells a reason, if it is one to be told.
func (c *circuit) alarm(now time.Duration, r Reason) {
	if c.alarms.news(now, r) {
		c.i.event(Event{At: now, Kind: Alarm, Circuit: c.config.Name, Reason: r})
	}
}

// news says whether a reason is to be told.
func (a *alarms) news(now time.Duration, r Reason) bool {
	x := &a[r]
	tell := r.alarming() && (!x.told || now-x.last >= alarmQuiet)
	x.last, x.told = now, x.told || tell
	return tell
}

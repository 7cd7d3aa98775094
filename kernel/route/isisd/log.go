package isisd

import (
	"context"
	"log/slog"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis"
)

// This file owns what is remembered and told of what happens.

const (
	// adjacencyLogMax and spfLogMax are how many lines are remembered.
	adjacencyLogMax = 128
	spfLogMax       = 64
	// linesMax is how many lines the machine's log is told in linesEach; the rest is only counted.
	linesMax  = 40
	linesEach = 10 * time.Second
)

// logs are the events that lists show.
type logs struct {
	adjacency, spf []isis.Event
	since          time.Duration
	lines, missed  int
}

func remember(list []isis.Event, e isis.Event, most int) []isis.Event {
	if len(list) >= most {
		list = list[:copy(list, list[1:])]
	}
	return append(list, e)
}

// event is told what happens by the instance.
func (r *Router) event(e isis.Event) {
	level := slog.LevelInfo
	switch e.Kind {
	case isis.SPFRun:
		r.log.spf = remember(r.log.spf, e, spfLogMax)
		level = slog.LevelDebug
	case isis.AdjacencyChange, isis.DISChange:
		r.log.adjacency = remember(r.log.adjacency, e, adjacencyLogMax)
	case isis.GateForced: // a family may not work on that link
		r.log.adjacency = remember(r.log.adjacency, e, adjacencyLogMax)
		level = slog.LevelWarn
	case isis.Alarm:
		level = slog.LevelWarn
	case isis.OverloadChange, isis.SilentChange:
	default:
		level = slog.LevelDebug
	}
	r.tell(level, e)
}

// tell tells the machine's log, which whoever is on a link could fill otherwise.
func (r *Router) tell(level slog.Level, e isis.Event) {
	if level < slog.LevelInfo {
		return
	}
	if e.At-r.log.since >= linesEach {
		if r.log.missed > 0 {
			r.env.Log.Warn("isis: more has happened than is told", "events", r.log.missed)
		}
		r.log.since, r.log.lines, r.log.missed = e.At, 0, 0
	}
	if r.log.lines++; r.log.lines > linesMax {
		r.log.missed++
		return
	}
	r.env.Log.Log(context.Background(), level, "isis: "+e.String())
}

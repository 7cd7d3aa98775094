package isisd

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
	"github.com/sluice-os/sluice/nexus/view"
)

// This file owns the command show isis: which list it is, and how lists are written. Their words
// and the order of their columns are those of FRR's vtysh.

// Usage is what Show takes.
const Usage = "show isis neighbor|interface|database [detail [LSPID]]|topology|route|hostname|spf-log|adjacency-log|summary [-j]"

// ErrUsage says that the words are none of those.
var ErrUsage = errors.New("isis: want " + Usage)

// section is a part of a list: a heading, and a table or text.
type section struct {
	title string
	key   string // in JSON
	table *view.Table
	// text stands in place of the table for people.
	text func(w io.Writer) error
}

// lists are the lists by their names. They are called by the goroutine that owns the instance; what
// they return is written by another.
var lists = map[string]func(*Router, time.Duration) []section{
	"neighbor":      (*Router).showNeighbours,
	"interface":     (*Router).showInterfaces,
	"database":      (*Router).showDatabase,
	"topology":      (*Router).showTopology,
	"route":         (*Router).showRoutes,
	"hostname":      (*Router).showHostnames,
	"spf-log":       (*Router).showSPFLog,
	"adjacency-log": (*Router).showAdjacencyLog,
	"summary":       (*Router).showSummary,
}

// Show writes the list that words name. It fails with ErrUsage.
func (r *Router) Show(w io.Writer, words []string, asJSON bool) error {
	if len(words) == 0 {
		return ErrUsage
	}
	list, ok := lists[words[0]]
	switch {
	case words[0] == "database" && len(words) >= 2 && len(words) <= 3 && words[1] == "detail":
		only := strings.Join(words[2:], "")
		list = func(r *Router, now time.Duration) []section { return r.showDetail(now, only) }
	case !ok || len(words) > 1:
		return ErrUsage
	}
	var parts []section
	running := false
	err := r.do(func() {
		if running = r.instance != nil; running {
			parts = list(r, r.env.Now())
		}
	})
	switch {
	case err != nil:
		return err
	case !running && asJSON:
		_, err = fmt.Fprintln(w, "{}")
		return err
	case !running:
		return errors.New("isis: not running: router isis net NET starts it")
	case asJSON:
		return writeJSON(w, parts)
	}
	for _, p := range parts {
		if err := p.write(w); err != nil {
			return err
		}
	}
	return nil
}

func (p section) write(w io.Writer) error {
	if p.title != "" {
		if _, err := fmt.Fprintln(w, p.title); err != nil {
			return err
		}
	}
	if p.text != nil {
		return p.text(w)
	}
	p.table.WriteText(w)
	_, err := fmt.Fprintln(w)
	return err
}

// writeJSON writes an object with a member for each section.
func writeJSON(w io.Writer, parts []section) error {
	_, err := w.Write(append(appendJSON(nil, parts), '\n'))
	return err
}

func appendJSON(b []byte, parts []section) []byte {
	b = append(b, '{')
	for n, p := range parts {
		if n > 0 {
			b = append(b, ',')
		}
		b = append(view.AppendString(b, p.key), ':')
		b = p.table.AppendJSON(b)
	}
	return append(b, '}')
}

// levels are those of the instance.
func (r *Router) levels() (list []pdu.Level) {
	for _, n := range []pdu.Level{pdu.L1, pdu.L2} {
		if have := r.config.Instance.Levels; have == 0 || have.Has(n) {
			list = append(list, n)
		}
	}
	return list
}

// snpa is a card's address as FRR writes it.
func snpa(s pdu.SNPA) string {
	return fmt.Sprintf("%02x%02x.%02x%02x.%02x%02x", s[0], s[1], s[2], s[3], s[4], s[5])
}

// facts are the four of a neighbour, in JSON.
func facts(v *isis.NeighbourView) string {
	b := []byte(`{"our_ipv4":`)
	b = view.AppendString(b, v.Facts.Local[gate.V4].String())
	b = append(b, `,"our_ipv6":`...)
	b = view.AppendString(b, v.Facts.Local[gate.V6].String())
	return string(fmt.Appendf(b, `,"peer_ipv4":%v,"peer_ipv6":%v}`, v.Facts.Peer[gate.V4], v.Facts.Peer[gate.V6]))
}

// showNeighbours has FRR's columns, and says of who is held back why.
func (r *Router) showNeighbours(now time.Duration) []section {
	t := view.New("System Id", "Interface", "L#", "State", "Holdtime#", "SNPA", "Why", "System{}", "Facts{}", "Since Ns{}", "IPv4{}", "IPv6{}")
	for _, v := range r.instance.Neighbours(now) {
		name, why := v.Hostname, v.Text(now)
		if name == "" {
			name = v.System.String()
		}
		if why == v.State.String() {
			why = ""
		}
		t.Add(name, v.Circuit, uint8(v.Levels), v.State, int(v.Hold/time.Second), snpa(v.SNPA), why,
			quoted(v.System.String()), facts(&v), int64(v.Since), address(v.NextHops[gate.V4]), address(v.NextHops[gate.V6]))
	}
	return []section{{title: "Area 1:", key: "neighbors", table: t}}
}

func quoted(s string) string { return string(view.AppendString(nil, s)) }

// address is one in JSON; null for none.
func address(a interface {
	IsValid() bool
	String() string
}) string {
	if !a.IsValid() {
		return "null"
	}
	return quoted(a.String())
}

// showInterfaces has FRR's columns, and behind them what is wrong with a link.
func (r *Router) showInterfaces(time.Duration) []section {
	t := view.New("Interface", "CircId", "State", "Type", "Level", "Metric#", "Up#", "IPv4", "IPv6", "DIS", "Padding", "Drops", "Drops{}")
	t.Columns[len(t.Columns)-1].Name = "Drop Counts"
	for _, v := range r.instance.Circuits() {
		state, kind, level := "Up", "lan", v.Levels.String()
		if v.Local[gate.V4] == gate.NoCarrier {
			state = "Down"
		}
		if v.Kind == isis.P2P {
			kind = "p2p"
		}
		if v.Passive {
			kind += " passive"
		}
		dis := "-"
		if v.DIS[pdu.L1] || v.DIS[pdu.L2] {
			dis = "is DIS"
		} else if v.Kind == isis.LAN && (v.LAN[pdu.L1] != pdu.NodeID{} || v.LAN[pdu.L2] != pdu.NodeID{}) {
			dis = "is not DIS"
		}
		padding := "on"
		switch {
		case !v.Padded:
			padding = "off"
		case v.Unheard[isis.Smaller] > 0:
			padding = fmt.Sprintf("%d do not hear it: MTU", v.Unheard[isis.Smaller])
		case v.Unheard[isis.Unclear] > 0:
			padding = fmt.Sprintf("%d do not hear it: MTU?", v.Unheard[isis.Unclear])
		case v.Unheard[isis.NotMTU] > 0:
			padding = fmt.Sprintf("on, %d do not list us", v.Unheard[isis.NotMTU])
		}
		words, counts := r.drops(v)
		t.Add(v.Name, fmt.Sprintf("0x%x", v.Number+1), state, kind, level, v.Metric, max(v.Up[pdu.L1], v.Up[pdu.L2]),
			v.Local[gate.V4], v.Local[gate.V6], dis, padding, words, counts)
	}
	return []section{{title: "Area 1:", key: "interfaces", table: t}}
}

// drops are those of a circuit by reason: in words, and in JSON.
func (r *Router) drops(v isis.CircuitView) (words, counts string) {
	b := []byte("{")
	add := func(name string, n uint64) {
		if n == 0 {
			return
		}
		if len(b) > 1 {
			b = append(b, ',')
			words += " "
		}
		b = append(view.AppendString(b, name), fmt.Sprintf(":%d", n)...)
		words += fmt.Sprintf("%s=%d", name, n)
	}
	for why := isis.OK + 1; why < isis.ReasonCount; why++ {
		add(why.String(), v.Drops[why])
	}
	add("lsp_too_long", v.TooLong)
	if l := r.links[v.Name]; l != nil {
		add("queue_full", l.overflows())
	}
	if words == "" {
		words = "-"
	}
	return words, string(append(b, '}'))
}

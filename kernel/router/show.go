package router

// This file owns the lists of routes, with the words and columns of FRR's vtysh.

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/sluice-os/sluice/kernel/route/rib"
)

// header stands above a list: what the letters mean.
const header = `Codes: K - kernel route (DHCP, router advertisement), C - connected, S - static,
       I - IS-IS,
       > - selected route, * - FIB route`

// shown says which protocols are listed: the machine's own addresses are not, as in FRR.
func shown(e *rib.Entry) bool { return e.Protocol != rib.Local }

// Show writes the routes of a family as "show ip route" does, or as JSON.
func (r *Router) Show(w io.Writer, f rib.Family, asJSON bool) error {
	list := r.Routes.Routes(f)
	now := r.now()
	if asJSON {
		return r.showJSON(w, list, now)
	}
	fmt.Fprintf(w, "%s\n\n", header)
	for i := range list {
		if shown(&list[i]) {
			r.showRoute(w, &list[i], now)
		}
	}
	return nil
}

// showRoute writes one, with a line for each way.
func (r *Router) showRoute(w io.Writer, e *rib.Entry, now time.Duration) {
	selected := ' '
	if e.Selected {
		selected = '>'
	}
	lead := fmt.Sprintf("%v", e.Prefix)
	if e.Protocol != rib.Connected {
		lead += fmt.Sprintf(" [%d/%d]", e.Protocol.Distance(), e.Metric)
	}
	age := ", " + Age(now-e.Since)
	for i := range e.Ways {
		way := &e.Ways[i]
		fib := ' '
		if way.Active {
			fib = '*'
		}
		line := fmt.Sprintf("  %c %*s", fib, len(lead), "")
		if i == 0 {
			line = fmt.Sprintf("%c%c%c %s", e.Protocol.Code(), selected, fib, lead)
		}
		name := r.Name(way.Card)
		switch {
		case !way.Via.IsValid():
			line += " is directly connected, " + name
		case name == "":
			line += fmt.Sprintf(" via %v inactive", way.Via)
		case !way.Active && e.Selected:
			line += fmt.Sprintf(" via %v, %s inactive", way.Via, name)
		default:
			line += fmt.Sprintf(" via %v, %s", way.Via, name)
		}
		fmt.Fprintln(w, line+age)
	}
}

// Age is how long ago something was, as vtysh shows it: 00:01:02, 1d02h03m, 01w2d03h.
func Age(d time.Duration) string {
	s := int(max(d, 0) / time.Second)
	const minute, hour, day, week = 60, 3600, 86400, 7 * 86400
	switch {
	case s < day:
		return fmt.Sprintf("%02d:%02d:%02d", s/hour, s%hour/minute, s%minute)
	case s < week:
		return fmt.Sprintf("%dd%02dh%02dm", s/day, s%day/hour, s%hour/minute)
	}
	return fmt.Sprintf("%02dw%dd%02dh", s/week, s%week/day, s%day/hour)
}

type routeJSON struct {
	Prefix    string    `json:"prefix"`
	PrefixLen int       `json:"prefixLen"`
	Protocol  string    `json:"protocol"`
	Selected  bool      `json:"selected,omitempty"`
	Installed bool      `json:"installed,omitempty"`
	Distance  uint8     `json:"distance"`
	Metric    uint32    `json:"metric"`
	Uptime    string    `json:"uptime"`
	Nexthops  []hopJSON `json:"nexthops"`
}

type hopJSON struct {
	FIB               bool   `json:"fib,omitempty"`
	IP                string `json:"ip,omitempty"`
	AFI               string `json:"afi,omitempty"`
	DirectlyConnected bool   `json:"directlyConnected,omitempty"`
	InterfaceName     string `json:"interfaceName,omitempty"`
	Active            bool   `json:"active,omitempty"`
}

// showJSON writes an object with a member for each prefix, of which each is the list of its routes.
func (r *Router) showJSON(w io.Writer, list []rib.Entry, now time.Duration) error {
	out := map[string][]routeJSON{}
	for i := range list {
		e := &list[i]
		if !shown(e) {
			continue
		}
		one := routeJSON{
			Prefix: e.Prefix.String(), PrefixLen: e.Prefix.Bits(), Protocol: e.Protocol.String(), Selected: e.Selected,
			Installed: e.Selected, Distance: e.Protocol.Distance(), Metric: e.Metric, Uptime: Age(now - e.Since),
		}
		for _, way := range e.Ways {
			h := hopJSON{FIB: way.Active, InterfaceName: r.Name(way.Card), Active: way.Active, DirectlyConnected: !way.Via.IsValid()}
			if way.Via.IsValid() {
				if h.IP, h.AFI = way.Via.String(), "ipv6"; way.Via.Is4() {
					h.AFI = "ipv4"
				}
			}
			one.Nexthops = append(one.Nexthops, h)
		}
		out[one.Prefix] = append(out[one.Prefix], one)
	}
	b, err := json.Marshal(out)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}

package isisd

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
	"github.com/sluice-os/sluice/nexus/view"
)

// This file owns the list of the database, line for line as FRR's vtysh has it, so that the two can
// be laid side by side.

const databaseHead = "LSP ID                  PduLen  SeqNumber   Chksum  Holdtime  ATT/P/OL"

func (r *Router) showDatabase(now time.Duration) []section { return r.databaseOf(now, false, "") }

func (r *Router) showDetail(now time.Duration, only string) []section {
	return r.databaseOf(now, true, only)
}

func (r *Router) databaseOf(now time.Duration, detail bool, only string) (parts []section) {
	for _, n := range r.levels() {
		all := r.instance.Database(now, n)
		list := all[:0:0]
		for _, v := range all {
			if only == "" || lspName(&v) == only || v.ID.String() == only {
				list = append(list, v)
			}
		}
		t := view.New("LSP ID", "Own{}", "PduLen#", "SeqNumber#", "Chksum#", "Holdtime#", "Att#", "P#", "OL#", "ID{}", "Says{}")
		for _, v := range list {
			f := v.Flags
			says := "null"
			if detail {
				says = sayings(&v)
			}
			t.Add(lspName(&v), v.Own, v.Length, v.Sequence, v.Checksum, int(v.Lifetime/time.Second),
				bit(f&pdu.FlagAttached != 0), 0, bit(f&pdu.FlagOverload != 0), quoted(v.ID.String()), says)
		}
		parts = append(parts, section{
			title: fmt.Sprintf("IS-IS Level-%d link-state database:", n), key: fmt.Sprintf("level_%d", n), table: t,
			text: func(w io.Writer) error { return writeDatabase(w, list, detail) },
		})
	}
	return parts
}

func bit(on bool) int {
	if on {
		return 1
	}
	return 0
}

// lspName is an LSP's ID with the router's name in place of its system ID.
func lspName(v *isis.LSPView) string {
	n := v.ID.Node()
	return fmt.Sprintf("%s.%02x-%02x", v.Node, n.Pseudonode(), v.ID.Fragment())
}

func writeDatabase(w io.Writer, list []isis.LSPView, detail bool) error {
	var b strings.Builder
	b.WriteString(databaseHead + "\n")
	for i := range list {
		v := &list[i]
		mark, hold := ' ', fmt.Sprintf("%6d", v.Lifetime/time.Second)
		if v.Own {
			mark = '*'
		}
		if v.Lifetime <= 0 {
			hold = fmt.Sprintf("%6s", "(0)")
		}
		fmt.Fprintf(&b, "%-20s %c  %5d   0x%08x  0x%04x  %s    %d/0/%d\n", lspName(v), mark, v.Length, v.Sequence, v.Checksum, hold,
			bit(v.Flags&pdu.FlagAttached != 0), bit(v.Flags&pdu.FlagOverload != 0))
		if detail {
			for _, line := range says(v) {
				b.WriteString("  " + line + "\n")
			}
			b.WriteString("\n")
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
		b.Reset()
	}
	_, err := fmt.Fprintf(w, "%s    %d LSPs\n\n", b.String(), len(list))
	return err
}

// sayings are the lines of an LSP as a list in JSON.
func sayings(v *isis.LSPView) string {
	b := []byte("[")
	for n, line := range says(v) {
		if n > 0 {
			b = append(b, ',')
		}
		b = view.AppendString(b, line)
	}
	return string(append(b, ']'))
}

// says is what an LSP says, a line for each thing, in FRR's words.
func says(v *isis.LSPView) (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if len(v.NLPIDs) > 0 {
		var names []string
		for _, n := range v.NLPIDs {
			names = append(names, protocolName(n))
		}
		add("Protocols Supported: %s", strings.Join(names, ", "))
	}
	for _, a := range v.Areas {
		add("Area Address: %v", a)
	}
	for _, m := range v.Topologies {
		flags := ""
		if m.Overload {
			flags += " Overload"
		}
		if m.Attached {
			flags += " Attached"
		}
		add("MT Router Info: %s%s", topologyName(m.ID), flags)
	}
	if v.Hostname != "" {
		add("Hostname: %s", v.Hostname)
	}
	if v.Router4.IsValid() {
		add("TE Router ID: %v", v.Router4)
	}
	if v.Router6.IsValid() {
		add("IPv6 TE Router ID: %v", v.Router6)
	}
	if c := v.Capability; c != nil {
		add("Router Capability: %v , D:%d, S:%d", netip.AddrFrom4(c.Router), bit(c.Down), bit(c.Flood))
	}
	for _, n := range v.Neighbours {
		if n.MT == pdu.MT0 {
			add("Extended Reachability: %v (Metric: %d)", n.Node, n.Metric)
		} else {
			add("MT Reachability: %v (Metric: %d) %s", n.Node, n.Metric, topologyName(n.MT))
		}
	}
	for _, a := range v.IPv4 {
		add("IPv4 Interface Address: %v", a)
	}
	for _, a := range v.IPv6 {
		add("IPv6 Interface Address: %v", a)
	}
	for _, p := range v.Prefixes {
		name, mt := "Extended IP Reachability", ""
		if p.Prefix.Addr().Is6() {
			name = "IPv6 Reachability"
		}
		if p.MT != pdu.MT0 {
			name, mt = "MT "+strings.Replace(name, "Extended IP", "IPv4", 1), " "+topologyName(p.MT)
		}
		down := ""
		if p.Down {
			down = " Down"
		}
		if p.External {
			down += " External"
		}
		add("%s: %v (Metric: %d)%s%s", name, p.Prefix, p.Metric, down, mt)
	}
	return lines
}

func protocolName(n byte) string {
	switch n {
	case pdu.NLPIDv4:
		return "IPv4"
	case pdu.NLPIDv6:
		return "IPv6"
	}
	return fmt.Sprintf("0x%02x", n)
}

func topologyName(id uint16) string {
	switch id {
	case pdu.MT0:
		return "ipv4-unicast"
	case pdu.MTIPv6:
		return "ipv6-unicast"
	}
	return fmt.Sprintf("topology-%d", id)
}

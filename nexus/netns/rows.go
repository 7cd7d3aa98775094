package netns

import (
	"cmp"
	"fmt"
	"net/netip"
	"sort"
	"time"
)

// This file owns the table as people read it.

// Row is one reservation.
type Row struct {
	Owner  Owner
	Kind   Kind
	Proto  uint8
	Local  netip.AddrPort
	Dual   bool // Local is of both families
	Reuse  bool
	Remote netip.AddrPort // zero: none
	// Lingers is how long a released one is still there, 0 for one that is held.
	Lingers time.Duration
}

// String is the row as one line without its end.
func (r Row) String() string {
	proto, local, remote := "tcp", r.Local.String(), "*"
	if r.Proto == UDP {
		proto = "udp"
	}
	if r.Dual {
		local = fmt.Sprintf("*:%d", r.Local.Port())
	}
	if r.Remote.IsValid() {
		remote = r.Remote.String()
	}
	line := fmt.Sprintf("%s %-9s %s %s owner %d", proto, r.Kind, local, remote, r.Owner)
	if r.Reuse {
		line += " reuse"
	}
	if r.Lingers > 0 {
		line += " lingers " + r.Lingers.String()
	}
	return line
}

// Rows returns the whole table, sorted by protocol, local port, local address,
// remote address and owner.
func (s *Space) Rows(now time.Duration) []Row {
	s.mu.Lock()
	s.expire(now)
	rows := make([]Row, 0, s.count)
	for _, h := range s.owners {
		rows = h.rows(rows, now)
	}
	s.mu.Unlock()
	order(rows)
	return rows
}

func (h *holdings) rows(rows []Row, now time.Duration) []Row {
	for e := range h.entries {
		r := Row{Owner: e.owner, Kind: e.kind, Proto: e.proto, Local: netip.AddrPortFrom(e.local.addr, e.port),
			Dual: e.local.dual, Reuse: e.reuse, Remote: e.remote}
		if e.state == lingering {
			r.Lingers = e.until - now
		}
		rows = append(rows, r)
	}
	return rows
}

// order sorts rows. They are read by people: slices.SortFunc would be faster, and take
// 16 KiB of the kernel.
func order(rows []Row) {
	sort.Slice(rows, func(i, j int) bool { return compareRows(rows[i], rows[j]) < 0 })
}

func compareRows(a, b Row) int {
	return cmp.Or(
		cmp.Compare(a.Proto, b.Proto),
		cmp.Compare(a.Local.Port(), b.Local.Port()),
		a.Local.Addr().Compare(b.Local.Addr()),
		a.Remote.Compare(b.Remote),
		cmp.Compare(a.Owner, b.Owner),
		cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.Lingers, b.Lingers),
		cmp.Compare(number(a.Dual), number(b.Dual)),
		cmp.Compare(number(a.Reuse), number(b.Reuse)),
	)
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

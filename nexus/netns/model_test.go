package netns

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// This file owns the naive model: a slice of reservations, and the rules of one
// pair of them written out. Local addresses are a list of all that are covered.

const modelMax, modelPerOwner = 40, 14

var (
	machine = []string{"192.0.2.1", "192.0.2.2", "2001:db8::1"}
	peers   = []string{"198.51.100.1:1", "198.51.100.1:2", "[2001:db8::9]:1", "[2001:db8::9]:2"}
)

type modelRow struct {
	Request
	covers []string
	until  time.Duration // 0: held
	handle Reservation
}

type model struct{ rows []*modelRow }

// covered lists the addresses of the machine that r covers. An address that the
// machine has not is "other4" or "other6".
func covered(r Request) []string {
	a := r.Local.Addr()
	four, six := []string{"192.0.2.1", "192.0.2.2", "other4"}, []string{"2001:db8::1", "other6"}
	switch {
	case !a.IsValid() || a == netip.IPv6Unspecified() && r.Dual:
		return append(four, six...)
	case a == netip.IPv4Unspecified():
		return four
	case a == netip.IPv6Unspecified():
		return six
	}
	return []string{a.String()}
}

func (m *model) expire(now time.Duration) {
	m.rows = slices.DeleteFunc(m.rows, func(r *modelRow) bool { return r.until != 0 && r.until <= now })
}

func share(a, b *modelRow) bool {
	return slices.ContainsFunc(a.covers, func(x string) bool { return slices.Contains(b.covers, x) })
}

func (r *modelRow) hasPeer() bool { return r.Remote.IsValid() }

// judge says why n may not be added.
func (m *model) judge(n *modelRow) error {
	var near []*modelRow
	beneath := false
	for _, old := range m.rows {
		if old.Proto != n.Proto || old.Local.Port() != n.Local.Port() || !share(old, n) {
			continue
		}
		near = append(near, old)
		if n.hasPeer() && old.hasPeer() && old.Remote == n.Remote {
			if old.Owner == n.Owner && old.until == 0 {
				return ErrExists
			}
			return ErrInUse
		}
		if old.Owner == n.Owner && old.Kind == Listener && n.Kind == Connected && old.until == 0 {
			beneath = true
			if old.Reuse {
				n.Reuse = true
			}
		}
	}
	for _, old := range near {
		mine := old.Owner == n.Owner
		ok := false
		switch {
		case old.Owner == HostOwner && n.Owner == HostOwner:
			ok = true
		case old.until != 0:
			ok = n.hasPeer() || n.Reuse
		case !mine:
		case n.hasPeer() && old.hasPeer():
			ok = beneath
		case n.hasPeer():
			ok = old.Kind == Listener
		case old.hasPeer():
			ok = old.Reuse && n.Reuse
		default:
			ok = n.Proto == UDP && n.Kind == Listener && old.Kind == Listener && old.Reuse && n.Reuse && !slices.Equal(old.covers, n.covers)
		}
		if !ok {
			return ErrInUse
		}
	}
	return nil
}

// reserve is what Reserve should do; port is what it picked.
func (m *model) reserve(r Request, picked uint16) error {
	n := &modelRow{Request: r, covers: covered(r)}
	var mine, oldest, anyones *modelRow
	count := 0
	for _, old := range m.rows {
		if old.until != 0 && (anyones == nil || old.until < anyones.until) {
			anyones = old
		}
		if old.Owner != r.Owner {
			continue
		}
		mine = old
		count++
		if old.until != 0 && (oldest == nil || old.until < oldest.until) {
			oldest = old
		}
	}
	full := error(nil)
	if mine != nil && count >= modelPerOwner {
		full = ErrOwnerLimit
	} else if len(m.rows) >= modelMax {
		full = ErrTableFull
		if oldest == nil {
			oldest = anyones
		}
	}
	if full != nil && oldest == nil {
		return full
	}
	if r.Local.Port() == 0 {
		if picked < EphemeralFirst || picked > EphemeralLast {
			return fmt.Errorf("picked %d", picked)
		}
		n.Local = netip.AddrPortFrom(r.Local.Addr(), picked)
		for _, old := range m.rows {
			if old.Proto == n.Proto && old.Local.Port() == picked && share(old, n) {
				return fmt.Errorf("picked %d, which is taken", picked)
			}
		}
	} else if err := m.judge(n); err != nil {
		return err
	}
	if full != nil {
		m.rows = slices.DeleteFunc(m.rows, func(x *modelRow) bool { return x == oldest })
	}
	m.rows = append(m.rows, n)
	return nil
}

func (m *model) connect(row *modelRow, from netip.Addr, remote netip.AddrPort) error {
	switch {
	case row.hasPeer():
		return ErrConnected
	case row.Proto == TCP && row.Kind == Listener:
		return ErrInvalid
	case from.Is4() != remote.Addr().Is4() || !slices.Contains(row.covers, from.String()):
		return ErrInvalid
	}
	for _, old := range m.rows {
		if old.Proto == row.Proto && old.Remote == remote && old.Local == netip.AddrPortFrom(from, row.Local.Port()) {
			if old.Owner == row.Owner && old.until == 0 {
				return ErrExists
			}
			return ErrInUse
		}
	}
	row.Local, row.Remote = netip.AddrPortFrom(from, row.Local.Port()), remote
	row.covers = []string{from.String()}
	if row.Kind != Host {
		row.Kind = Connected
	}
	return nil
}

// check compares the whole table.
func (m *model) check(t *testing.T, step int, s *Space, now time.Duration) {
	t.Helper()
	var want []Row
	for _, r := range m.rows {
		w := Row{Owner: r.Owner, Kind: r.Kind, Proto: r.Proto, Local: r.Local, Reuse: r.Reuse, Remote: r.Remote}
		if !w.Local.Addr().IsValid() {
			w.Local = netip.AddrPortFrom(netip.IPv6Unspecified(), w.Local.Port())
		}
		w.Dual = len(r.covers) == 5
		if r.until != 0 {
			w.Lingers = r.until - now
		}
		want = append(want, w)
	}
	slices.SortFunc(want, compareRows)
	got := s.Rows(now)
	if !slices.Equal(got, want) {
		t.Fatalf("step %d:\n got %v\nwant %v", step, got, want)
	}
	// The indexes agree with the table.
	flows, used, ephemeral := 0, 0, 0
	ports := map[Port]bool{}
	for _, r := range got {
		if r.Remote.IsValid() {
			flows++
		}
		ports[Port{r.Proto, r.Local.Port()}] = true
	}
	for p := range ports {
		if s.used.has(index(p.Proto), p.Number) {
			used++
		}
		if IsEphemeral(p.Number) {
			ephemeral++
		}
	}
	if len(s.tuples) != flows || used != len(ports) || len(s.buckets[0])+len(s.buckets[1]) != used ||
		s.ephemeral[0]+s.ephemeral[1] != ephemeral || s.count != len(got) {
		t.Fatalf("step %d: the indexes differ from the table", step)
	}
}

func randomRequest(r *rand.Rand) Request {
	q := Request{Owner: Owner(r.IntN(4)), Kind: Kind(2 + r.IntN(3)), Proto: TCP, Reuse: r.IntN(2) == 0}
	if r.IntN(2) == 0 {
		q.Proto = UDP
	}
	port := []uint16{80, 81, 40000, 0}[r.IntN(4)]
	if q.Owner == HostOwner {
		q.Kind = Host
	}
	if q.Kind == Connected || q.Kind == Host && r.IntN(2) == 0 {
		q.Remote = netip.MustParseAddrPort(peers[r.IntN(len(peers))])
		addr := machine[r.IntN(2)]
		if q.Remote.Addr().Is6() {
			addr = machine[2]
		}
		q.Local = netip.AddrPortFrom(netip.MustParseAddr(addr), port)
		return q
	}
	var addr netip.Addr
	switch n := r.IntN(7); n {
	case 0, 1, 2:
		addr = netip.MustParseAddr(machine[n])
	case 3:
		addr = netip.IPv4Unspecified()
	case 4:
		addr = netip.IPv6Unspecified()
	case 5:
		addr, q.Dual = netip.IPv6Unspecified(), true
	}
	q.Local = netip.AddrPortFrom(addr, port)
	return q
}

// TestModel does 100 000 random things to a Space and to the model.
func TestModel(t *testing.T) {
	steps := 100_000
	if testing.Short() {
		steps = 10_000
	}
	r := rand.New(rand.NewPCG(1, 2))
	s := New(Config{Max: modelMax, MaxPerOwner: modelPerOwner, Random: func() uint32 { return r.Uint32() % 8 }})
	m := &model{}
	now := time.Duration(0)
	seen := map[error]int{}
	for step := range steps {
		if r.IntN(4) == 0 {
			now += time.Duration(r.IntN(5))
		}
		m.expire(now)
		s.Rows(now) // expires too
		var got, want error
		if op := r.IntN(100); op < 50 || len(m.rows) == 0 {
			q := randomRequest(r)
			var h Reservation
			h, got = s.Reserve(now, q)
			want = m.reserve(q, h.Port())
			if want == nil {
				m.rows[len(m.rows)-1].handle = h
			}
		} else {
			i := r.IntN(len(m.rows))
			row := m.rows[i]
			switch {
			case op < 80:
				// Distinct ends, so that "ends first" is one.
				linger := time.Duration(r.IntN(3)) * time.Duration(5+r.IntN(50))
				for linger > 0 && slices.ContainsFunc(m.rows, func(x *modelRow) bool { return x.until == now+linger }) {
					linger++
				}
				row.handle.Release(now, linger)
				if row.until == 0 && linger == 0 {
					m.rows = slices.Delete(m.rows, i, i+1)
				} else if row.until == 0 {
					row.until = now + linger
				}
			case op < 88:
				got = row.handle.Listen(now)
				switch {
				case row.until != 0:
					want = ErrReleased
				case row.Proto == TCP && (row.Kind == Bound || row.Kind == Listener):
					row.Kind = Listener
				default:
					want = ErrInvalid
				}
			case op < 99:
				from := netip.MustParseAddr(machine[r.IntN(3)])
				remote := netip.MustParseAddrPort(peers[r.IntN(4)])
				got = row.handle.Connect(now, from, remote)
				want = ErrReleased
				if row.until == 0 {
					want = m.connect(row, from, remote)
				}
			default:
				s.ReleaseOwner(row.Owner)
				m.rows = slices.DeleteFunc(m.rows, func(x *modelRow) bool { return x.Owner == row.Owner })
			}
		}
		if got != want {
			t.Fatalf("step %d: got %v, want %v", step, got, want)
		}
		seen[got]++
		m.check(t, step, s, now)
	}
	for _, err := range []error{nil, ErrInUse, ErrExists, ErrOwnerLimit, ErrTableFull, ErrReleased, ErrConnected, ErrInvalid} {
		if seen[err] < 3 {
			t.Errorf("%v was seen %d times", err, seen[err])
		}
	}
}

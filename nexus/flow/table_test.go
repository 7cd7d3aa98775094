package flow

import (
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/packet"
)

// key makes one of two endpoints; an empty remote is none.
func key(proto uint8, local, remote string) packet.Key {
	l := netip.MustParseAddrPort(local)
	k := packet.Key{Local: packet.Bytes(l.Addr()), LocalPort: l.Port(), Version: 6, Proto: proto}
	if l.Addr().Is4() {
		k.Version = 4
	}
	if remote != "" {
		r := netip.MustParseAddrPort(remote)
		k.Remote, k.RemotePort = packet.Bytes(r.Addr()), r.Port()
	}
	return k
}

func table(t testing.TB, c Config) *Table {
	t.Helper()
	tab, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func add(t testing.TB, tab *Table, s Spec) *Flow {
	t.Helper()
	f, err := tab.Add(0, s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestLookupOrder (flowlookup): the most specific flow has the packet, for each set of flows.
func TestLookupOrder(t *testing.T) {
	k := key(packet.UDP, "192.0.2.1:53", "198.51.100.7:4000")
	for set := range 1 << Protocol {
		tab := table(t, Config{Seed: 1})
		want := maskCount
		for m := Protocol; m > 0; {
			m--
			if set&(1<<m) != 0 {
				kind := Bound
				if m == Tuple5 {
					kind = Connected
				}
				add(t, tab, Spec{Kind: kind, Key: k, Mask: m})
				want = m
			}
		}
		f := tab.Lookup(&k)
		if want == maskCount && f != nil || want != maskCount && (f == nil || f.Mask != want) {
			t.Errorf("set %05b: %v, want mask %v", set, f, want)
		}
	}
}

func TestLookupParts(t *testing.T) {
	base := key(packet.UDP, "192.0.2.1:53", "198.51.100.7:4000")
	v6 := key(packet.UDP, "[2001:db8::1]:53", "[2001:db8::2]:4000")
	change := map[string]packet.Key{
		"same":           base,
		"remote address": key(packet.UDP, "192.0.2.1:53", "198.51.100.8:4000"),
		"remote port":    key(packet.UDP, "192.0.2.1:53", "198.51.100.7:4001"),
		"local address":  key(packet.UDP, "192.0.2.2:53", "198.51.100.7:4000"),
		"version":        v6,
		"local port":     key(packet.UDP, "192.0.2.1:54", "198.51.100.7:4000"),
		"protocol":       key(packet.TCP, "192.0.2.1:53", "198.51.100.7:4000"),
	}
	found := [maskCount][]string{
		Tuple5:        {"same"},
		Tuple4:        {"same", "remote address"},
		Tuple3:        {"same", "remote address", "remote port"},
		Tuple2Version: {"same", "remote address", "remote port", "local address"},
		Tuple2:        {"same", "remote address", "remote port", "local address", "version"},
	}
	for m := range Protocol {
		tab := table(t, Config{})
		kind := Bound
		if m == Tuple5 {
			kind = Connected
		}
		add(t, tab, Spec{Kind: kind, Key: base, Mask: m})
		for name, k := range change {
			if got, want := tab.Lookup(&k) != nil, slices.Contains(found[m], name); got != want {
				t.Errorf("%v with another %s: found is %v", m, name, got)
			}
		}
	}
}

// TestLookupProtocol: all of a protocol without ports is one flow's, of both versions, and
// no other protocol is.
func TestLookupProtocol(t *testing.T) {
	tab := table(t, Config{})
	f := add(t, tab, Spec{Key: packet.Key{Proto: 89}, Mask: Protocol, Owner: 1, Port: 2})
	for _, tt := range []struct {
		name string
		key  packet.Key
		want *Flow
	}{
		{"IPv4", key(89, "192.0.2.1:0", "198.51.100.7:0"), f},
		{"IPv6", key(89, "[2001:db8::1]:0", "[2001:db8::2]:0"), f},
		{"another", key(90, "192.0.2.1:0", "198.51.100.7:0"), nil},
		{"UDP", key(packet.UDP, "192.0.2.1:0", "198.51.100.7:0"), nil},
	} {
		if got := tab.Lookup(&tt.key); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	in := packet.Info{Version: 4, Proto: 89, Length: 100, HeaderLen: 20}
	if v := tab.Receive(1, tab.Incoming(&in), &in); v.Flow != f || !v.Goes() {
		t.Errorf("received: %+v", v)
	}
	for c, goes := range map[Claim]bool{{Port: 2}: true, {Port: 2, Flow: f.ID, Generation: f.Generation}: true, {Port: 3}: false, {Port: 2, Flow: f.ID + 1}: false} {
		if v := tab.Transmit(1, tab.Outgoing(&in), c, &in); v.Goes() != goes {
			t.Errorf("%+v: %+v", c, v)
		}
	}
}

func TestAddErrors(t *testing.T) {
	good := Spec{Kind: Connected, Key: key(packet.TCP, "192.0.2.1:1000", "198.51.100.7:80"), Owner: 1, Port: 2}
	bound := Spec{Kind: Bound, Key: key(packet.UDP, "192.0.2.1:53", ""), Mask: Tuple3}
	edit := func(s Spec, do func(*Spec)) Spec { do(&s); return s }
	for name, s := range map[string]Spec{
		"half-open":           edit(good, func(s *Spec) { s.Kind = HalfOpen }),
		"kind":                edit(good, func(s *Spec) { s.Kind = 9 }),
		"mask":                edit(good, func(s *Spec) { s.Mask = 9 }),
		"connected 3-tuple":   edit(good, func(s *Spec) { s.Mask = Tuple3 }),
		"listener 5-tuple":    edit(good, func(s *Spec) { s.Kind = Listener }),
		"bound 5-tuple":       edit(bound, func(s *Spec) { s.Mask = Tuple5 }),
		"UDP listener":        edit(bound, func(s *Spec) { s.Kind = Listener }),
		"no local port":       edit(bound, func(s *Spec) { s.Key.LocalPort = 0 }),
		"no remote port":      edit(good, func(s *Spec) { s.Key.RemotePort = 0 }),
		"version":             edit(good, func(s *Spec) { s.Key.Version = 5 }),
		"version 0":           edit(bound, func(s *Spec) { s.Key.Version = 0 }),
		"IPv4 local":          edit(good, func(s *Spec) { s.Key.Local = [16]byte{1} }),
		"IPv4 without remote": edit(good, func(s *Spec) { s.Key.Remote = [16]byte{} }),
		"all of UDP":          edit(bound, func(s *Spec) { s.Mask = Protocol }),
		"all of an ICMP":      {Kind: Bound, Key: packet.Key{Proto: packet.ICMPv6}, Mask: Protocol},
		"peer, whole":         {Kind: Connected, Key: packet.Key{Proto: 89}, Mask: Protocol},
	} {
		if _, err := table(t, Config{}).Add(0, s); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	tab := table(t, Config{})
	f := add(t, tab, good)
	if f.ID == 0 || f.Generation == 0 || tab.ByID(f.ID) != f || f.Owner != 1 || f.Port != 2 {
		t.Errorf("%+v", f.View())
	}
	if _, err := tab.Add(0, good); !errors.Is(err, ErrExists) {
		t.Errorf("twice: %v", err)
	}
	for _, c := range []Config{{Max: -1}, {PerOwner: -1}, {PerListener: -1}, {HalfOpen: -1}, {Linger: 1}, {Linger: time.Hour}, {Max: 1 << 21}} {
		if _, err := New(c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestOwnerLimit is mf1xall: flow 513 of one owner does not fit, that of another does.
func TestOwnerLimit(t *testing.T) {
	tab := table(t, Config{Max: 600})
	s := Spec{Kind: Bound, Key: key(packet.UDP, "192.0.2.1:1", ""), Mask: Tuple3, Owner: 1}
	var last *Flow
	for i := range 512 {
		s.Key.LocalPort = uint16(i + 1)
		last = add(t, tab, s)
	}
	s.Key.LocalPort = 513
	if _, err := tab.Add(0, s); !errors.Is(err, ErrOwnerLimit) {
		t.Errorf("flow 513: %v", err)
	}
	// One that was closed makes room for the same again at once, for others after Reap.
	if err := tab.Close(0, last, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := tab.Add(0, s); !errors.Is(err, ErrOwnerLimit) {
		t.Errorf("before Reap: %v", err)
	}
	s.Key.LocalPort = 512
	if last = add(t, tab, s); tab.OwnerLen(1) != 512 {
		t.Errorf("%d", tab.OwnerLen(1))
	}
	if ended := tab.Reap(0); len(ended) != 1 || ended[0].Why != Replaced {
		t.Errorf("%v", ended)
	}
	s.Owner = 2
	for i := range 88 {
		s.Key.LocalPort = uint16(i + 1000)
		add(t, tab, s)
	}
	s.Key.LocalPort = 2000
	if _, err := tab.Add(0, s); !errors.Is(err, ErrTableFull) {
		t.Errorf("flow 601: %v", err)
	}
	if tab.Close(0, last, 0) != nil || !errors.Is(tab.Close(0, last, 0), ErrGone) {
		t.Error("closed twice")
	}
	tab.Reap(0)
	add(t, tab, s)
	if tab.Len() != 600 || tab.OwnerLen(1) != 511 {
		t.Errorf("%d flows, %d of 1", tab.Len(), tab.OwnerLen(1))
	}
}

// TestNumbers: a number is not given again while its flow lives, and then with
// another generation.
func TestNumbers(t *testing.T) {
	tab := table(t, Config{})
	s := Spec{Kind: Bound, Key: key(packet.UDP, "192.0.2.1:1", ""), Mask: Tuple3}
	first := add(t, tab, s)
	tab.lastID, tab.lastGen = ^uint32(0)-1, ^uint32(0)
	ids := []uint32{^uint32(0), 2, 3}
	for i, want := range ids {
		s.Key.LocalPort = uint16(i + 2)
		if f := add(t, tab, s); f.ID != want || f.Generation == 0 {
			t.Errorf("number %d generation %d, want %d", f.ID, f.Generation, want)
		}
	}
	tab.Close(0, first, 0)
	tab.Reap(0)
	tab.lastID = 0
	s.Key.LocalPort = 9
	if f := add(t, tab, s); f.ID != 1 || f.Generation == first.Generation {
		t.Errorf("number %d generation %d again", f.ID, f.Generation)
	}
	if list := tab.All(); len(list) != 4 || !slices.IsSortedFunc(list, func(a, b *Flow) int { return int(int64(a.ID) - int64(b.ID)) }) {
		t.Errorf("list of %d", len(list))
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	tab := table(t, Config{})
	k := key(packet.UDP, "192.0.2.1:53", "198.51.100.7:4000")
	add(t, tab, Spec{Kind: Bound, Key: k, Mask: Tuple2})
	add(t, tab, Spec{Kind: Connected, Key: key(packet.TCP, "192.0.2.1:53", "198.51.100.7:4000")})
	in := packet.Info{Src: k.Remote, Dst: k.Local, SrcPort: 4000, DstPort: 53, Version: 4, Proto: packet.UDP, Length: 100}
	out := packet.Info{Src: k.Local, Dst: k.Remote, SrcPort: 53, DstPort: 4000, Version: 4, Proto: packet.UDP, Length: 100}
	tcp := in
	tcp.Proto, tcp.Flags = packet.TCP, packet.ACK
	if n := testing.AllocsPerRun(100, func() {
		if tab.Lookup(&k) == nil || !tab.Receive(1, tab.Incoming(&in), &in).Goes() || !tab.Transmit(1, tab.Outgoing(&out), Claim{}, &out).Goes() || !tab.Receive(1, tab.Incoming(&tcp), &tcp).Goes() {
			t.Fatal("not found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzTable compares the table with a map that is searched naively.
func FuzzTable(f *testing.F) {
	seed := make([]byte, 200)
	for i := range seed {
		seed[i] = byte(rand.New(rand.NewPCG(uint64(i), 3)).Uint32())
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, script []byte) {
		tab := table(t, Config{Max: 12, PerOwner: 5})
		type named struct {
			mask Mask
			key  packet.Key
		}
		model := map[named]*Flow{}
		for ; len(script) >= 4; script = script[4:] {
			s := script[:4]
			k := packet.Key{Version: 4, Proto: packet.UDP, LocalPort: 1 + uint16(s[1]&1), RemotePort: 1 + uint16(s[1]>>1&1)}
			k.Local = [16]byte{10: 0xff, 11: 0xff, 15: s[1] >> 2 & 1}
			k.Remote = [16]byte{10: 0xff, 11: 0xff, 15: s[1] >> 3 & 1}
			if s[1]&16 != 0 {
				k.Version = 6
			}
			m := Mask(s[2]) % maskCount
			if m == Protocol {
				k = packet.Key{Version: k.Version, Proto: 89 + s[1]&1, Remote: k.Remote}
			}
			kind := Bound
			if m == Tuple5 {
				kind = Connected
			}
			owner := uint64(s[3] % 4)
			name := named{m, m.apply(k)}
			switch s[0] % 4 {
			case 0, 1:
				mine := 0
				for _, f := range model {
					if f.Owner == owner {
						mine++
					}
				}
				var want error
				switch {
				case model[name] != nil:
					want = ErrExists
				case mine >= 5:
					want = ErrOwnerLimit
				case len(model) >= 12:
					want = ErrTableFull
				}
				got, err := tab.Add(0, Spec{Kind: kind, Key: k, Mask: m, Owner: owner})
				if !errors.Is(err, want) || (err == nil) != (want == nil) {
					t.Fatalf("add: %v, want %v", err, want)
				}
				if err == nil {
					model[name] = got
				}
			case 2:
				if f := model[name]; f != nil {
					if err := tab.Close(0, f, 0); err != nil {
						t.Fatal(err)
					}
					if e := tab.Reap(0); len(e) != 1 || e[0].Flow != f || e[0].Why != ByOwner || e[0].Send {
						t.Fatalf("%+v", e)
					}
					delete(model, name)
				}
			case 3:
				n := tab.OwnerGone(owner)
				if len(tab.Reap(0)) != n {
					t.Fatal("not all are reported")
				}
				maps.DeleteFunc(model, func(_ named, f *Flow) bool {
					if f.Owner == owner {
						n--
					}
					return f.Owner == owner
				})
				if n != 0 {
					t.Fatalf("%d too many", n)
				}
			}
			var want *Flow
			for m := maskCount; m > 0; {
				m--
				if f := model[named{m, m.apply(k)}]; f != nil {
					want = f
				}
			}
			if got := tab.Lookup(&k); got != want {
				t.Fatalf("lookup %+v: %v, want %v", k, got, want)
			}
			if tab.Len() != len(model) || len(tab.All()) != len(model) {
				t.Fatalf("%d flows, want %d", tab.Len(), len(model))
			}
		}
	})
}

// TestReadersAndWriters: what is always there is always found while others come and go.
func TestReadersAndWriters(t *testing.T) {
	tab := table(t, Config{Max: 64, PerOwner: 64})
	stay := key(packet.UDP, "192.0.2.1:53", "198.51.100.7:4000")
	f := add(t, tab, Spec{Kind: Bound, Key: stay, Mask: Tuple3})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			in := packet.Info{Src: stay.Remote, Dst: stay.Local, SrcPort: 4000, DstPort: 53, Version: 4, Proto: packet.UDP, Length: 1}
			syn := in
			syn.Proto, syn.Flags, syn.DstPort = packet.TCP, packet.SYN, 80
			for n := uint32(0); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if tab.Lookup(&stay) != f || tab.Receive(1, tab.Incoming(&in), &in).Flow != f {
					t.Error("not found")
					return
				}
				binary.BigEndian.PutUint32(syn.Src[12:], n%100)
				tab.Receive(1, tab.Incoming(&syn), &syn)
			}
		})
	}
	l := Spec{Kind: Listener, Key: key(packet.TCP, "0.0.0.0:80", ""), Mask: Tuple2Version}
	for i := range 2000 {
		listener, err := tab.Add(0, l)
		g := add(t, tab, Spec{Kind: Bound, Key: key(packet.UDP, "192.0.2.1:54", ""), Mask: Tuple3})
		if err == nil {
			tab.Close(0, listener, 0)
		}
		tab.Close(0, g, 0)
		for _, f := range tab.All() {
			f.View()
		}
		tab.Reap(time.Duration(i) * time.Second)
	}
	close(stop)
	wg.Wait()
	tab.Reap(time.Hour)
	if n := tab.Len(); n != 1 {
		t.Errorf("%d flows left", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	tab := table(b, Config{PerOwner: 1 << 20, Seed: 7})
	k := key(packet.TCP, "192.0.2.1:80", "198.51.100.7:1")
	var keys []packet.Key
	for i := range 10000 {
		k.RemotePort, k.Remote[15] = uint16(i%60000+1), byte(i>>8)
		add(b, tab, Spec{Kind: Connected, Key: k})
		keys = append(keys, k)
	}
	wild := key(packet.UDP, "192.0.2.1:53", "198.51.100.7:4000")
	add(b, tab, Spec{Kind: Bound, Key: wild, Mask: Tuple2})
	none := key(packet.UDP, "192.0.2.1:54", "198.51.100.7:4000")
	b.Run("5-tuple of 10000", func(b *testing.B) {
		for i := range b.N {
			if tab.Lookup(&keys[i%len(keys)]) == nil {
				b.Fatal("not found")
			}
		}
	})
	b.Run("2-tuple", func(b *testing.B) {
		for range b.N {
			if tab.Lookup(&wild) == nil {
				b.Fatal("not found")
			}
		}
	})
	b.Run("none", func(b *testing.B) {
		for range b.N {
			if tab.Lookup(&none) != nil {
				b.Fatal("found")
			}
		}
	})
}

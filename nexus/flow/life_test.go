package flow

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/packet"
)

func (w *wire) reap(want ...End) []Ended {
	w.t.Helper()
	list := w.tab.Reap(w.now)
	if len(list) != len(want) {
		w.t.Fatalf("%d ended, want %v: %+v", len(list), want, list)
	}
	for i, e := range list {
		if e.Why != want[i] {
			w.t.Fatalf("ended %d: %v, want %v", i, e.Why, want[i])
		}
		if e.Flow.Flags()&FlagTornDown == 0 || w.tab.ByID(e.Flow.ID) != nil {
			w.t.Fatalf("ended %d is still there", i)
		}
	}
	return list
}

// TestLinger: who ended first waits for Config.Linger, the other side for LingerMin,
// and neither counts for its owner.
func TestLinger(t *testing.T) {
	for _, first := range []bool{true, false} {
		w, f := client(t, Config{Linger: 30 * time.Second})
		w.connect(f)
		if first {
			w.want(w.out(fin|ack, 101, 501, 0), Pass, None)
			w.want(w.in(fin|ack, 501, 102, 0), Pass, None)
			w.want(w.out(ack, 102, 502, 0), Closed, None)
		} else {
			w.want(w.in(fin|ack, 501, 101, 0), Pass, None)
			w.want(w.out(fin|ack, 101, 502, 0), Pass, None)
			w.want(w.in(ack, 502, 102, 0), Closed, None)
		}
		if f.Flags() != FlagWithdrawn || w.tab.OwnerLen(1) != 0 || w.tab.Len() != 1 {
			t.Errorf("%v, %d", f.Flags(), w.tab.OwnerLen(1))
		}
		linger := LingerMin
		if first {
			linger = 30 * time.Second
		}
		if list := w.tab.Withdrawn(1); len(list) != 1 || list[0] != (Lingering{f, linger - 1}) {
			t.Errorf("withdrawn are %v", list)
		}
		if list := w.tab.Withdrawn(1); list != nil {
			t.Errorf("withdrawn once more are %v", list)
		}
		w.now = linger - 1
		w.reap()
		w.want(w.in(fin|ack, 501, 102, 0), Pass, None)
		w.now = linger
		if e := w.reap(Over); e[0].Send {
			t.Error("a reset after the end")
		}
	}
}

// TestCloseLinger: a closed connection goes on; a peer that does not end is reset.
func TestCloseLinger(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{
		-1: LingerMin, 0: LingerMin, 5 * time.Second: 5 * time.Second, time.Hour: LingerMax,
	} {
		w, f := client(t, Config{})
		w.connect(f)
		if err := w.tab.Close(0, f, given); err != nil {
			t.Fatal(err)
		}
		if err := w.tab.Close(0, f, given); !errors.Is(err, ErrGone) {
			t.Errorf("closed twice: %v", err)
		}
		w.want(w.out(ack, 101, 501, 10), Pass, None)
		w.want(w.out(fin|ack, 111, 501, 0), Pass, None)
		w.want(w.in(ack, 501, 112, 7), Pass, None)
		w.want(w.out(ack, 112, 508, 0), Pass, None)
		w.now = want - 1
		w.reap()
		w.now = want
		e := w.reap(LingerOver)[0]
		if e.Flow != f || !e.Send || e.RST.Seq != 112 || e.RST.Ack != 508 || !e.RST.HasAck || e.RST.Key != w.key {
			t.Errorf("%+v", e)
		}
		w.want(w.in(ack, 508, 112, 7), ToHost, NotFound)
		w.want(w.out(ack, 112, 508, 0), Drop, NotFound)
	}
}

// TestCloseAtOnce: what has no peer ends without waiting, and nothing passes meanwhile.
func TestCloseAtOnce(t *testing.T) {
	w, f := client(t, Config{})
	w.want(w.out(syn, 100, 0, 0), Pass, None)
	w.tab.Close(0, f, time.Minute)
	w.want(w.in(syn|ack, 500, 101, 0), ToHost, TornDown)
	w.want(w.out(ack, 101, 501, 0), Drop, TornDown)
	if e := w.reap(ByOwner); e[0].Send {
		t.Error("a reset to a peer that never answered")
	}

	w, l := server(t, Config{})
	f = w.accept()
	w.key.RemotePort++
	c := w.want(w.in(syn, 500, 0, 0), Child, None)
	w.want(w.out(syn|ack, 100, 501, 0), Pass, None)
	w.key.RemotePort++
	unanswered := w.want(w.in(syn, 500, 0, 0), Child, None)
	w.tab.Close(0, l, 0)
	w.want(w.in(ack, 501, 101, 0), ToHost, Nonviable)
	w.key.RemotePort++
	w.want(w.in(syn, 500, 0, 0), ToHost, TornDown)
	seen := map[*Flow]Ended{}
	for _, e := range w.reap(ParentGone, ParentGone, ByOwner) {
		seen[e.Flow] = e
	}
	if !seen[c].Send || seen[c].RST.Seq != 101 || seen[unanswered].Send || seen[l].Send {
		t.Errorf("%+v", seen)
	}
	if w.tab.ByID(f.ID) != f || w.tab.halfOpen != 0 {
		t.Error("the connection went with its listener, or children stayed")
	}
}

func TestOwnerGone(t *testing.T) {
	w, l := server(t, Config{})
	f := w.accept()
	other := add(t, w.tab, Spec{Kind: Bound, Key: key(packet.UDP, "192.0.2.1:53", ""), Mask: Tuple3, Owner: 2})
	if n := w.tab.OwnerGone(1); n != 2 {
		t.Errorf("%d flows", n)
	}
	if w.tab.OwnerGone(1) != 0 {
		t.Error("torn down twice")
	}
	w.want(w.in(ack, 501, 101, 1), ToHost, TornDown)
	for _, e := range w.reap(OwnerGone, OwnerGone) {
		if e.Send != (e.Flow == f) || e.Flow != f && e.Flow != l {
			t.Errorf("%+v", e)
		}
	}
	if w.tab.ByID(other.ID) != other || w.tab.OwnerLen(1) != 0 {
		t.Error("another owner's flow is gone, or one of this owner stayed")
	}
}

// TestPortGone: the flows of one channel end, with a reset to those who believe in a
// connection; the owner's others stay.
func TestPortGone(t *testing.T) {
	w, l := server(t, Config{})
	f := w.accept()
	other := add(t, w.tab, Spec{Kind: Bound, Key: key(packet.UDP, "192.0.2.1:53", ""), Mask: Tuple3, Owner: l.Owner, Port: l.Port + 1})
	if n := w.tab.PortGone(l.Port); n != 2 {
		t.Errorf("%d flows", n)
	}
	if w.tab.PortGone(l.Port) != 0 {
		t.Error("torn down twice")
	}
	w.want(w.in(ack, 501, 101, 1), ToHost, TornDown)
	for _, e := range w.reap(PortGone, PortGone) {
		if e.Send != (e.Flow == f) || e.Flow != f && e.Flow != l {
			t.Errorf("%+v", e)
		}
	}
	if w.tab.ByID(other.ID) != other || w.tab.OwnerLen(l.Owner) != 1 {
		t.Error("a flow of another channel is gone, or one of this one stayed")
	}
}

func TestInvalidate(t *testing.T) {
	w, f := client(t, Config{})
	w.connect(f)
	if err := w.tab.Invalidate(f); err != nil {
		t.Fatal(err)
	}
	w.want(w.in(ack, 501, 101, 1), ToHost, Nonviable)
	w.want(w.out(ack, 101, 501, 1), Drop, Nonviable)
	if e := w.reap(Invalidated); e[0].Send {
		t.Error("a reset from an address that is gone")
	}
	if err := w.tab.Invalidate(f); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if err := w.tab.Close(0, f, 0); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

// TestReuse: a SYN over a connection that is over asks its listener for another, and
// a client may add the same again.
func TestReuse(t *testing.T) {
	w, _ := server(t, Config{})
	f := w.accept()
	w.want(w.in(syn, 9000, 0, 0), Pass, None) // while it lives it is the owner's to refuse
	w.want(w.in(fin|ack, 501, 101, 0), Pass, None)
	w.want(w.out(fin|ack, 101, 502, 0), Pass, None)
	w.want(w.in(ack, 502, 102, 0), Closed, None)
	g := w.want(w.in(syn, 9000, 0, 0), Child, None)
	if g == f || w.tab.Lookup(&w.key) != g {
		t.Error("not a new flow")
	}
	if e := w.reap(Replaced); e[0].Flow != f {
		t.Errorf("%+v", e)
	}

	w, f = client(t, Config{})
	w.connect(f)
	if _, err := w.tab.Add(0, Spec{Kind: Connected, Key: w.key}); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	w.want(w.in(rst, 501, 0, 0), Closed, None)
	g = add(t, w.tab, Spec{Kind: Connected, Key: w.key})
	if w.tab.Lookup(&w.key) != g {
		t.Error("not the new flow")
	}
	w.reap(Replaced)
}

// TestFullTable: the connection that has been over the longest makes room.
func TestFullTable(t *testing.T) {
	w, f := client(t, Config{Max: 3})
	w.connect(f)
	w.want(w.in(rst, 501, 0, 0), Closed, None)
	s := Spec{Kind: Bound, Key: key(packet.UDP, "192.0.2.1:1", ""), Mask: Tuple3, Owner: 9}
	for i := range 3 {
		s.Key.LocalPort = uint16(i + 1)
		add(t, w.tab, s)
	}
	if _, n := w.tab.Evicted(); n != 1 {
		t.Errorf("%d evicted", n)
	}
	s.Key.LocalPort = 9
	if _, err := w.tab.Add(0, s); !errors.Is(err, ErrTableFull) {
		t.Error(err)
	}
	w.reap(MadeRoom)
}

// TestEndedBounded: what waits to be reported is bounded too.
func TestEndedBounded(t *testing.T) {
	w, f := client(t, Config{Max: 4})
	for range 4 {
		w.tab.Close(0, f, 0)
		f = add(t, w.tab, Spec{Kind: Connected, Key: w.key, Owner: 1})
	}
	w.tab.Close(0, f, 0)
	if _, err := w.tab.Add(0, Spec{Kind: Connected, Key: w.key, Owner: 1}); !errors.Is(err, ErrTableFull) {
		t.Error(err)
	}
	w.reap(Replaced, Replaced, Replaced, Replaced, ByOwner)
	add(t, w.tab, Spec{Kind: Connected, Key: w.key, Owner: 1})
}

func TestListen(t *testing.T) {
	w := &wire{t: t, tab: table(t, Config{}), key: key(packet.TCP, "192.0.2.1:80", "198.51.100.7:4000")}
	f := add(t, w.tab, Spec{Kind: Bound, Key: w.key, Mask: Tuple3, Port: 7})
	w.want(w.in(syn, 1, 0, 0), ToHost, NoListener)
	w.want(w.out(rst, 1, 0, 0), Drop, NoListener)
	if err := w.tab.Listen(f); err != nil {
		t.Fatal(err)
	}
	if err := w.tab.Listen(f); !errors.Is(err, ErrState) {
		t.Error(err)
	}
	w.want(w.in(syn, 1, 0, 0), Child, None)
	w.tab.Close(0, f, 0)
	if err := w.tab.Listen(f); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

// TestClaim is xferudpping_1wrong and xferflowmatch: knowing a flow gives nothing.
func TestClaim(t *testing.T) {
	tab := table(t, Config{})
	k := key(packet.UDP, "192.0.2.1:53", "198.51.100.7:4000")
	f := add(t, tab, Spec{Kind: Bound, Key: k, Mask: Tuple3, Port: 7})
	base := packet.Info{Version: 4, Proto: packet.UDP, Src: k.Local, Dst: k.Remote, SrcPort: 53, DstPort: 4000, Length: 1500}
	for _, tt := range []struct {
		name  string
		claim Claim
		edit  func(*packet.Info)
		want  Reason
	}{
		{"nothing claimed", Claim{Port: 7}, nil, None},
		{"right", Claim{Port: 7, Flow: f.ID, Generation: f.Generation}, nil, None},
		{"other port", Claim{Port: 8, Flow: f.ID, Generation: f.Generation}, nil, BadFlow},
		{"other flow", Claim{Port: 7, Flow: f.ID + 1, Generation: f.Generation}, nil, BadFlow},
		{"other generation", Claim{Port: 7, Flow: f.ID, Generation: f.Generation + 1}, nil, BadFlow},
		{"other source", Claim{Port: 7, Flow: f.ID, Generation: f.Generation}, func(in *packet.Info) { in.Src[15]++ }, NotFound},
		{"options", Claim{Port: 7}, func(in *packet.Info) { in.HasOptions = true }, Options},
		{"later fragment", Claim{Port: 7}, func(in *packet.Info) { in.FragmentOffset = 8 }, Fragment},
	} {
		in := base
		if tt.edit != nil {
			tt.edit(&in)
		}
		v := tab.Transmit(0, tab.Outgoing(&in), tt.claim, &in)
		if v.Reason != tt.want || v.Goes() != (tt.want == None) || tt.want == BadFlow && v.Flow != nil {
			t.Errorf("%s: %v (%v)", tt.name, v.Action, v.Reason)
		}
	}
	if v := tab.Receive(0, nil, &packet.Info{FragmentOffset: 8}); v.Action != ToHost || v.Reason != Fragment {
		t.Errorf("a fragment that arrives: %v (%v)", v.Action, v.Reason)
	}
}

func TestBuildRST(t *testing.T) {
	for _, k := range []packet.Key{
		key(packet.TCP, "192.0.2.1:80", "198.51.100.7:4000"), key(packet.TCP, "[2001:db8::1]:80", "[2001:db8::2]:4000"),
	} {
		for _, withAck := range []bool{false, true} {
			b := BuildRST([]byte("before"), &RST{Key: k, Seq: 0x01020304, Ack: 0xa0b0c0d0, HasAck: withAck})
			if !bytes.HasPrefix(b, []byte("before")) {
				t.Fatal("dst is not kept")
			}
			b = b[6:]
			in, why := packet.Parse(b, len(b))
			wantFlags, wantAck := uint8(packet.RST), uint32(0)
			if withAck {
				wantFlags, wantAck = packet.RST|packet.ACK, 0xa0b0c0d0
			}
			if why != packet.OK || in.TxKey() != k || in.Length != len(b) || in.Seq != 0x01020304 || in.Ack != wantAck || in.Flags != wantFlags ||
				in.TransportLen != 20 || in.PayloadLen != 0 {
				t.Fatalf("%v %+v", why, in)
			}
			if k.Version == 4 && packet.SumOf(b[:20]) != 0xffff {
				t.Error("IP checksum")
			}
			var s packet.Sum
			s.AddPseudo(&in.Src, &in.Dst, in.Version, packet.TCP, 20)
			s.Add(b[in.HeaderLen:])
			if s.Fold() != 0xffff {
				t.Error("TCP checksum")
			}
		}
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	check := func(s string) {
		if s == "" || s == "unknown" || seen[s] {
			t.Errorf("name %q", s)
		}
		seen[s] = true
	}
	for r := range ReasonCount {
		check(r.String())
	}
	clear(seen)
	for a := range actionCount {
		check(a.String())
	}
	clear(seen)
	for e := range endCount {
		check(e.String())
	}
	clear(seen)
	for s := range stateCount {
		check(s.String())
	}
	clear(seen)
	for k := range kindCount {
		check(k.String())
	}
	for m := range maskCount {
		check(m.String())
	}
	if Reason(99).String() != "unknown" || Action(99).String() != "unknown" || End(99).String() != "unknown" ||
		State(99).String() != "unknown" || Kind(99).String() != "unknown" || Mask(99).String() != "unknown" {
		t.Error("a value out of range has a name")
	}
}

// FuzzConnection sends any segments both ways, with closes and time between. The
// lists and numbers of the table stay right, and all ends in the end.
func FuzzConnection(f *testing.F) {
	f.Add([]byte{0, 2, 0, 0, 1, 18, 0, 1, 0, 16, 1, 1, 1, 17, 1, 1, 0, 17, 1, 2, 1, 16, 2, 2})
	f.Add([]byte{0, 16, 0, 0, 1, 16, 0, 1, 8, 2, 0, 0, 3, 0, 0, 0, 0, 4, 1, 1})
	f.Fuzz(func(t *testing.T, script []byte) {
		w, _ := server(t, Config{Max: 6, PerOwner: 4, PerListener: 2, HalfOpen: 3 * time.Second, Linger: 2 * time.Second})
		base := w.key.RemotePort
		for ; len(script) >= 4; script = script[4:] {
			s := script[:4]
			w.key.RemotePort = base + uint16(s[0]>>3&3)
			switch s[0] & 7 {
			case 0, 2, 4:
				w.in(s[1], 500+uint32(s[2]), 100+uint32(s[3]), int(s[2]>>6))
			case 1, 5, 6:
				w.out(s[1], 100+uint32(s[2]), 500+uint32(s[3]), int(s[2]>>6))
			case 3:
				w.now += time.Duration(s[1]) * 50 * time.Millisecond
				w.tab.Reap(w.now)
			case 7:
				if g := w.tab.Lookup(&w.key); g != nil && g.Kind() != Listener {
					w.tab.Close(w.now, g, 0)
				}
			}
			w.consistent()
		}
		w.tab.OwnerGone(1)
		w.tab.Reap(w.now)
		w.consistent()
		if w.tab.Len() != 0 || w.tab.OwnerLen(1) != 0 || w.tab.halfOpen != 0 || w.tab.withdrawn.n != 0 {
			t.Fatalf("%d flows, %d of the owner, %d half-open left", w.tab.Len(), w.tab.OwnerLen(1), w.tab.halfOpen)
		}
	})
}

func (w *wire) consistent() {
	w.t.Helper()
	half, counted, withdrawn, children := 0, 0, 0, 0
	users := [2][maskCount]int32{}
	for _, f := range w.tab.All() {
		users[kindOf(f.Key.Proto)][f.Mask]++
		if f.Kind() == HalfOpen {
			half++
		}
		if f.counted {
			counted++
		}
		if f.in == &w.tab.withdrawn {
			withdrawn++
		}
		children += f.syns.n + f.cookies.n
		if f.syns.n > 2 || f.cookies.n > 2 || w.tab.at(f.Mask, &f.Key) != f {
			w.t.Fatalf("children %d and %d of %+v", f.syns.n, f.cookies.n, f.View())
		}
	}
	if half != w.tab.halfOpen || half != children || counted != w.tab.owners[1] || counted > 4 || withdrawn != w.tab.withdrawn.n || w.tab.Len() > 6 || half > 3 {
		w.t.Fatalf("%d half-open (%d, %d), %d counted (%d), %d withdrawn (%d)", half, w.tab.halfOpen, children, counted, w.tab.owners[1], withdrawn, w.tab.withdrawn.n)
	}
	for kind := range users {
		for m, n := range users[kind] {
			if counted := w.tab.users[kind][m].Load(); n != counted {
				w.t.Fatalf("mask %d has %d users of kind %d, counted %d", m, n, kind, counted)
			}
		}
	}
}

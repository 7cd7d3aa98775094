package flow

import (
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/packet"
)

// This file owns the connections that tests make, and their handshakes and ends.

const (
	fin = packet.FIN
	syn = packet.SYN
	rst = packet.RST
	ack = packet.ACK
)

// wire sends segments over a table: one listener's or client's port 7, owner 1.
type wire struct {
	t   *testing.T
	tab *Table
	key packet.Key
	now time.Duration
}

func (w *wire) segment(flags uint8, seq, ackSeq uint32, n int) packet.Info {
	return packet.Info{
		Version: w.key.Version, Proto: packet.TCP, Flags: flags, Seq: seq, Ack: ackSeq, Window: 1000, WindowScale: -1,
		HeaderLen: 20, TransportLen: 20, PayloadLen: n, Length: 40 + n,
	}
}

func (w *wire) in(flags uint8, seq, ackSeq uint32, n int) Verdict {
	s := w.segment(flags, seq, ackSeq, n)
	s.Src, s.Dst, s.SrcPort, s.DstPort = w.key.Remote, w.key.Local, w.key.RemotePort, w.key.LocalPort
	return w.tab.Receive(w.now, w.tab.Incoming(&s), &s)
}

func (w *wire) out(flags uint8, seq, ackSeq uint32, n int) Verdict {
	s := w.segment(flags, seq, ackSeq, n)
	s.Src, s.Dst, s.SrcPort, s.DstPort = w.key.Local, w.key.Remote, w.key.LocalPort, w.key.RemotePort
	return w.tab.Transmit(w.now, w.tab.Outgoing(&s), Claim{Port: 7}, &s)
}

// want checks a verdict.
func (w *wire) want(v Verdict, action Action, why Reason) *Flow {
	w.t.Helper()
	if v.Action != action || v.Reason != why {
		w.t.Fatalf("%v (%v), want %v (%v)", v.Action, v.Reason, action, why)
	}
	return v.Flow
}

func (w *wire) state(f *Flow, want State) {
	w.t.Helper()
	if v := f.View(); v.State != want {
		w.t.Fatalf("state %v, want %v", v.State, want)
	}
}

func server(t *testing.T, c Config) (*wire, *Flow) {
	w := &wire{t: t, tab: table(t, c), key: key(packet.TCP, "192.0.2.1:80", "198.51.100.7:4000")}
	return w, add(t, w.tab, Spec{Kind: Listener, Key: w.key, Mask: Tuple2, Owner: 1, Port: 7})
}

func client(t *testing.T, c Config) (*wire, *Flow) {
	w := &wire{t: t, tab: table(t, c), key: key(packet.TCP, "192.0.2.1:4000", "198.51.100.7:80")}
	return w, add(t, w.tab, Spec{Kind: Connected, Key: w.key, Owner: 1, Port: 7})
}

// connect makes the client's connection: it has 101 next, its peer 501.
func (w *wire) connect(f *Flow) {
	w.t.Helper()
	w.state(f, StateClosed)
	w.want(w.out(syn, 100, 0, 0), Pass, None)
	w.state(f, StateSynSent)
	w.want(w.in(syn|ack, 500, 101, 0), Pass, None)
	w.want(w.out(ack, 101, 501, 0), Pass, None)
	w.state(f, StateEstablished)
}

// accept makes a connection to the listener: it has 101 next, its peer 501.
func (w *wire) accept() *Flow {
	w.t.Helper()
	f := w.want(w.in(syn, 500, 0, 0), Child, None)
	w.state(f, StateSynReceived)
	w.want(w.out(syn|ack, 100, 501, 0), Pass, None)
	if f.Kind() != HalfOpen {
		w.t.Fatal(f.Kind())
	}
	w.want(w.in(ack, 501, 101, 0), Established, None)
	w.state(f, StateEstablished)
	return f
}

func TestAccept(t *testing.T) {
	w, l := server(t, Config{})
	f := w.accept()
	if f.Kind() != Connected || f.Listener != l.ID || f.Owner != 1 || f.Port != 7 || w.tab.OwnerLen(1) != 2 {
		t.Errorf("%+v", f.View())
	}
	w.now = 1
	w.want(w.in(ack, 501, 101, 10), Pass, None)
	w.want(w.out(ack, 101, 511, 20), Pass, None)
	v := f.View()
	if v.RxPackets != 3 || v.RxBytes != 40+40+50 || v.TxPackets != 2 || v.TxBytes != 40+60 || v.LastUsed != 1 {
		t.Errorf("%+v", v)
	}
	if v := l.View(); v.State != StateListen || v.RxPackets != 0 {
		t.Errorf("listener %+v", v)
	}
	if l.syns.n != 0 || w.tab.halfOpen != 0 {
		t.Errorf("%d children, %d half-open", l.syns.n, w.tab.halfOpen)
	}
}

// TestHalfOpenSend: over a half-open flow goes what a handshake needs, and no more.
func TestHalfOpenSend(t *testing.T) {
	for _, tt := range []struct {
		name   string
		flags  uint8
		n      int
		cookie bool
		want   Action
	}{
		{"SYN-ACK", syn | ack, 0, false, Pass},
		{"ACK", ack, 0, false, Pass},
		{"RST", rst, 0, false, Closed},
		{"RST-ACK", rst | ack, 0, false, Closed},
		{"SYN", syn, 0, false, Drop},
		{"SYN-RST", syn | rst, 0, false, Drop},
		{"nothing", 0, 0, false, Drop},
		{"data", ack, 1, false, Drop},
		{"SYN-ACK with data", syn | ack, 1, false, Drop},
		{"FIN", fin | ack, 0, false, Drop},
		{"cookie, ACK", ack, 0, true, Established},
		{"cookie, data", ack, 1, true, Established},
		{"cookie, FIN", ack | fin, 0, true, Established},
		{"cookie, RST", rst, 0, true, Closed},
		{"cookie, SYN-ACK", syn | ack, 0, true, Drop},
		{"cookie, SYN", syn, 0, true, Drop},
		{"cookie, data without ACK", 0, 1, true, Drop},
	} {
		w, _ := server(t, Config{})
		if tt.cookie {
			w.want(w.in(ack, 501, 101, 5), Child, None)
		} else {
			w.want(w.in(syn, 500, 0, 0), Child, None)
		}
		v := w.out(tt.flags, 101, 501, tt.n)
		if v.Action != tt.want || v.Action == Drop && v.Reason != HalfOpenSend {
			t.Errorf("%s: %v (%v), want %v", tt.name, v.Action, v.Reason, tt.want)
		}
		if tt.want == Closed && (w.tab.Len() != 1 || len(w.tab.Reap(0)) != 0) {
			t.Errorf("%s: %d flows", tt.name, w.tab.Len())
		}
	}
}

// TestListenerSend is listenertcprst: a listener sends resets only.
func TestListenerSend(t *testing.T) {
	w, l := server(t, Config{})
	for flags, want := range map[uint8]Action{
		rst: Pass, rst | ack: Pass, syn | ack: Drop, ack: Drop, syn: Drop, fin | ack: Drop, syn | rst: Drop, 0: Drop,
	} {
		v := w.out(flags, 1, 1, 0)
		if v.Action != want || want == Drop && v.Reason != ListenerSend || v.Flow != l {
			t.Errorf("flags %#x: %v (%v)", flags, v.Action, v.Reason)
		}
	}
}

func TestKnock(t *testing.T) {
	for flags, want := range map[uint8]Verdict{
		syn: {Action: Child}, syn | packet.ECE | packet.CWR: {Action: Child}, ack: {Action: Child}, ack | fin: {Action: Child},
		syn | ack: {Action: Pass}, rst: {Action: Drop, Reason: Stray}, rst | ack: {Action: Drop, Reason: Stray},
		0: {Action: Drop, Reason: Stray}, fin: {Action: Drop, Reason: Stray}, syn | fin: {Action: Drop, Reason: Stray},
		syn | rst: {Action: Drop, Reason: Stray}, syn | ack | fin: {Action: Drop, Reason: Stray},
	} {
		w, l := server(t, Config{})
		v := w.in(flags, 1, 1, 0)
		if v.Action != want.Action || v.Reason != want.Reason || (v.Flow == l) != (want.Action != Child) {
			t.Errorf("flags %#x: %v (%v)", flags, v.Action, v.Reason)
		}
	}
}

// TestHandshakeAck: what is not the acknowledgement of the SYN-ACK makes no connection.
func TestHandshakeAck(t *testing.T) {
	w, _ := server(t, Config{})
	f := w.want(w.in(syn, 500, 0, 0), Child, None)
	w.want(w.in(ack, 501, 101, 0), Pass, None) // before the SYN-ACK
	w.want(w.in(syn, 500, 0, 0), Pass, None)   // again
	w.want(w.out(syn|ack, 100, 501, 0), Pass, None)
	w.want(w.in(ack, 501, 100, 0), Pass, None)
	w.want(w.in(ack, 501, 102, 0), Pass, None)
	w.want(w.in(ack, 501+1<<30, 101, 0), Pass, None)
	if f.Kind() != HalfOpen {
		t.Fatal(f.Kind())
	}
	w.want(w.in(ack, 501, 101, 9), Established, None)
}

// TestOwnerFull: a connection that is one too many stays half-open until there is room.
func TestOwnerFull(t *testing.T) {
	w, _ := server(t, Config{PerOwner: 2})
	other := add(t, w.tab, Spec{Kind: Bound, Key: key(packet.UDP, "192.0.2.1:9", ""), Mask: Tuple3, Owner: 1})
	w.want(w.in(syn, 500, 0, 0), Child, None)
	w.want(w.out(syn|ack, 100, 501, 0), Pass, None)
	w.want(w.in(ack, 501, 101, 0), Drop, OwnerLimit)
	w.want(w.in(ack, 501, 101, 5), Drop, OwnerLimit)
	w.tab.Close(0, other, 0)
	w.tab.Reap(0)
	w.want(w.in(ack, 501, 101, 5), Established, None)
}

func TestCookie(t *testing.T) {
	w, l := server(t, Config{})
	f := w.want(w.in(ack, 501, 101, 5), Child, None)
	if f.Flags() != FlagCookie || f.Kind() != HalfOpen || l.cookies.n != 1 {
		t.Fatalf("%v %v", f.Flags(), f.Kind())
	}
	if r, ok := f.RST(); !ok || r.Seq != 101 || r.HasAck {
		t.Errorf("%+v %v", r, ok)
	}
	w.want(w.in(ack, 506, 101, 5), Pass, None)
	w.want(w.out(ack, 101, 511, 8), Established, None)
	if f.Flags() != 0 || f.Kind() != Connected || w.tab.halfOpen != 0 {
		t.Fatalf("%v %v", f.Flags(), f.Kind())
	}
	w.state(f, StateEstablished)
	if r, ok := f.RST(); !ok || r.Seq != 109 || r.Ack != 511 {
		t.Errorf("%+v %v", r, ok)
	}
	// A SYN in the place of a cookie's child is a new connection.
	w.key.RemotePort++
	f = w.want(w.in(ack, 501, 101, 5), Child, None)
	if g := w.want(w.in(syn, 900, 0, 0), Child, None); g == f || g.Flags() != 0 || w.tab.Lookup(&w.key) != g {
		t.Error("not replaced")
	}
}

// TestSynFlood is xfertcpsynflood for a listener: its children are bounded, the oldest
// makes room, and those of ACKs do not push out those of SYNs.
func TestSynFlood(t *testing.T) {
	w, l := server(t, Config{PerListener: 4, Max: 100})
	first := w.key
	for i := range 10 {
		w.key.RemotePort = uint16(5000 + i)
		w.want(w.in(syn, 500, 0, 0), Child, None)
	}
	for i := range 10 {
		w.key.RemotePort = uint16(6000 + i)
		w.want(w.in(ack, 500, 1, 0), Child, None)
	}
	if half, _ := w.tab.Evicted(); half != 12 || l.syns.n != 4 || l.cookies.n != 4 || w.tab.Len() != 9 || w.tab.OwnerLen(1) != 1 {
		t.Errorf("%d evicted, %d and %d children, %d flows", half, l.syns.n, l.cookies.n, w.tab.Len())
	}
	for i := range 10 {
		w.key.RemotePort = uint16(5000 + i)
		if got := w.tab.Lookup(&w.key) != l; got != (i >= 6) {
			t.Errorf("child %d: there is %v", i, got)
		}
	}
	// The table's half.
	w, l = server(t, Config{PerListener: 100, Max: 8})
	w.key = first
	for i := range 10 {
		w.key.RemotePort = uint16(5000 + i)
		w.want(w.in(syn, 500, 0, 0), Child, None)
	}
	if l.syns.n != 4 || w.tab.halfOpen != 4 {
		t.Errorf("%d children", l.syns.n)
	}
	second := add(t, w.tab, Spec{Kind: Listener, Key: key(packet.TCP, "192.0.2.1:81", ""), Mask: Tuple3})
	w.key.LocalPort = 81
	if v := w.in(syn, 500, 0, 0); v.Action != Drop || v.Reason != TableFull || v.Flow != second {
		t.Errorf("%v (%v)", v.Action, v.Reason)
	}
}

func TestHandshakeTimeout(t *testing.T) {
	w, _ := server(t, Config{HalfOpen: 10 * time.Second})
	w.now = time.Second
	f := w.want(w.in(syn, 500, 0, 0), Child, None)
	if e := w.tab.Reap(11*time.Second - 1); len(e) != 0 {
		t.Errorf("early: %v", e)
	}
	if e := w.tab.Reap(11 * time.Second); len(e) != 1 || e[0].Flow != f || e[0].Why != HandshakeTimeout || e[0].Send {
		t.Errorf("%v", e)
	}
	if w.tab.Len() != 1 || w.tab.halfOpen != 0 {
		t.Errorf("%d flows, %d half-open", w.tab.Len(), w.tab.halfOpen)
	}
}

// TestStates walks the ends of a connection.
func TestStates(t *testing.T) {
	type move struct {
		out   bool
		flags uint8
		seq   uint32
		ack   uint32
		n     int
		want  Action
		state State
	}
	for name, moves := range map[string][]move{
		"active close": {
			{true, fin | ack, 101, 501, 0, Pass, StateFinWait1}, {false, ack, 501, 102, 0, Pass, StateFinWait2},
			{false, ack, 501, 102, 50, Pass, StateFinWait2},
			{false, fin | ack, 551, 102, 0, Pass, StateTimeWait}, {true, ack, 102, 552, 0, Closed, StateTimeWait},
			{false, fin | ack, 551, 102, 0, Pass, StateTimeWait}, {true, ack, 102, 552, 0, Pass, StateTimeWait},
		},
		"passive close": {
			{false, fin | ack, 501, 101, 0, Pass, StateCloseWait}, {true, ack, 101, 502, 0, Pass, StateCloseWait},
			{true, ack, 101, 502, 70, Pass, StateCloseWait},
			{true, fin | ack, 171, 502, 0, Pass, StateLastAck}, {false, ack, 502, 172, 0, Closed, StateTimeWait},
		},
		"both close": {
			{true, fin | ack, 101, 501, 0, Pass, StateFinWait1}, {false, fin | ack, 501, 101, 0, Pass, StateClosing},
			{true, ack, 102, 502, 0, Pass, StateLastAck}, {false, ack, 502, 102, 0, Closed, StateTimeWait},
		},
		"three segments": {
			{true, fin | ack, 101, 501, 0, Pass, StateFinWait1}, {false, fin | ack, 501, 102, 0, Pass, StateTimeWait},
			{true, ack, 102, 502, 0, Closed, StateTimeWait},
		},
		"FIN not acknowledged by an old ACK": {
			{true, fin | ack, 101, 501, 10, Pass, StateFinWait1}, {false, ack, 501, 111, 0, Pass, StateFinWait1},
			{false, ack, 501, 113, 0, Pass, StateFinWait1}, {false, ack, 501, 112, 0, Pass, StateFinWait2},
		},
		"reset by the peer":             {{false, rst, 501, 0, 0, Closed, StateClosed}},
		"reset one behind":              {{false, rst, 502, 0, 0, Closed, StateClosed}},
		"reset one before":              {{false, rst, 500, 0, 0, Closed, StateClosed}},
		"reset two behind":              {{false, rst, 503, 0, 0, Pass, StateEstablished}},
		"reset two before":              {{false, rst | ack, 499, 101, 0, Pass, StateEstablished}},
		"reset far away":                {{false, rst, 1 << 30, 0, 0, Pass, StateEstablished}},
		"reset by the owner":            {{true, rst, 101, 0, 0, Closed, StateClosed}},
		"FIN out of the window":         {{false, fin | ack, 501 + 80000, 101, 0, Pass, StateEstablished}},
		"FIN from long ago":             {{false, fin | ack, 1<<32 + 501 - 80000, 101, 0, Pass, StateEstablished}},
		"SYN in the middle":             {{false, syn, 9000, 0, 0, Pass, StateEstablished}},
		"acknowledges what was not yet": {{false, ack, 501, 5000, 0, Pass, StateEstablished}},
		"data after the end": {
			{true, fin | ack, 101, 501, 0, Pass, StateFinWait1}, {false, fin | ack, 501, 102, 5, Pass, StateTimeWait},
			{true, ack, 102, 507, 0, Closed, StateTimeWait}, {false, fin | ack, 501, 102, 5, Pass, StateTimeWait},
			{false, ack, 507, 102, 5, Reset, StateTimeWait},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, f := client(t, Config{})
			w.connect(f)
			for i, m := range moves {
				w.t = t
				v := Verdict{}
				if m.out {
					v = w.out(m.flags, m.seq, m.ack, m.n)
				} else {
					v = w.in(m.flags, m.seq, m.ack, m.n)
				}
				if s := f.View().State; v.Action != m.want || s != m.state {
					t.Fatalf("move %d: %v (%v), state %v; want %v, %v", i, v.Action, v.Reason, s, m.want, m.state)
				}
			}
		})
	}
}

func TestConnectRefused(t *testing.T) {
	w, f := client(t, Config{})
	w.want(w.out(syn, 100, 0, 0), Pass, None)
	w.want(w.in(rst|ack, 0, 100, 0), Pass, None) // does not answer the SYN
	w.want(w.in(rst, 0, 0, 0), Pass, None)
	w.want(w.in(ack, 77, 33, 0), Pass, None) // of an older connection,
	w.want(w.out(rst, 33, 0, 0), Pass, None) // which the reset refuses, not this one
	w.state(f, StateSynSent)
	w.want(w.in(rst|ack, 0, 101, 0), Closed, None)
	if f.Flags() != FlagWithdrawn {
		t.Error(f.Flags())
	}
	w.want(w.out(syn, 100, 0, 0), Drop, Withdrawn)
	if e := w.tab.Reap(0); len(e) != 1 || e[0].Why != Over || e[0].Send {
		t.Errorf("%v", e)
	}
}

func TestSimultaneousOpen(t *testing.T) {
	w, f := client(t, Config{})
	w.want(w.out(syn, 100, 0, 0), Pass, None)
	w.want(w.in(syn, 500, 0, 0), Pass, None)
	w.state(f, StateSynReceived)
	w.want(w.out(syn|ack, 100, 501, 0), Pass, None)
	w.want(w.in(syn|ack, 500, 101, 0), Pass, None)
	w.state(f, StateEstablished)
}

// TestSYNRate: 20 in a second, and 20 in the next.
func TestSYNRate(t *testing.T) {
	w, _ := client(t, Config{})
	w.now = 5 * time.Second
	for second := range 3 {
		for i := range 30 {
			w.now += time.Millisecond
			want := Verdict{Action: Pass}
			if i >= SYNsPerSecond {
				want = Verdict{Action: Drop, Reason: SYNRate}
			}
			if v := w.out(syn, 100, 0, 0); v.Action != want.Action || v.Reason != want.Reason {
				t.Fatalf("second %d, SYN %d: %v (%v)", second, i, v.Action, v.Reason)
			}
		}
		w.now += time.Second
	}
}

// TestWindowScale: segments far ahead count when the window was that large.
func TestWindowScale(t *testing.T) {
	for scale, want := range map[int8]State{-1: StateEstablished, 0: StateEstablished, 14: StateCloseWait} {
		w, f := client(t, Config{})
		s := w.segment(syn, 100, 0, 0)
		s.WindowScale = scale
		s.Src, s.Dst, s.SrcPort, s.DstPort = w.key.Local, w.key.Remote, w.key.LocalPort, w.key.RemotePort
		w.tab.Transmit(0, w.tab.Outgoing(&s), Claim{Port: 7}, &s)
		s = w.segment(syn|ack, 500, 101, 0)
		s.WindowScale = scale
		s.Src, s.Dst, s.SrcPort, s.DstPort = w.key.Remote, w.key.Local, w.key.RemotePort, w.key.LocalPort
		w.tab.Receive(0, w.tab.Incoming(&s), &s)
		w.out(ack, 101, 501, 0)
		w.in(fin|ack, 501+10_000_000, 101, 0)
		w.state(f, want)
	}
}

func TestRTT(t *testing.T) {
	w, f := client(t, Config{})
	w.connect(f)
	w.now = time.Second
	w.want(w.out(ack, 101, 501, 10), Pass, None)
	w.now += 32 * time.Millisecond
	w.want(w.in(ack, 501, 111, 0), Pass, None)
	if rtt := f.View().RTT; rtt != 32*time.Millisecond {
		t.Errorf("%v", rtt)
	}
	w.now += 2 * time.Second
	w.out(ack, 111, 501, 10)
	w.now += 64 * time.Millisecond
	w.in(ack, 501, 121, 0)
	if rtt := f.View().RTT; rtt != 34*time.Millisecond {
		t.Errorf("%v", rtt)
	}
	w.now += 2 * time.Second
	w.out(ack, 121, 501, 10)
	w.out(ack, 121, 501, 10) // sent again
	w.now += time.Second
	w.in(ack, 501, 131, 0)
	if rtt := f.View().RTT; rtt != 34*time.Millisecond {
		t.Errorf("%v after a retransmission", rtt)
	}
}

// TestSegmentsThatComeAgain counts data that was sent before, of each side.
func TestSegmentsThatComeAgain(t *testing.T) {
	w, f := client(t, Config{})
	w.connect(f)
	again := func(tx, rx uint64) {
		t.Helper()
		if v := f.View(); v.TxAgain != tx || v.RxAgain != rx {
			t.Errorf("%d and %d, want %d and %d", v.TxAgain, v.RxAgain, tx, rx)
		}
	}
	w.out(ack, 101, 501, 100)
	w.out(ack, 201, 501, 100)
	w.in(ack, 501, 301, 50)
	w.in(ack, 551, 301, 50)
	again(0, 0)
	w.out(ack, 201, 501, 100) // again
	w.out(ack, 301, 601, 0)   // an acknowledgement
	w.out(ack, 300, 601, 1)   // is the other still there?
	w.out(ack, 250, 601, 100) // half of it new
	w.in(ack, 501, 301, 100)  // both in one
	w.in(ack, 600, 301, 1)
	again(2, 1)
}

// TestUnderWay: an error is about what was sent and is not acknowledged, or not true.
func TestUnderWay(t *testing.T) {
	w, f := client(t, Config{})
	is := func(want bool, list ...uint32) {
		t.Helper()
		for _, seq := range list {
			if f.UnderWay(seq) != want {
				t.Errorf("%d: %v, want %v", seq, !want, want)
			}
		}
	}
	is(false, 0, 100)
	w.out(syn, 100, 0, 0)
	is(true, 100)
	is(false, 99, 101)
	w.in(syn|ack, 500, 101, 0)
	w.out(ack, 101, 501, 100)
	is(true, 101, 200)
	is(false, 100, 201)
	w.in(ack, 501, 151, 0)
	is(true, 151, 200)
	is(false, 101, 150, 201)
}

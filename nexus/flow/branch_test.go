package flow

import (
	"bytes"
	"errors"
	"testing"

	"github.com/sluice-os/sluice/nexus/packet"
)

// at is a payload of n bytes that has a text at an offset.
func at(n, offset int, text string) []byte {
	b := make([]byte, n)
	copy(b[offset:], text)
	return b
}

func pattern(offset int, text string) Pattern { return Pattern{offset, []byte(text)} }

// TestBranches (parentchildflow): a datagram is for the oldest branch all of whose patterns
// it has, or for the trunk.
func TestBranches(t *testing.T) {
	tab := table(t, Config{})
	trunk := add(t, tab, Spec{Kind: Bound, Key: key(packet.UDP, "192.0.2.1:53", ""), Mask: Tuple3, Owner: 1, Port: 2})
	branch := func(list ...Pattern) *Flow {
		t.Helper()
		b, err := tab.AddBranch(0, trunk, list)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	text := []byte("a")
	first := branch(Pattern{0, text})
	text[0] = 'x' // it is the table's own
	far := branch(pattern(400, "offset_400"))
	end := branch(pattern(PatternReach-PatternMax, string(bytes.Repeat([]byte{'z'}, PatternMax))))
	both := branch(pattern(1, "bc"), pattern(10, "d"), pattern(20, "e"), pattern(30, "f"))
	in := packet.Info{Version: 4, Proto: packet.UDP, Length: 100}
	for _, tt := range []struct {
		name    string
		payload []byte
		want    *Flow
	}{
		{"nothing", nil, trunk},
		{"none of them", []byte("hello"), trunk},
		{"at the start", []byte("abc"), first},
		{"alone", []byte("a"), first},
		{"at 400", at(500, 400, "offset_400"), far},
		{"at 399", at(500, 399, "offset_400"), trunk},
		{"at 400, short", at(409, 400, "offset_40"), trunk},
		{"two fit", append([]byte("a"), at(500, 399, "offset_400")...), first},
		{"the last bytes", append(make([]byte, PatternReach-PatternMax), bytes.Repeat([]byte{'z'}, PatternMax)...), end},
		{"all four", append([]byte("_bc_______d_________e_________f"), 1), both},
		{"three of four", append([]byte("_bc_______d_________e_________g"), 1), trunk},
		{"four, cut", []byte("_bc_______d_________e_________"), trunk},
	} {
		before := tt.want.View().RxPackets
		if got := trunk.Branch(1, &in, tt.payload); got != tt.want {
			t.Errorf("%s: flow %d, want %d", tt.name, got.ID, tt.want.ID)
		}
		if n := tt.want.View().RxPackets - before; (n == 1) != (tt.want != trunk) {
			t.Errorf("%s: %d packets are counted", tt.name, n)
		}
	}
	// What is found by addresses is the trunk.
	k := key(packet.UDP, "192.0.2.1:53", "198.51.100.7:4000")
	if f := tab.Lookup(&k); f != trunk {
		t.Errorf("the table finds %v", f)
	}
	out := packet.Info{Src: k.Local, Dst: k.Remote, SrcPort: 53, DstPort: 4000, Version: 4, Proto: packet.UDP, Length: 100}
	for _, tt := range []struct {
		name  string
		claim Claim
		goes  bool
	}{
		{"no name", Claim{Port: 2}, true},
		{"the trunk's", Claim{Port: 2, Flow: trunk.ID, Generation: trunk.Generation}, true},
		{"a branch's", Claim{Port: 2, Flow: far.ID, Generation: far.Generation}, true},
		{"an older branch's", Claim{Port: 2, Flow: far.ID, Generation: far.Generation + 1}, false},
		{"nobody's", Claim{Port: 2, Flow: 99, Generation: 1}, false},
		{"of another channel", Claim{Port: 3, Flow: far.ID, Generation: far.Generation}, false},
	} {
		if v := tab.Transmit(1, tab.Outgoing(&out), tt.claim, &out); v.Goes() != tt.goes || !tt.goes && v.Reason != BadFlow {
			t.Errorf("%s: %+v", tt.name, v)
		}
	}
	if n := far.View().TxPackets; n != 1 {
		t.Errorf("%d packets of a branch are counted", n)
	}
	if n := trunk.View().TxPackets; n != 3 {
		t.Errorf("%d packets of the trunk are counted", n)
	}
	// A branch that is closed is one no more; its datagrams are the trunk's.
	tab.Close(2, far, 0)
	if trunk.Branch(1, &in, at(500, 400, "offset_400")) != trunk || tab.Transmit(1, tab.Outgoing(&out), Claim{Port: 2, Flow: far.ID, Generation: far.Generation}, &out).Goes() {
		t.Error("a closed branch takes something")
	}
	if e := tab.Reap(3); len(e) != 1 || e[0].Flow != far || e[0].Why != ByOwner || e[0].Send {
		t.Errorf("%+v", e)
	}
	again := branch(pattern(400, "offset_400"))
	if trunk.Branch(1, &in, at(500, 400, "offset_400")) != again {
		t.Error("a branch in the place of another gets nothing")
	}
}

// TestBranchesEndWithTheTrunk, however that ends.
func TestBranchesEndWithTheTrunk(t *testing.T) {
	for name, end := range map[string]func(*Table, *Flow) error{
		"closed":      func(tab *Table, f *Flow) error { return tab.Close(1, f, 0) },
		"invalidated": func(tab *Table, f *Flow) error { return tab.Invalidate(f) },
		"owner gone":  func(tab *Table, f *Flow) error { tab.OwnerGone(1); return nil },
		"port gone":   func(tab *Table, f *Flow) error { tab.PortGone(2); return nil },
	} {
		tab := table(t, Config{})
		trunk := add(t, tab, Spec{Kind: Connected, Key: key(packet.UDP, "192.0.2.1:53", "198.51.100.7:4000"), Owner: 1, Port: 2})
		b, err := tab.AddBranch(0, trunk, []Pattern{pattern(0, "a")})
		if err != nil {
			t.Fatal(err)
		}
		if tab.OwnerLen(1) != 2 {
			t.Errorf("%d flows count", tab.OwnerLen(1))
		}
		if err := end(tab, trunk); err != nil {
			t.Fatal(err)
		}
		in := packet.Info{Version: 4, Proto: packet.UDP}
		if b.Flags()&(FlagNonviable|FlagTornDown) == 0 || trunk.Branch(1, &in, []byte("a")) != trunk {
			t.Errorf("%s: the branch goes on", name)
		}
		if _, err := tab.AddBranch(0, trunk, []Pattern{pattern(0, "b")}); !errors.Is(err, ErrGone) {
			t.Errorf("%s: another branch: %v", name, err)
		}
		if e := tab.Reap(2); len(e) != 2 || tab.Len() != 0 || tab.OwnerLen(1) != 0 || trunk.Branched() {
			t.Errorf("%s: %d have ended, %d are left", name, len(e), tab.Len())
		}
	}
}

func TestBranchesAreRefused(t *testing.T) {
	tab := table(t, Config{PerOwner: 70})
	trunk := add(t, tab, Spec{Kind: Bound, Key: key(packet.UDP, "192.0.2.1:53", ""), Mask: Tuple3, Owner: 1, Port: 2})
	tcp := add(t, tab, Spec{Kind: Bound, Key: key(packet.TCP, "192.0.2.1:80", ""), Mask: Tuple3, Owner: 1, Port: 2})
	b, err := tab.AddBranch(0, trunk, []Pattern{pattern(0, "a")})
	if err != nil {
		t.Fatal(err)
	}
	five := []Pattern{pattern(0, "a"), pattern(1, "a"), pattern(2, "a"), pattern(3, "a"), pattern(4, "a")}
	for _, tt := range []struct {
		name  string
		trunk *Flow
		list  []Pattern
		want  error
	}{
		{"no pattern", trunk, nil, ErrInvalid},
		{"five patterns", trunk, five, ErrInvalid},
		{"four patterns", trunk, five[:4], nil},
		{"no bytes", trunk, []Pattern{pattern(0, "")}, ErrInvalid},
		{"33 bytes", trunk, []Pattern{{0, make([]byte, 33)}}, ErrInvalid},
		{"negative", trunk, []Pattern{pattern(-1, "a")}, ErrInvalid},
		{"beyond 1000", trunk, []Pattern{pattern(999, "ab")}, ErrInvalid},
		{"at 1000", trunk, []Pattern{pattern(998, "ab")}, nil},
		{"the same again", trunk, []Pattern{pattern(0, "a")}, ErrExists},
		{"of TCP", tcp, []Pattern{pattern(0, "a")}, ErrState},
		{"of a branch", b, []Pattern{pattern(0, "b")}, ErrState},
	} {
		if _, err := tab.AddBranch(0, tt.trunk, tt.list); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	for n := byte(0); ; n++ {
		if _, err = tab.AddBranch(0, trunk, []Pattern{{0, []byte{n, n}}}); err != nil {
			break
		}
	}
	if n := len(trunk.all()); !errors.Is(err, ErrOwnerLimit) || n != BranchesMax {
		t.Errorf("%d branches: %v", n, err)
	}
}

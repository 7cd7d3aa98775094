package steer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/packet"
)

func rule(t testing.TB, words string) Rule {
	t.Helper()
	r, err := Parse(strings.Fields(words), false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func key(proto uint8, local, remote string) packet.Key {
	l, r := netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote)
	k := packet.Key{Local: packet.Bytes(l.Addr()), Remote: packet.Bytes(r.Addr()), LocalPort: l.Port(), RemotePort: r.Port(), Proto: proto, Version: 6}
	if r.Addr().Is4() {
		k.Version = 4
	}
	return k
}

// TestRules looks flows up of both families: the most specific rule counts.
func TestRules(t *testing.T) {
	var rules Rules
	if rules.Class(key(17, "10.0.0.1:1", "10.0.0.2:2")) != 0 || rules.Generation() != 0 {
		t.Error("there are rules from the start")
	}
	for _, words := range []string{
		"to 0.0.0.0/0 class background",
		"to 10.0.0.0/8 class streaming",
		"to 10.1.0.0/16 class video",
		"to 10.1.0.0/16 ipproto udp class interactive",
		"to 10.1.0.0/16 ipproto udp dport 5000 class voice",
		"dport 22 class management",
		"sport 80 class best_effort",
		"to ::/0 dport 53 class low_latency",
		"from 2001:db8::1 class system",
		"to 2001:db8:7::/48 class control",
	} {
		if err := rules.Add(rule(t, words)); err != nil {
			t.Fatal(words, err)
		}
	}
	for _, tt := range []struct {
		k    packet.Key
		want string
	}{
		{key(6, "192.0.2.1:1", "11.0.0.1:9"), "background"},
		{key(6, "192.0.2.1:1", "10.2.0.1:9"), "streaming"},
		{key(6, "192.0.2.1:1", "10.1.2.1:9"), "video"},
		{key(17, "192.0.2.1:1", "10.1.2.1:9"), "interactive"},
		{key(17, "192.0.2.1:1", "10.1.2.1:5000"), "voice"},
		{key(6, "192.0.2.1:1", "10.1.2.1:5000"), "video"},
		{key(6, "192.0.2.1:1", "10.1.2.1:22"), "video"}, // a prefix says more than a port
		{key(6, "[2001:db8::2]:1", "[2001:db9::1]:22"), "management"},
		{key(6, "[2001:db8::2]:80", "[2001:db9::1]:7"), "best_effort"},
		{key(6, "[2001:db8::2]:80", "[2001:db9::1]:22"), "management"}, // the peer's port before one's own
		{key(17, "[2001:db8::2]:80", "[2001:db9::1]:53"), "low_latency"},
		{key(17, "[2001:db8::1]:80", "[2001:db9::1]:53"), "system"},
		{key(17, "[2001:db8::2]:80", "[2001:db8:7::9]:53"), "control"},
		{key(17, "[2001:db8::2]:8", "[2001:db9::9]:5"), ""},
	} {
		got := ""
		if c := rules.Class(tt.k); c > 0 {
			got = aqm.Class(c - 1).String()
		}
		if got != tt.want {
			t.Errorf("%v: %q, want %q", tt.k, got, tt.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { rules.Class(key(17, "10.0.0.1:1", "10.0.0.2:2")) }); n > 0 {
		t.Errorf("a lookup allocates %v times", n)
	}

	// Each rule that is read back is the same, and is deleted whatever its class.
	before := rules.Generation()
	for i, r := range rules.List() {
		if err := rules.Add(r); !errors.Is(err, ErrExists) {
			t.Errorf("%v again: %v", r, err)
		}
		again := rule(t, r.String())
		if again != r {
			t.Errorf("%v was read as %v", r, again)
		}
		again.Class = aqm.Class(i) % aqm.Classes
		if err := rules.Delete(again); err != nil {
			t.Errorf("%v: %v", again, err)
		}
		if err := rules.Delete(again); !errors.Is(err, ErrAbsent) {
			t.Errorf("%v again: %v", again, err)
		}
	}
	if rules.Generation() != before+10 || len(rules.List()) != 0 || rules.Class(key(6, "192.0.2.1:1", "10.1.2.1:22")) != 0 {
		t.Error("rules are left")
	}
}

// TestRuleLimits: there are 30 kinds of rules and 512 rules; one that goes makes room.
func TestRuleLimits(t *testing.T) {
	var rules Rules
	for n := range 30 {
		if err := rules.Add(rule(t, fmt.Sprintf("to 10.0.0.0/%d class voice", n+1))); err != nil {
			t.Fatal(n, err)
		}
	}
	if err := rules.Add(rule(t, "dport 1 class voice")); !errors.Is(err, ErrMasks) {
		t.Errorf("the 31st kind: %v", err)
	}
	for n := range 512 - 30 {
		if err := rules.Add(rule(t, fmt.Sprintf("to 11.%d.%d.0/24 class voice", n/256, n%256))); err != nil {
			t.Fatal(n, err)
		}
	}
	if err := rules.Add(rule(t, "to 12.0.0.0/24 class voice")); !errors.Is(err, ErrFull) {
		t.Errorf("the 513th: %v", err)
	}
	if err := rules.Delete(rule(t, "to 10.0.0.0/1 class voice")); err != nil {
		t.Fatal(err)
	}
	if err := rules.Add(rule(t, "dport 1 class voice")); err != nil {
		t.Errorf("in the place of one that has gone: %v", err)
	}
}

// TestRuleWords: what is wrong is said in one line.
func TestRuleWords(t *testing.T) {
	for words, want := range map[string]string{
		"":                                  "wants a class",
		"dport 80":                          "wants a class",
		"class voice":                       "an address or a port",
		"ipproto tcp class voice":           "an address or a port",
		"dport 0 class voice":               "no port",
		"dport 65536 class voice":           "no port",
		"sport x class voice":               "no port",
		"to 10.0.0.0/33 class voice":        "no address and no prefix",
		"to ::ffff:10.0.0.1 class voice":    "no address and no prefix",
		"to fe80::1%eth0 class voice":       "no address and no prefix",
		"from ::/0 to 10.0.0.1 class voice": "of one family",
		"dport 80 ipproto 0 class voice":    "no protocol",
		"dport 80 ipproto xtp class voice":  "no protocol",
		"dport 80 class fast":               "no class",
		"dport 80 dport 81 class voice":     "twice",
		"dport 80 class":                    "wants a value",
		"port 80 class voice":               "no word of a rule",
	} {
		_, err := Parse(strings.Fields(words), false)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", words, err, want)
		}
	}
	if r, err := Parse([]string{"dport", "80"}, true); err != nil || r.RemotePort != 80 {
		t.Errorf("without a class: %v, %v", r, err)
	}
}

// TestAgainstAll compares with a look at all rules one by one.
func TestAgainstAll(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var rules Rules
	address := func() netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(random.IntN(2)), byte(random.IntN(2)), byte(random.IntN(3))})
	}
	for range 200 {
		r := Rule{Class: aqm.Class(random.IntN(int(aqm.Classes)))}
		if random.IntN(2) == 0 {
			r.Remote = netip.PrefixFrom(address(), []int{8, 16, 24, 32}[random.IntN(4)])
		}
		if random.IntN(2) == 0 {
			r.RemotePort = uint16(1 + random.IntN(3))
		}
		if random.IntN(3) == 0 {
			r.Proto = []uint8{6, 17}[random.IntN(2)]
		}
		_ = rules.Add(r) // one that is wrong, or there
	}
	list := rules.List()
	if len(list) < 20 {
		t.Fatalf("%d rules", len(list))
	}
	for range 10_000 {
		k := key([]uint8{6, 17}[random.IntN(2)], netip.AddrPortFrom(address(), 7).String(), netip.AddrPortFrom(address(), uint16(1+random.IntN(4))).String())
		best, want := -1, uint32(0)
		for _, r := range list {
			remote := netip.AddrFrom16(k.Remote).Unmap()
			if r.Remote.IsValid() && !r.Remote.Contains(remote) || r.RemotePort != 0 && r.RemotePort != k.RemotePort || r.Proto != 0 && r.Proto != k.Proto {
				continue
			}
			weight := 0
			if r.Remote.IsValid() {
				weight += 97 + r.Remote.Bits()
			}
			if r.RemotePort != 0 {
				weight += 16
			}
			if r.Proto != 0 {
				weight += 8
			}
			if weight > best {
				best, want = weight, uint32(r.Class)+1
			}
		}
		if got := rules.Class(k); got != want {
			t.Fatalf("%v: %d, want %d", k, got, want)
		}
	}
}

package config

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

func TestParse(t *testing.T) {
	c, err := Parse(`
net 49.0001.0000.0000.0001.00
level 1-2
hostname r1
area-password md5:areapw
domain-password sha256:7:dom,md5:old
announce 10.9.0.0/24 2001:db8:9::/48
interface eth0 type p2p metric 100 gate relaxed,trust-hello hold 2s max-wait 60
interface eth1 priority 0 level 2 hello-interval 1 hello-multiplier 3 password clear:x
interface lan passive on ipv6 off
overload on
no announce 10.9.0.0/24
no hostname
no interface lan
`)
	if err != nil {
		t.Fatal(err)
	}
	i := c.Instance
	if i.System != (pdu.SystemID{5: 1}) || i.Areas[0] != "\x49\x00\x01" || i.Levels != 3 || i.Hostname != "" || !i.Overload || len(i.Prefixes) != 1 ||
		i.Keys[1][0].Algorithm != pdu.MD5 || len(i.Keys[2]) != 2 || i.Keys[2][0].ID != 7 || string(i.Keys[2][0].Secret) != "dom" {
		t.Errorf("%+v", i)
	}
	a, b := c.Interfaces["eth0"], c.Interfaces["eth1"]
	if a.Kind != isis.P2P || a.Metric != 100 || !a.Gate.Strict || !a.Gate.Relaxed || !a.Gate.TrustHello || a.Gate.Timed || a.Gate.Hold != 2*time.Second || a.Gate.MaxWait != time.Minute {
		t.Errorf("%+v", a)
	}
	if b.Kind != isis.LAN || b.Priority != -1 || b.Levels != 2 || b.HelloInterval != time.Second || b.HelloMultiplier != 3 || len(b.Keys) != 1 || !b.IPv4 || !b.IPv6 {
		t.Errorf("%+v", b)
	}
	if len(c.Interfaces) != 2 {
		t.Errorf("%v", c.Names())
	}
	d := c.Clone()
	if err := d.Apply([]string{"interface", "eth0", "metric", "7"}); err != nil || c.Interfaces["eth0"].Metric != 100 || d.Interfaces["eth0"].Metric != 7 || d.Interfaces["eth0"].Kind != isis.P2P {
		t.Errorf("a copy is none: %v", err)
	}
}

// TestStartOverload: no time is none, and not what it is at first.
func TestStartOverload(t *testing.T) {
	for value, want := range map[string]time.Duration{"off": -1, "0": -1, "0s": -1, "0ms": -1, "30": 30 * time.Second, "1h": time.Hour} {
		c, err := Parse("net 49.0001.0000.0000.0001.00\nstart-overload " + value)
		if err != nil || c.Instance.StartOverload != want {
			t.Errorf("%s: %v, %v, want %v", value, c.Instance.StartOverload, err, want)
		}
		if err := c.Apply([]string{"no", "start-overload"}); err != nil || c.Instance.StartOverload != 0 {
			t.Errorf("no %s: %v, %v", value, c.Instance.StartOverload, err)
		}
	}
}

func TestParseMistakes(t *testing.T) {
	const good = "net 49.0001.0000.0000.0001.00\n"
	for _, c := range []struct{ lines, want string }{
		{"", "no net"},
		{"net 49.0001.0000.0000.0001.01", "and 00"},
		{"net 49.0001.0000.0000.0000.00", "system ID 0"},
		{"net 0000.0000.0001.00", "an area"},
		{good + "nets", `unknown command "nets"`},
		{good + "level 3", "want 1, 2 or 1-2"},
		{good + "hostname", "0 values"},
		{good + "no", "no what"},
		{good + "no level 1", "want no level"},
		{good + "announce 10.0.0.1/8", "want a prefix"},
		{good + "announce fe80::/64", "want a prefix"},
		{good + "topology v6", "want ipv6-unicast"},
		{good + "overload yes", "want on or off"},
		{good + "area-password hush", "want clear:SECRET"},
		{good + "area-password sha256:hush", "sha256:NUMBER:SECRET"},
		{good + "area-password md5:" + strings.Repeat("x", 255), "254"},
		{good + "lsp-length 10", "512 to 1492"},
		{good + "ecmp 0", "1 to 16"},
		{good + "ecmp 17", "1 to 16"},
		{good + "interface", "without a name"},
		{good + "interface 0123456789abcdef", "longer than 15"},
		{good + "interface eth0 metrics 5", `unknown option "metrics"`},
		{good + "interface eth0 metric", "no value"},
		{good + "interface eth0 metric 0", "want a number from 1"},
		{good + "interface eth0 type ppp", "want lan or p2p"},
		{good + "interface eth0 gate off,strict", "want off, or of"},
		{good + "interface eth0 hold 1s", "not strict"},
		{good + "interface eth0 gate strict hold 100000", "want a time"},
		{good + "interface eth0 gate timed,trust-hello", "neither trusts"},
		{good + "interface eth0 ipv6 off gate strict", "one family"},
		{good + "no interface eth0", "those are"},
		{good + "level 1\ninterface eth0 level 2", "levels"},
	} {
		if _, err := Parse(c.lines); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q in it", c.lines, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("net 49.0001.0000.0000.0001.00\ninterface eth0 type p2p gate strict hold 15s password md5:x\nannounce 10.0.0.0/8")
	f.Fuzz(func(t *testing.T, lines string) {
		c, err := Parse(lines)
		if err == nil && c.Check() != nil {
			t.Errorf("%q is taken and then refused: %v", lines, c.Check())
		}
	})
}

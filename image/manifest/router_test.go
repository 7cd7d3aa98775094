package manifest

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/kernel/options"
	"github.com/sluice-os/sluice/kernel/route/isis/config"
)

func TestISIS(t *testing.T) {
	m, err := Parse([]byte(`
[nic.wan]
path = "00:03.0"
[router.isis]
net = "49.0001.0000.0000.0001.00"
level = "2"
hostname = "r1"
domain-password = "md5:dompw"
overload = true
announce = ["10.9.0.0/16", "2001:db8:9::/48"]
ecmp = 4
[router.isis.interface.eth0]
type = "p2p"
metric = 100
gate = "strict"
hold = "2s"
[router.isis.interface.wan]
passive = true
`), "x")
	if err != nil {
		t.Fatal(err)
	}
	want := `net 49.0001.0000.0000.0001.00
level 2
hostname r1
domain-password md5:dompw
overload on
ecmp 4
announce 10.9.0.0/16
announce 2001:db8:9::/48
interface eth0
interface eth0 type p2p
interface eth0 metric 100
interface eth0 gate strict
interface eth0 hold 2s
interface wan
interface wan passive on
`
	if m.ISIS != want {
		t.Errorf("%s", m.ISIS)
	}
	if _, err := config.Parse(m.ISIS); err != nil {
		t.Errorf("the kernel does not take it: %v", err)
	}
	if m, err := Parse([]byte(`board = "pc"`), "x"); err != nil || m.ISIS != "" {
		t.Errorf("%v %q", err, m.ISIS)
	}
}

func TestISISMistakes(t *testing.T) {
	const good = "[router.isis]\nnet = \"49.0001.0000.0000.0001.00\"\n"
	for _, c := range []struct{ text, want string }{
		{"[router.isis]\nlevel = \"2\"", "x:1: no net"},
		{"[router.ospf]\nx = 1", `x:1: unknown key "router.ospf": did you mean urpf?`},
		{"[router]\nisis = 1", `x:2: "router.isis" is of the wrong type: want a table: [router.isis]`},
		{"[router.isis]\nnet = \"49.0001.0000.0000.0001.01\"", "x:2: net"},
		{good + "levle = \"2\"", "x:3: unknown key \"router.isis.levle\": did you mean level?"},
		{good + "level = 2", "x:3: \"router.isis.level\" is of the wrong type: want a string"},
		{good + "level = \"3\"", "x:3: level \"3\": want 1, 2 or 1-2"},
		{good + "ecmp = 17", "x:3: \"17\": want a number from 1 to 16"},
		{good + "hostname = \"a b\"", "x:3: \"a b\" is empty or has a blank"},
		{good + "announce = [\"10.0.0.1/8\"]", "x:3: announce \"10.0.0.1/8\": want a prefix"},
		{good + "[router.isis.interface.foo]", "x:3: no network card is named \"foo\""},
		{good + "[router.isis.interface.eth0]\nmetric = 0", "x:4: interface eth0: metric \"0\": want a number from 1"},
		{good + "[router.isis.interface.eth0]\nmetrik = 1", "x:4: unknown key \"router.isis.interface.eth0.metrik\": did you mean metric?"},
		{good + "[router.isis.interface.eth0]\nmetric = \"1\"", "x:4: \"router.isis.interface.eth0.metric\" is of the wrong type: want a whole number"},
		{good + "[router.isis.interface.eth0]\ngate = \"open\"", "x:4: interface eth0: gate \"open\": want off"},
		// What does not go together is a mistake of the interface, the others of which are right or have
		// one of their own.
		{good + "[router.isis.interface.eth0]\nhold = \"2s\"", "x:3: circuit eth0: gate: configuration makes no sense: options of a strict gate that is not strict"},
		{good + "[router.isis.interface.eth0]\n[router.isis.interface.eth1]\ngate = \"strict\"\nipv6 = false", "x:4: configuration makes no sense: circuit eth1: a strict gate on a circuit of one family"},
		{good + "level = \"1\"\n[router.isis.interface.eth0]\nlevel = \"2\"\n[router.isis.interface.eth1]\nlevel = \"2\"", "x:4: configuration makes no sense: circuit eth0: levels"},
		{good + "level = \"1\"\n[router.isis.interface.eth0]\nlevel = \"2\"\n[router.isis.interface.eth1]\nlevel = \"2\"", "x:6: configuration makes no sense: circuit eth1: levels"},
	} {
		_, err := Parse([]byte(c.text), "x")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q in it", c.text, err, c.want)
		}
	}
}

func TestRouter(t *testing.T) {
	m, err := Parse([]byte(`
[router]
forward = true
urpf = "strict"
routes = ["default via 192.0.2.1", "2001:db8::/32 via fe80::1 dev eth1"]
`), "x")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"forward=on", "urpf=strict", "route=0.0.0.0/0,via=192.0.2.1", "route=2001:db8::/32,via=fe80::1,dev=eth1"}
	if !slices.Equal(m.Options, want) {
		t.Errorf("%q, want %q", m.Options, want)
	}
	o, problems := options.Parse(strings.Join(m.Options, " "))
	if len(problems) != 0 || !o.Forward || o.ReversePath != "strict" || len(o.Routes) != 2 {
		t.Errorf("the kernel takes %+v: %q", o, problems)
	}
	for text, want := range map[string]string{
		`forward = "yes"`:         `x:2: "router.forward" is of the wrong type: want true or false`,
		`urpf = "mostly"`:         `x:2: "urpf=mostly": want off, loose or strict`,
		`routes = ["10.0.0.0/8"]`: `x:2: the route "10.0.0.0/8": no neighbour: want PREFIX via ADDRESS [dev NAME]`,
		`forwards = true`:         `x:2: unknown key "router.forwards": did you mean forward?`,
	} {
		if _, err := Parse([]byte("[router]\n"+text), "x"); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

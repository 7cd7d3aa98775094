package manifest

import (
	"reflect"
	"strings"
	"testing"
)

func TestNICs(t *testing.T) {
	m, err := Parse([]byte(`
[host]
ip6 = "off"

[nic.wan]
path = "00:03.0"
ip = "192.0.2.5/24"
gw = "192.0.2.1"
dns = ["192.0.2.2"]

[nic.eth1]
ip6 = "off"

[domain.a]
package = "./a"
listen = ["tcp/80"]

[domain.b]
package = "./b"
nic = "wan"
listen = ["tcp/80"]

[domain.c]
package = "./c"
nic = "eth1"
listen = ["tcp/80"]
`), FileName)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ip6=off", "nic=wan@00:03.0", "ip.wan=192.0.2.5/24,gw=192.0.2.1,dns=192.0.2.2", "ip6.eth1=off"}
	if !reflect.DeepEqual(m.Options, want) {
		t.Errorf("options %q, want %q", m.Options, want)
	}
	if m.Domains[0].NIC != "" || m.Domains[1].NIC != "wan" || m.Domains[2].NIC != "eth1" {
		t.Errorf("domains %+v", m.Domains)
	}
}

func TestNICMistakes(t *testing.T) {
	const a = "[domain.a]\npackage = \"./a\"\nlisten = [\"tcp/80\"]\n"
	for _, c := range []struct{ text, want string }{
		{"[nic.Wan]", `1: the network card "Wan": want a letter`},
		{"[nic.lo]", `1: the network card "lo"`},
		{"nic = 3", `1: "nic" is of the wrong type: want a table: [nic.NAME]`},
		{"[nic]\nwan = 3", `2: "nic.wan" is of the wrong type: want a table: [nic.NAME]`},
		{"[nic.wan]\npath = 3", `2: "nic.wan.path" is of the wrong type: want a string`},
		{"[nic.wan]\npath = \"slot 3\"", `2: "nic=wan@slot 3" has a blank`},
		{"[nic.wan]\npath = \"slot3\"", `2: "nic=wan@slot3": want NAME@PATH`},
		{"[nic.wan]\nip = \"192.0.2.0/24\"", `2: "ip.wan=192.0.2.0/24"`},
		{"[nic.wan]\ngw = \"192.0.2.1\"", `1: gw and dns without an address`},
		{"[nic.wan]\nadress = \"x\"", `2: unknown key "nic.wan.adress"`},
		{"[nic.wan]\npath = \"00:03.0\"\n[nic.lan]\npath = \"00:03.0\"", `4: the cards wan and lan are both at 00:03.0`},
		{"[nic.a]\n[nic.b]\n[nic.c]\n[nic.d]\n[nic.e]\n[nic.f]\n[nic.g]\n[nic.h]\n[nic.i]", `9: 9 network cards: want 8 at most`},
		{a + "nic = \"wan\"", `4: no network card is named "wan": want eth0, eth1 or the NAME`},
		{a + "nic = 1", `4: "domain.a.nic" is of the wrong type`},
		{a + "[domain.b]\npackage = \"./b\"\nnic = \"eth0\"\nlisten = [\"tcp/80\"]", `7: domains a and b both listen on tcp/80`},
	} {
		_, err := Parse([]byte(c.text), FileName)
		if err == nil || !strings.Contains(err.Error(), FileName+":"+c.want) || strings.Count(err.Error(), "\n") != 0 {
			t.Errorf("%q: got %v, want one line with %q", c.text, err, c.want)
		}
	}
}

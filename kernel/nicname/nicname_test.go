package nicname

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/kernel/options"
)

func TestAssign(t *testing.T) {
	pci := []string{"pci 00:04.0", "pci 00:02.0", "pci 01:00.0", "pci 00:03.1"}
	for _, c := range []struct {
		name     string
		places   []string
		line     string
		want     string // name=place, in order
		problems []string
	}{
		{"none", nil, "", "", nil},
		{"one", pci[:1], "", "eth0=pci 00:04.0", nil},
		{"by place", pci, "", "eth0=pci 00:02.0 eth1=pci 00:03.1 eth2=pci 00:04.0 eth3=pci 01:00.0", nil},
		{"mmio", []string{"mmio@feb02e00", "mmio@feb02c00"}, "nic=lan@feb02c00", "lan=mmio@feb02c00 eth0=mmio@feb02e00", nil},
		{"named", pci, "nic=wan@01:00.0 nic=lan@00:03.1 ip.eth1=dhcp", "eth0=pci 00:02.0 lan=pci 00:03.1 eth1=pci 00:04.0 wan=pci 01:00.0", nil},
		{"a number is taken", pci[:3], "nic=eth0@01:00.0", "eth1=pci 00:02.0 eth2=pci 00:04.0 eth0=pci 01:00.0", nil},
		{"its card is not there", pci[:2], "nic=eth0@00:09.0", "eth1=pci 00:02.0 eth2=pci 00:04.0",
			[]string{"no network card at 00:09.0, which is to be eth0: the cards are at 00:02.0, 00:04.0"}},
		{"nobody's address", pci[:1], "ip.wan=dhcp", "eth0=pci 00:04.0", []string{"no network card is named wan: the cards are eth0"}},
		{"no card at all", nil, "nic=wan@00:02.0", "", []string{"no network card at 00:02.0, which is to be wan: the cards are at none"}},
	} {
		o, bad := options.Parse(c.line)
		if len(bad) > 0 {
			t.Fatal(bad)
		}
		// The order in which cards are found makes no difference.
		for range len(c.places) + 1 {
			cards, problems := Assign(c.places, o.NICs)
			var got []string
			for _, card := range cards {
				got = append(got, fmt.Sprintf("%s=%s", card.Name, c.places[card.At]))
			}
			if strings.Join(got, " ") != c.want || !slices.Equal(problems, c.problems) {
				t.Errorf("%s: %q, %q\nwant %q, %q", c.name, got, problems, c.want, c.problems)
			}
			if len(c.places) > 0 {
				c.places = append(c.places[1:len(c.places):len(c.places)], c.places[0])
			}
		}
	}
}

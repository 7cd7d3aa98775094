package suites

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/manifest"
	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
)

// wanManifest names a card by its place and gives it addresses.
const wanManifest = `
board = "pc"

[nic.wan]
path = "00:06.0"
ip = "192.0.2.15/24"
ip6 = "off"
`

// imageOf builds what a manifest says, with programs.
func imageOf(t *testing.T, text string, programs ...build.Program) string {
	t.Helper()
	m, err := manifest.Parse([]byte(text), manifest.FileName)
	if err != nil {
		t.Fatal(err)
	}
	var o build.Options
	if err := o.Use(m, "."); err != nil {
		t.Fatal(err)
	}
	o.Domains, o.Memory = append(o.Domains, programs...), 0
	return qemutest.BuildOptions(t, o)
}

// TestSeveralCards boots machines with two cards: each has its name by its place, its
// addresses, its stack and its domain, on the same port as the other's. Both move 20 MiB at
// a time. The cable of one is no matter of the other.
func TestSeveralCards(t *testing.T) {
	for _, c := range []struct {
		machine, card string
		second        qemu.Card
		manifest      string
		options       string
		names         [2]string
		places        [2]string
		peer          qemutest.PeerConfig // of the second
		host          string              // the second's address
	}{
		{
			// Slots 2 and 6 share an interrupt line.
			machine: "pc", card: "e1000", second: qemu.Card{Model: "e1000", Options: "addr=0x6"},
			manifest: wanManifest,
			names:    [2]string{"eth0", "wan"}, places: [2]string{"pci 00:02.0", "pci 00:06.0"},
			peer: qemutest.PeerConfig{Address4: netip.MustParsePrefix("192.0.2.2/24"), NoDHCP: true}, host: "192.0.2.15",
		},
		{
			// A number that a place has, and the same address on both.
			machine: "q35", card: "e1000e", second: qemu.Card{Options: "addr=0x5"},
			options: "nic=eth0@00:05.0",
			names:   [2]string{"eth1", "eth0"}, places: [2]string{"pci 00:01.0", "pci 00:05.0"},
			host: "10.0.2.15",
		},
		{
			// QEMU begins with the last of its places.
			machine: "microvm", card: qemu.CardVirtIO,
			names: [2]string{"eth1", "eth0"}, places: [2]string{"mmio@feb02e00", "mmio@feb02c00"},
			host: "10.0.2.15",
		},
	} {
		t.Run(c.machine, func(t *testing.T) {
			a := serverDomain(t, "one", []string{"tcp/80"}, nil, "http/80")
			b := serverDomain(t, "two", []string{"tcp/80"}, nil, "http/80")
			a.NIC, b.NIC = c.names[0], c.names[1]
			config := qemutest.Config{
				Machine: c.machine, Card: c.card, Memory: 384, Append: c.options, Net: qemutest.RawWire,
				More: []qemu.Card{c.second},
			}
			if c.manifest != "" {
				config.Image = imageOf(t, c.manifest, a, b)
			} else {
				config.Image = imageWith(t, qemu.Machines[c.machine], a, b)
			}
			vm := start(t, config)
			peers := [2]*qemutest.Peer{vm.Peer(t, qemutest.PeerConfig{}), vm.PeerOf(t, 1, c.peer)}
			hosts := [2]netip.Addr{peers[0].Address4(), netip.MustParseAddr(c.host)}
			vm.Seen(t, "one: serving")
			vm.Seen(t, "two: serving")
			for i, name := range c.names {
				vm.Times(t, 0, fmt.Sprintf(`network interface name=%s driver=\S+ at="?%s"?`, name, c.places[i]), 1)
				peers[i].Ping(t, hosts[i])
			}
			link := vm.Command(t, "ip link")
			for i, name := range c.names {
				if !strings.Contains(link, ": "+name+": <") || !strings.Contains(link, "at "+c.places[i]) {
					t.Errorf("ip link does not show %s at %s:\n%s", name, c.places[i], link)
				}
			}
			if text := vm.Command(t, "ip addr"); strings.Count(text, "inet 127.0.0.1/8") != 1 || strings.Count(text, hosts[1].String()+"/24") < 1 {
				t.Errorf("ip addr prints\n%s", text)
			}

			// What the second domain serves leaves in another class, by a rule of its card.
			if text := vm.Command(t, "rules add dev "+c.names[1]+" ipproto tcp sport 80 class video"); text != "" {
				t.Errorf("rules add printed %q", text)
			}
			if text := vm.Command(t, "rules -j"); !strings.Contains(text, `[{"dev":"`+c.names[1]+`","rule":"ipproto tcp sport 80 class video"}]`) {
				t.Errorf("rules printed %q", text)
			}
			var both sync.WaitGroup
			for i, p := range peers {
				both.Go(func() {
					takes(t, p.HTTP(), url(hosts[i], fmt.Sprintf("/bytes/%d", transferSize)))
					gives(t, p.HTTP(), url(hosts[i], "/sum"))
				})
			}
			both.Wait()
			vm.SetLinkOf(t, 1, false)
			vm.Expect(t, "link down name="+c.names[1])
			if got := helloFrom(t, peers[0].HTTP(), hosts[0]); got != "hello\n" {
				t.Errorf("/hello is %q while the other cable is out", got)
			}
			vm.SetLinkOf(t, 1, true)
			vm.Expect(t, "link up name="+c.names[1])
			peers[1].Ping(t, hosts[1])
			if got := helloFrom(t, peers[1].HTTP(), hosts[1]); got != "hello\n" {
				t.Errorf("/hello is %q when the cable is in again", got)
			}
			pings(t, vm, strings.Replace(hosts[1].String(), ".15", ".2", 1))
			powerOff(t, vm)
		})
	}
}

// TestNamedCardStays boots the machine of TestSeveralCards whose second card has a name, without
// the first one: the name is that of the place, with its addresses and its domain, by the manifest
// and by the command line, which wins. The domain of the card that is gone is told in a line.
func TestNamedCardStays(t *testing.T) {
	a := serverDomain(t, "one", []string{"tcp/80"}, nil, "http/80")
	b := serverDomain(t, "two", []string{"tcp/80"}, nil, "http/80")
	a.NIC, b.NIC = "eth0", "wan"
	named, bare := imageOf(t, wanManifest, a, b), imageWith(t, "pc", a, b)
	for _, c := range []struct{ name, image, options, host string }{
		{"manifest", named, "", "192.0.2.15"},
		{"command line", bare, "nic=wan@00:06.0 ip.wan=192.0.2.16/24 ip6.wan=off", "192.0.2.16"},
		{"both", named, "ip.wan=192.0.2.17/24", "192.0.2.17"},
	} {
		t.Run(c.name, func(t *testing.T) {
			vm := start(t, qemutest.Config{
				Machine: "pc", Card: "e1000", CardOptions: "addr=0x6", Memory: 384, Net: qemutest.RawWire,
				Image: c.image, Append: c.options,
			})
			peer := vm.Peer(t, qemutest.PeerConfig{Address4: netip.MustParsePrefix("192.0.2.2/24"), NoDHCP: true})
			vm.ExpectRegexp(t, `network interface name=wan driver=e1000 at="pci 00:06.0"`)
			vm.Seen(t, "a domain has no network: no card of that name works domain=one nic=eth0")
			vm.Seen(t, "two: serving")
			host := netip.MustParseAddr(c.host)
			peer.Ping(t, host)
			if got := helloFrom(t, peer.HTTP(), host); got != "hello\n" {
				t.Errorf("/hello is %q", got)
			}
			if text := vm.Command(t, "ip addr"); !strings.Contains(text, ": wan: <") || strings.Contains(text, "eth0") || !strings.Contains(text, "inet "+c.host+"/24") {
				t.Errorf("ip addr prints\n%s", text)
			}
			powerOff(t, vm)
		})
	}
}

func helloFrom(t *testing.T, client *http.Client, host netip.Addr) string {
	t.Helper()
	return get(t, client, url(host, "/hello"))
}

// TestCardsThatAreNotThere: a name without a card, a domain on it, and a card that the
// machine has no memory for are told in a line each, and the rest works.
func TestCardsThatAreNotThere(t *testing.T) {
	a := serverDomain(t, "one", []string{"tcp/80"}, nil, "http/80")
	b := serverDomain(t, "two", nil, nil)
	b.NIC = "wan"
	vm, peer := startWithPeer(t, qemutest.Config{
		Machine: "q35", Memory: 160, Image: imageWith(t, "pc", a, b), Append: "nic=wan@00:09.0 ip.lan=dhcp",
		More: []qemu.Card{{}},
	})
	for _, want := range []string{
		`kernel option ignored problem="no network card at 00:09.0, which is to be wan: the cards are at 00:01.0, 00:02.0"`,
		`kernel option ignored problem="no network card is named lan: the cards are eth0, eth1"`,
		`no network name=eth1 at="pci 00:02.0" reason="the machine has no memory for another network: give it more, or fewer cards"`,
		`a domain has no network: no card of that name works domain=two nic=wan`,
		"one: serving", "two: serving",
	} {
		vm.Seen(t, want)
	}
	if got := helloFrom(t, peer.HTTP(), peer.Address4()); got != "hello\n" {
		t.Errorf("/hello is %q", got)
	}
	powerOff(t, vm)
}

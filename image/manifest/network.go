package manifest

// The machine's network cards: [host] for the first, [nic.NAME] for each.

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/sluice-os/sluice/kernel/options"
)

// host turns the table into kernel options, which the kernel's own parser checks.
func (c *checker) host(h *hostTable) []string {
	at := []string{"host"}
	words := c.addresses(at, "", h.IP, h.GW, h.DNS, h.IP6)
	if h.Qdisc != "" {
		words = append(words, "qdisc="+h.Qdisc)
	}
	return c.words(at, words)
}

// nics does so with the tables of the cards.
func (c *checker) nics(tables map[string]*nicTable) (words []string) {
	names := slices.SortedFunc(maps.Keys(tables), func(a, b string) int {
		return cmp.Compare(c.lines["nic\x00"+a], c.lines["nic\x00"+b])
	})
	if len(names) > options.NICsMax {
		c.report([]string{"nic", names[options.NICsMax]}, "%d network cards: want %d at most", len(names), options.NICsMax)
		names = names[:options.NICsMax]
	}
	paths := map[string]string{}
	for _, name := range names {
		at := []string{"nic", name}
		if !options.ValidNIC(name) {
			c.report(at, "the network card %q: want a letter, then letters, digits and -, all small, %d at most", name, options.NICNameMax)
			continue
		}
		t := tables[name]
		if t == nil { // an empty one
			t = &nicTable{}
		}
		var own []string
		if t.Path != "" {
			if other := paths[t.Path]; other != "" {
				c.report(append(at, "path"), "the cards %s and %s are both at %s", other, name, t.Path)
			}
			paths[t.Path] = name
			own = append(own, "nic="+name+"@"+t.Path)
		}
		words = append(words, c.words(at, append(own, c.addresses(at, "."+name, t.IP, t.GW, t.DNS, t.IP6)...))...)
	}
	return words
}

// addresses makes options of a card's addresses.
func (c *checker) addresses(at []string, suffix, ip, gw string, dns []string, ip6 string) (words []string) {
	if ip != "" {
		word := "ip" + suffix + "=" + ip
		if gw != "" {
			word += ",gw=" + gw
		}
		for _, d := range dns {
			word += ",dns=" + d
		}
		words = append(words, word)
	} else if gw != "" || len(dns) > 0 {
		c.report(at, "gw and dns without an address: want ip = \"ADDRESS/PREFIX\" too")
	}
	if ip6 != "" {
		words = append(words, "ip6"+suffix+"="+ip6)
	}
	return words
}

// words checks kernel options of a table.
func (c *checker) words(at, words []string) []string {
	for _, word := range words {
		key, _, _ := strings.Cut(word, "=")
		key, _, _ = strings.Cut(key, ".")
		if key == "nic" {
			key = "path"
		}
		place := append(slices.Clone(at), key)
		if strings.ContainsAny(word, " \t\n") {
			c.report(place, "%q has a blank in it: want none", word)
		} else if _, problems := options.Parse(word); len(problems) > 0 {
			c.report(place, "%s", problems[0])
		}
	}
	return words
}

// kernelName is the name of a card that has none in the manifest.
var kernelName = regexp.MustCompile(`^eth[0-9]+$`)

// card checks the card that a domain is on.
func (c *checker) card(doc *document, d *Domain) {
	if _, ok := doc.NIC[d.NIC]; d.NIC == "" || ok || kernelName.MatchString(d.NIC) {
		return
	}
	c.report([]string{"domain", d.Name, "nic"}, "no network card is named %q: want eth0, eth1 or the NAME of a table [nic.NAME]", d.NIC)
}

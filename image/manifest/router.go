package manifest

// What the machine routes by: [router], which becomes kernel options, and [router.isis], which becomes
// lines of package config of IS-IS.

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-os/sluice/kernel/options"
	"github.com/sluice-os/sluice/kernel/route/isis/config"
)

type routerTable struct {
	// Forward has packets pass from card to card, URPF says how their sources are checked, and
	// Routes are static routes in the words of "ip route".
	Forward *bool      `toml:"forward"`
	URPF    string     `toml:"urpf"`
	Routes  []string   `toml:"routes"`
	ISIS    *isisTable `toml:"isis"`
}

// router turns the table into kernel options, which the kernel's own parser checks.
func (c *checker) router(t *routerTable) (words []string) {
	if t == nil {
		return nil
	}
	at := []string{"router"}
	if t.Forward != nil {
		words = append(words, "forward="+word(t.Forward))
	}
	if t.URPF != "" {
		words = append(words, "urpf="+t.URPF)
	}
	words = c.words(at, words)
	if len(t.Routes) > options.RoutesMax {
		c.report([]string{"router", "routes"}, "%d routes: want %d at most", len(t.Routes), options.RoutesMax)
		return words
	}
	for _, text := range t.Routes {
		r, err := options.ParseRoute(strings.Fields(text), true)
		if err != nil {
			c.report([]string{"router", "routes"}, "the route %q: %v", text, err)
			continue
		}
		words = append(words, "route="+r.Option())
	}
	return words
}

type isisTable struct {
	Net            string   `toml:"net"`
	Level          string   `toml:"level"`
	Hostname       string   `toml:"hostname"`
	AreaPassword   string   `toml:"area-password"`
	DomainPassword string   `toml:"domain-password"`
	Topology       string   `toml:"topology"`
	Overload       *bool    `toml:"overload"`
	StartOverload  string   `toml:"start-overload"`
	Announce       []string `toml:"announce"`
	Leak           *bool    `toml:"leak"`
	LSPLength      *int     `toml:"lsp-length"`
	ECMP           *int     `toml:"ecmp"`
	// Interface has pointers for the reason that document has them.
	Interface map[string]*isisInterface `toml:"interface"`
}

type isisInterface struct {
	Type            string `toml:"type"`
	Level           string `toml:"level"`
	Metric          *int   `toml:"metric"`
	Priority        *int   `toml:"priority"`
	Passive         *bool  `toml:"passive"`
	IPv4            *bool  `toml:"ipv4"`
	IPv6            *bool  `toml:"ipv6"`
	Padding         *bool  `toml:"padding"`
	ThreeWay        *bool  `toml:"three-way"`
	HelloInterval   string `toml:"hello-interval"`
	HelloMultiplier *int   `toml:"hello-multiplier"`
	Password        string `toml:"password"`
	Gate            string `toml:"gate"`
	Hold            string `toml:"hold"`
	MaxWait         string `toml:"max-wait"`
}

// word is a value as a command has it; "" for one that is not there.
func word(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case *bool:
		if v != nil {
			return map[bool]string{true: "on", false: "off"}[*v]
		}
	case *int:
		if v != nil {
			return fmt.Sprint(*v)
		}
	}
	return ""
}

// isis makes lines of the table, and has the kernel's own parser check them.
func (c *checker) isis(doc *document) (lines string) {
	if doc.Router == nil || doc.Router.ISIS == nil {
		return ""
	}
	t, x := doc.Router.ISIS, config.New()
	before := len(c.mistakes)
	apply := func(at []string, words ...string) {
		for _, w := range words {
			if w == "" || strings.ContainsAny(w, " \t\r\n") {
				c.report(at, "%q is empty or has a blank in it: want one word", w)
				return
			}
		}
		if err := x.Apply(words); err != nil {
			c.report(at, "%s", strings.TrimPrefix(err.Error(), "isis: "))
			return
		}
		lines += strings.Join(words, " ") + "\n"
	}
	top := []string{"router", "isis"}
	for _, p := range []struct {
		key   string
		value any
	}{
		{"net", t.Net}, {"level", t.Level}, {"hostname", t.Hostname}, {"area-password", t.AreaPassword}, {"domain-password", t.DomainPassword},
		{"topology", t.Topology}, {"overload", t.Overload}, {"start-overload", t.StartOverload}, {"leak", t.Leak}, {"lsp-length", t.LSPLength}, {"ecmp", t.ECMP},
	} {
		if v := word(p.value); v != "" {
			apply(append(slices.Clone(top), p.key), p.key, v)
		}
	}
	for _, p := range t.Announce {
		apply(append(slices.Clone(top), "announce"), "announce", p)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Interface)) {
		at := append(slices.Clone(top), "interface", name)
		if _, ok := doc.NIC[name]; !ok && !kernelName.MatchString(name) {
			c.report(at, "no network card is named %q: want eth0, eth1 or the NAME of a table [nic.NAME]", name)
			continue
		}
		apply(at, "interface", name)
		i := t.Interface[name]
		if i == nil { // an empty one
			continue
		}
		for _, p := range []struct {
			key   string
			value any
		}{
			{"type", i.Type}, {"level", i.Level}, {"metric", i.Metric}, {"priority", i.Priority}, {"passive", i.Passive}, {"ipv4", i.IPv4}, {"ipv6", i.IPv6},
			{"padding", i.Padding}, {"three-way", i.ThreeWay}, {"hello-interval", i.HelloInterval}, {"hello-multiplier", i.HelloMultiplier},
			{"password", i.Password}, {"gate", i.Gate}, {"hold", i.Hold}, {"max-wait", i.MaxWait},
		} {
			if v := word(p.value); v != "" {
				apply(append(slices.Clone(at), p.key), "interface", name, p.key, v)
			}
		}
	}
	if len(c.mistakes) > before {
		return lines
	}
	interfaces, whole := x.Mistakes()
	if whole != nil {
		c.report(top, "%s", strings.TrimPrefix(whole.Error(), "isis: "))
	}
	for _, name := range slices.Sorted(maps.Keys(interfaces)) {
		c.report(append(slices.Clone(top), "interface", name), "%s", strings.TrimPrefix(interfaces[name].Error(), "isis: "))
	}
	return lines
}

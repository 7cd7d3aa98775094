package manifest

import (
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// index finds the line of each key of a text, and values of the wrong type.
func (c *checker) index(text []byte) {
	p := unstable.Parser{}
	p.Reset(text)
	var table []string
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.ArrayTable:
			table = c.note(&p, nil, e.Key())
			c.kind(c.last, table, unstable.Array, e)
		case unstable.Table:
			table = c.note(&p, nil, e.Key())
			c.kind(c.last, table, unstable.InlineTable, e)
			if name := strings.Join(table, "\x00"); c.tables[name] {
				c.again()
			} else {
				c.tables[name] = true
			}
		case unstable.KeyValue:
			c.value(&p, table, e)
		}
	}
}

// value notes a key and, where its value is a table in braces, those in it.
func (c *checker) value(p *unstable.Parser, table []string, e *unstable.Node) {
	path := c.note(p, table, e.Key())
	if name := strings.Join(path, "\x00"); c.values[name] {
		c.again()
	} else {
		c.values[name] = true
	}
	v := e.Value()
	c.kind(c.last, path, v.Kind, v)
	if v.Kind == unstable.InlineTable {
		for it := v.Children(); it.Next(); {
			c.value(p, path, it.Node())
		}
	}
}

// again notes where the first key or table is that was there already.
func (c *checker) again() {
	if c.twice == 0 {
		c.twice = c.last
	}
}

// note notes the line of a key below a table, and of the tables that it names.
func (c *checker) note(p *unstable.Parser, table []string, key unstable.Iterator) []string {
	path := slices.Clone(table)
	for key.Next() {
		if len(path) > len(table) {
			c.kind(c.last, path, unstable.InlineTable, nil) // one with keys is a table
		}
		path = append(path, string(key.Node().Data))
		c.last = p.Shape(key.Node().Raw).Start.Line
		name := strings.Join(path, "\x00")
		if _, ok := c.lines[name]; !ok {
			c.lines[name] = c.last
		}
	}
	return path
}

// known are the keys by table.
var known = map[string][]string{
	"":       {"board", "memory", "host", "nic", "domain", "router"},
	"host":   {"ip", "gw", "dns", "ip6", "qdisc"},
	"nic":    {"path", "ip", "gw", "dns", "ip6"},
	"domain": {"package", "args", "env", "memory", "weight", "cap", "restart", "backoff", "backoff-max", "files", "nic", "listen", "connect", "pipes", "link", "rate", "observe", "pinned", "start"},
	"router": {"forward", "urpf", "routes", "isis"},
}

// knownISIS and knownInterface are those of [router.isis] and of its interfaces.
var (
	knownISIS = []string{"net", "level", "hostname", "area-password", "domain-password", "topology", "overload", "start-overload", "announce",
		"leak", "lsp-length", "ecmp", "interface"}
	knownInterface = []string{"type", "level", "metric", "priority", "passive", "ipv4", "ipv6", "padding", "three-way", "hello-interval",
		"hello-multiplier", "password", "gate", "hold", "max-wait"}
)

// nearest says which key may have been meant.
func nearest(key []string) string {
	table, word := "", key[0]
	if len(key) > 1 && known[key[0]] != nil {
		table, word = key[0], key[len(key)-1]
	}
	names := known[table]
	if table == "router" && len(key) > 2 && key[1] == "isis" {
		names = knownISIS
		if len(key) > 4 && key[2] == "interface" {
			names = knownInterface
		}
	}
	best, distance := "", 3 // two letters wrong at most
	for _, n := range names {
		if d := letters(n, word); d < distance {
			best, distance = n, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "want one of " + strings.Join(names, ", ")
}

// letters is the edit distance of two words (Levenshtein).
func letters(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := last
			if a[i] != b[j] {
				change++
			}
			last = row[j+1]
			row[j+1] = min(change, row[j]+1, last+1)
		}
	}
	return row[len(b)]
}

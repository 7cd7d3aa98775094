package manifest

import (
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// shape is what a value has to be. The library would name Go's types, and some
// mistakes without their line.
type shape struct {
	kind unstable.Kind
	like string
}

var (
	text  = shape{unstable.String, `a string in quotes`}
	texts = shape{unstable.Array, `a list of strings, as ["a", "b"]`}
	table = shape{unstable.InlineTable, `a table, as { KEY = "VALUE" }`}
	whole = shape{unstable.Integer, `a whole number`}
	truth = shape{unstable.Bool, `true or false`}
)

var shapes = map[string]shape{
	"board": text, "memory": text,
	"host": {unstable.InlineTable, `a table: [host]`},
	"nic":  {unstable.InlineTable, `a table: [nic.NAME]`},

	"router":  {unstable.InlineTable, `a table: [router]`},
	"forward": truth, "urpf": text, "routes": texts,
	"path": text, "ip": text, "gw": text, "dns": texts, "ip6": text, "qdisc": text,
	"package": text, "args": texts, "env": table, "weight": whole,
	"cap": text, "restart": text, "backoff": text, "backoff-max": text,
	"files": table, "listen": texts, "connect": texts, "pipes": texts, "link": texts,
	"rate": text, "observe": truth, "pinned": truth, "start": truth,
}

// shapeOf says what the value at a path has to be; false for a key that is not
// known, which is told elsewhere.
func shapeOf(path []string) (shape, bool) {
	known := func(table string, key string) (shape, bool) {
		for _, k := range known[table] {
			if k == key {
				return shapes[key], true
			}
		}
		return shape{}, false
	}
	switch {
	case path[0] == "nic" && len(path) == 2:
		return shape{unstable.InlineTable, `a table: [nic.NAME]`}, true
	case path[0] == "nic" && len(path) == 3:
		return known("nic", path[2])
	case path[0] == "domain" && len(path) == 3 && path[2] == "nic":
		return text, true
	case path[0] == "domain" && len(path) <= 2:
		return shape{unstable.InlineTable, `a table: [domain.NAME]`}, true
	case len(path) == 1:
		return known("", path[0])
	case path[0] == "router" && len(path) == 2 && path[1] != "isis":
		return known("router", path[1])
	case path[0] == "router" && len(path) >= 2 && path[1] == "isis":
		return shapeOfISIS(path[2:])
	case path[0] == "host" && len(path) == 2:
		return known("host", path[1])
	case path[0] == "domain" && len(path) == 3:
		return known("domain", path[2])
	case path[0] == "domain" && len(path) == 4 && (path[2] == "env" || path[2] == "files"):
		return text, true
	}
	return shape{}, false
}

// shapeOfISIS does so below [router.isis].
func shapeOfISIS(path []string) (shape, bool) {
	switch {
	case len(path) == 0:
		return shape{unstable.InlineTable, `a table: [router.isis]`}, true
	case path[0] == "interface" && len(path) <= 2:
		return shape{unstable.InlineTable, `a table: [router.isis.interface.NAME]`}, true
	case path[0] == "interface" && len(path) == 3 && slices.Contains(knownInterface, path[2]):
		return shapesISIS(path[2]), true
	case len(path) == 1 && slices.Contains(knownISIS, path[0]):
		return shapesISIS(path[0]), true
	}
	return shape{}, false
}

// shapesISIS are those of its keys: most are strings.
func shapesISIS(key string) shape {
	switch key {
	case "announce":
		return texts
	case "metric", "priority", "hello-multiplier", "lsp-length", "ecmp":
		return whole
	case "overload", "leak", "passive", "ipv4", "ipv6", "padding", "three-way":
		return truth
	}
	return text
}

// kind reports a value that is not what its key wants.
func (c *checker) kind(line int, path []string, kind unstable.Kind, v *unstable.Node) {
	want, ok := shapeOf(path)
	if !ok {
		return
	}
	good := kind == want.kind
	if good && kind == unstable.Array {
		for it := v.Children(); it.Next(); {
			good = good && it.Node().Kind == unstable.String
		}
	}
	if !good {
		c.wrongType = true
		c.reportLine(line, "%q is of the wrong type: want %s", strings.Join(path, "."), want.like)
	}
}

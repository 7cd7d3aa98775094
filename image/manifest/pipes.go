package manifest

import (
	"maps"
	"slices"

	"github.com/sluice-os/sluice/nexus/abi"
)

// pipeNameMax is the longest name of a pipe, in bytes.
const pipeNameMax = len(abi.OpenRequest{}.Pipe) - 1

// pipes checks that each pipe has two ends.
func (c *checker) pipes(m *Manifest) {
	ends := map[string][]string{}
	for _, d := range m.Domains {
		for _, name := range d.Pipes {
			at := []string{"domain", d.Name, "pipes"}
			switch {
			case !validPipe(name):
				c.report(at, "the pipe %q: want a letter, then letters, digits and -, all small, %d at most", name, pipeNameMax)
			case slices.Contains(ends[name], d.Name):
				c.report(at, "domain %s has the pipe %s twice: want it once", d.Name, name)
			default:
				ends[name] = append(ends[name], d.Name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ends)) {
		if list := ends[name]; len(list) != 2 {
			c.report([]string{"domain", list[0], "pipes"}, "the pipe %s has %d domains: want two", name, len(list))
		}
	}
}

func validPipe(name string) bool {
	for i, r := range name {
		small, other := r >= 'a' && r <= 'z', r >= '0' && r <= '9' || r == '-'
		if !small && (i == 0 || !other) {
			return false
		}
	}
	return name != "" && len(name) <= pipeNameMax
}

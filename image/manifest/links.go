package manifest

import "github.com/sluice-os/sluice/nexus/direct"

// links checks the EtherTypes, each of which is one domain's.
func (c *checker) links(m *Manifest) {
	owner := map[string]string{}
	for _, d := range m.Domains {
		at := []string{"domain", d.Name, "link"}
		for _, word := range d.Link {
			other, taken := owner[word]
			switch _, ok := direct.Parse(word); {
			case !ok:
				c.report(at, "link %q: want an EtherType of four small hexadecimal digits, like \"88cc\", that is not IP's, ARP's or a VLAN's", word)
			case taken && other == d.Name:
				c.report(at, "domain %s has the link %s twice: want it once", d.Name, word)
			case taken:
				c.report(at, "domains %s and %s both have the link %s: want it in one of them", other, d.Name, word)
			default:
				owner[word] = d.Name
			}
		}
	}
}

package build

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-os/sluice/image/archive"
	"github.com/sluice-os/sluice/image/manifest"
)

// Use puts into o what a manifest says that lies in a folder. A board that is
// set stays.
func (o *Options) Use(m *manifest.Manifest, dir string) error {
	if o.Board == "" {
		o.Board = m.Board
	}
	o.KernelOptions, o.Memory, o.ISIS = m.Options, m.Memory, m.ISIS
	for _, d := range m.Domains {
		p := Program{Domain: d.Domain, Package: d.Package, Dir: dir}
		for to, from := range d.Files {
			data, err := os.ReadFile(filepath.Join(dir, from))
			if err != nil {
				return err
			}
			p.Files = append(p.Files, archive.File{Name: to[1:], Data: data})
		}
		slices.SortFunc(p.Files, func(a, b archive.File) int { return strings.Compare(a.Name, b.Name) })
		o.Domains = append(o.Domains, p)
	}
	return nil
}

// fits checks that an archive and the domains that start with the machine leave
// the kernel what it needs.
func (o Options) fits(archive int) error {
	sum := uint64(manifest.KernelMemory) + uint64(archive)
	for _, p := range o.Domains {
		if p.Start {
			sum += p.Quota
		}
	}
	if o.Memory != 0 && sum > o.Memory {
		return fmt.Errorf("the kernel, the programs (%d MiB) and the quotas of the domains need %d MiB, the machine has %d: want memory = \"%dMiB\" in the manifest",
			(archive+1<<20-1)>>20, (sum+1<<20-1)>>20, o.Memory>>20, (sum+1<<20-1)>>20)
	}
	return nil
}

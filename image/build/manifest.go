package build

import (
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
	o.KernelOptions = m.Options
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

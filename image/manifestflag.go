package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/manifest"
	"github.com/sluice-os/sluice/kernel/route/isis/config"
)

// noManifest asks for an image without domains.
const noManifest = "none"

// manifestFlag adds -manifest to a verb.
func manifestFlag(fs *flag.FlagSet) *string {
	return fs.String("manifest", "", "`file` with board, host and domains (default "+manifest.FileName+" where it is there; "+noManifest+" for none)")
}

// useManifest reads the manifest that a flag names and puts what it says into o.
// It returns nil when there is none.
func useManifest(path string, o *build.Options) (*manifest.Manifest, error) {
	if path == noManifest {
		return nil, nil
	}
	given := path != ""
	if !given {
		path = manifest.FileName
	}
	m, err := manifest.Load(path)
	if errors.Is(err, fs.ErrNotExist) && !given {
		return nil, nil
	}
	if err != nil {
		return nil, usageError{err}
	}
	return m, o.Use(m, filepath.Dir(path))
}

// runCheck checks a manifest and builds nothing.
func runCheck(ctx context.Context, args []string) error {
	fs := newFlags("check", "", "Checks a manifest and says what is in it.")
	path := manifestFlag(fs)
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	if *path == "" {
		*path = manifest.FileName
	}
	var o build.Options
	m, err := useManifest(*path, &o)
	if err != nil {
		return err
	}
	if m == nil {
		return usageError{fmt.Errorf("no manifest to check: name one with -manifest")}
	}
	fmt.Printf("board %s, %d MiB\n", m.Board, m.Memory>>20)
	if m.ISIS != "" {
		if c, err := config.Parse(m.ISIS); err == nil { // it was checked with the manifest
			fmt.Printf("isis %v area %v interfaces %s\n", c.Instance.System, c.Instance.Areas[0], strings.Join(c.Names(), " "))
		}
	}
	for _, d := range m.Domains {
		fmt.Printf("domain %-16s %6d KiB  %s\n", d.Name, d.Quota>>10, d.Package)
	}
	return nil
}

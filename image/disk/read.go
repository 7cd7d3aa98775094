package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"slices"

	"github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/filesystem"
)

// What the forms of a disk begin with, or have in some sector.
const (
	qcow2Magic = "QFI\xfb"
	gptMagic   = "EFI PART"
	cdMagic    = "CD001"
)

// kernelMost is the longest kernel that the loaders take, in bytes.
const kernelMost = 1 << 30

// ErrNoDisk is what Read returns for a file that is none of the forms of a disk.
var ErrNoDisk = errors.New("no disk")

// Read returns what a disk holds that Write, WriteISO or WriteQCOW2 has made, and its
// format: "raw", "iso" or "qcow2". Options is the text as it is.
func Read(name string) (c Contents, format string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return c, "", err
	}
	defer f.Close()
	has := func(at int64, magic string) bool {
		b := make([]byte, len(magic))
		_, err := f.ReadAt(b, at)
		return err == nil && string(b) == magic
	}
	switch {
	case has(0, qcow2Magic):
		format = "qcow2"
		raw, err := os.CreateTemp("", "sluice-disk-")
		if err != nil {
			return c, "", err
		}
		defer os.Remove(raw.Name())
		err = expand(raw, f)
		if e := raw.Close(); err == nil {
			err = e
		}
		if err != nil {
			return c, "", err
		}
		name = raw.Name()
	case has(volumeAt*cdSector+1, cdMagic) && has(512, gptMagic):
		format = "iso"
	case has(512, gptMagic):
		format = "raw"
	default:
		return c, "", ErrNoDisk
	}
	d, err := diskfs.Open(name, diskfs.WithOpenMode(diskfs.ReadOnly), diskfs.WithSectorSize(diskfs.SectorSize512))
	if err != nil {
		return c, "", err
	}
	defer d.Close()
	fs, err := d.GetFilesystem(2)
	if err != nil {
		return c, "", fmt.Errorf("partition 2: %w", err)
	}
	defer fs.Close()
	if c.Kernel, err = content(fs, KernelFile, kernelMost); err != nil {
		return c, "", err
	}
	list, err := fs.ReadDir(".")
	if err != nil || !slices.ContainsFunc(list, func(e iofs.DirEntry) bool { return e.Name() == OptionsFile }) {
		return c, format, err
	}
	options, err := content(fs, OptionsFile, OptionsMost)
	c.Options = string(options)
	return c, format, err
}

// content returns the first bytes of a file, most at most.
func content(fs filesystem.FileSystem, name string, most int64) ([]byte, error) {
	f, err := fs.OpenFile("/"+name, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(f, most)); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b.Bytes(), nil
}

// Package disk makes bootable disks: a partition table (GPT) with a partition for the BIOS
// loader and a FAT32 partition that holds the kernel and its options, for BIOS and UEFI
// alike.
package disk

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"time"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/google/uuid"
	"github.com/sluice-os/sluice/image/bios"
	"github.com/sluice-os/sluice/image/efi"
)

// Files in the root folder of the FAT partition.
const (
	KernelFile  = "SLUICE.ELF"
	OptionsFile = "SLUICE.TXT"
	// applicationFile is what UEFI starts of a disk (UEFI Specification 2.10, 3.5.1.1).
	applicationFile = "EFI/BOOT/BOOTX64.EFI"
)

// OptionsMost is how much of OptionsFile the loaders read, in bytes.
const OptionsMost = 4095

const (
	mib = 1 << 20
	// loaderAt is where the partition for the BIOS loader begins, in bytes, and fatAt the
	// FAT partition: at whole MiB, as disks and sticks like it.
	loaderAt = 1 * mib
	fatAt    = 2 * mib
	// fatLeast is the least size of the FAT partition: FAT32 has 65525 clusters or more.
	fatLeast = 64 * mib
	// spare is what is left free in it at least, for another kernel beside this one.
	spare = 32 * mib
	// tableEnd is room for the second partition table, which ends a disk.
	tableEnd = 1 * mib
)

// Contents is what a disk holds.
type Contents struct {
	Kernel  []byte // an ELF image for the board pc
	Options string // text of OptionsFile; "" for one that explains itself
}

// explained is the text of OptionsFile that says what can be written there.
const explained = "# Options of the kernel: words of the form KEY=VALUE. What follows a # is a comment.\r\n" +
	"# docs/kernel.md has them all; for example:\r\n" +
	"# ip=192.0.2.5/24,gw=192.0.2.1 ip6=off log=debug\r\n"

// Write makes a disk in the file called name. Equal contents make equal disks. Its size is a
// whole number of MiB; most of it is a hole.
func Write(name string, c Contents) (size int64, err error) {
	if c.Options == "" {
		c.Options = explained
	}
	if len(c.Options) > OptionsMost {
		return 0, fmt.Errorf("%s: %d bytes, at most %d are read", OptionsFile, len(c.Options), OptionsMost)
	}
	l := layout{loader: loaderAt, fat: fatAt, fatSize: fatSize(c)}
	l.size = l.fat + l.fatSize + tableEnd
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return 0, err
	}
	b, err := file.CreateFromPath(name, l.size)
	if err != nil {
		return 0, err
	}
	defer func() {
		if e := b.Close(); err == nil {
			err = e
		}
		if err != nil {
			os.Remove(name)
		}
	}()
	w, err := b.Writable()
	if err != nil {
		return 0, err
	}
	if err := l.write(w, c); err != nil {
		return 0, err
	}
	return l.size, files(b, l.fatSize, l.fat, c)
}

// fatSize is the size of the file system for contents.
func fatSize(c Contents) int64 {
	return int64(max(fatLeast, (len(c.Kernel)+spare+mib-1)/mib*mib))
}

// layout is where things are on a disk, and its size, in bytes.
type layout struct{ loader, fat, fatSize, size int64 }

// write writes all but the file system.
func (l layout) write(w backend.WritableFile, c Contents) error {
	if err := l.partitions(w, sha256.Sum256(c.Kernel)); err != nil {
		return fmt.Errorf("partition table: %w", err)
	}
	loader, err := bios.Loader(uint64(l.fat) / bios.SectorSize)
	if err != nil {
		return err
	}
	if _, err := w.WriteAt(bios.MBR(uint64(l.loader)/bios.SectorSize), 0); err != nil {
		return err
	}
	_, err = w.WriteAt(loader, l.loader)
	return err
}

// partitions writes the partition table. Its names are made of hash.
func (l layout) partitions(w backend.WritableFile, hash [sha256.Size]byte) error {
	name := func(what string) string {
		return uuid.NewSHA1(uuid.NameSpaceOID, append(hash[:], what...)).String()
	}
	part := func(index int, at, size int64, kind gpt.Type, label string) *gpt.Partition {
		return &gpt.Partition{
			Index: index, Start: uint64(at) / bios.SectorSize, End: uint64(at+size)/bios.SectorSize - 1,
			Type: kind, Name: label, GUID: name(label),
		}
	}
	table := gpt.Table{
		LogicalSectorSize: bios.SectorSize, PhysicalSectorSize: bios.SectorSize, ProtectiveMBR: true, GUID: name("disk"),
		Partitions: []*gpt.Partition{
			part(1, l.loader, bios.LoaderSectors*bios.SectorSize, gpt.BIOSBoot, "loader"),
			part(2, l.fat, l.fatSize, gpt.EFISystemPartition, "SLUICE"),
		},
	}
	return table.Write(w, l.size)
}

// epochName is the variable by which a person sets the time that is written everywhere, in
// seconds since 1970 (reproducible-builds.org); epoch is its value unless they have.
const (
	epochName = "SOURCE_DATE_EPOCH"
	epoch     = 1577836800
)

// fixedTime has the libraries write the same time each time, until what it returns is
// called.
func fixedTime() (undo func()) {
	if _, ok := os.LookupEnv(epochName); ok {
		return func() {}
	}
	os.Setenv(epochName, strconv.Itoa(epoch))
	return func() { os.Unsetenv(epochName) }
}

// written is the time that is written where the libraries write another one.
func written() time.Time {
	if n, err := strconv.ParseInt(os.Getenv(epochName), 10, 64); err == nil {
		return time.Unix(n, 0).UTC()
	}
	return time.Unix(epoch, 0).UTC()
}

// files makes the file system. The kernel comes first and so lies in one piece, which is
// read fastest.
func files(b backend.Storage, size, at int64, c Contents) error {
	defer fixedTime()()
	fs, err := fat32.Create(b, size, at, bios.SectorSize, "SLUICE", true)
	if err != nil {
		return fmt.Errorf("file system: %w", err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{KernelFile, c.Kernel}, {OptionsFile, []byte(c.Options)}, {applicationFile, efi.Application()}} {
		if dir := path.Dir(f.name); dir != "." {
			if err := fs.Mkdir("/" + dir); err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
		}
		out, err := fs.OpenFile("/"+f.name, os.O_CREATE|os.O_RDWR)
		if err == nil {
			_, err = io.Copy(out, bytes.NewReader(f.data))
			if e := out.Close(); err == nil {
				err = e
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

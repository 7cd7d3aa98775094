package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/sluice-os/sluice/image/bios"
	"github.com/sluice-os/sluice/image/efi"
)

// kernel returns n bytes that do not repeat.
func kernel(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// TestWrite reads a disk back: the partitions, the loader that knows where they are, the
// files.
func TestWrite(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk")
	c := Contents{Kernel: kernel(40 << 20), Options: "log=debug\n"}
	size, err := Write(name, c)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Size() != size || size%mib != 0 {
		t.Fatalf("%v, %d bytes", err, size)
	}
	d, err := diskfs.Open(name, diskfs.WithOpenMode(diskfs.ReadOnly))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	table, err := d.GetPartitionTable()
	if err != nil {
		t.Fatal(err)
	}
	parts := table.(*gpt.Table).Partitions
	if parts[0].Type != gpt.BIOSBoot || parts[0].Start != 2048 || parts[1].Type != gpt.EFISystemPartition || parts[1].Start != 4096 {
		t.Errorf("partitions %+v %+v", parts[0], parts[1])
	}
	if err := table.Verify(mustFile(t, name), uint64(size)); err != nil {
		t.Error(err)
	}
	first := make([]byte, 512)
	loader := make([]byte, bios.LoaderSectors*512)
	f := mustFile(t, name)
	f.ReadAt(first, 0)
	f.ReadAt(loader, 1<<20)
	if !bytes.Equal(first[:440], bios.MBR(2048)) || binary.LittleEndian.Uint16(first[510:]) != 0xaa55 {
		t.Error("the first sector is not the loader's")
	}
	if want, _ := bios.Loader(4096); !bytes.Equal(loader, want) {
		t.Error("the loader is not at its place")
	}
	fs, err := d.GetFilesystem(2)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]byte{
		"/SLUICE.ELF": c.Kernel, "/SLUICE.TXT": []byte(c.Options), "/EFI/BOOT/BOOTX64.EFI": efi.Application(),
	} {
		in, err := fs.OpenFile(path, os.O_RDONLY)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v, %d bytes of %d", path, err, len(got), len(want))
		}
	}
}

func mustFile(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestISO reads a CD back as a disk: its partitions are its files.
func TestISO(t *testing.T) {
	name := filepath.Join(t.TempDir(), "cd.iso")
	c := Contents{Kernel: kernel(3 << 20)}
	size, err := WriteISO(name, c)
	if err != nil {
		t.Fatal(err)
	}
	d, err := diskfs.Open(name, diskfs.WithOpenMode(diskfs.ReadOnly), diskfs.WithSectorSize(diskfs.SectorSize512))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	table, err := d.GetPartitionTable()
	if err != nil {
		t.Fatal(err)
	}
	f := mustFile(t, name)
	if err := table.Verify(f, uint64(size)); err != nil {
		t.Error(err)
	}
	parts := table.(*gpt.Table).Partitions
	loader := make([]byte, bios.LoaderSectors*512)
	f.ReadAt(loader, int64(parts[0].Start)*512)
	if want, _ := bios.Loader(parts[1].Start); !bytes.Equal(loader, want) || parts[1].Start%4 != 0 {
		t.Errorf("the loader is not in its partition, or does not know of the other one, at %d", parts[1].Start)
	}
	fs, err := d.GetFilesystem(2)
	if err != nil {
		t.Fatal(err)
	}
	in, err := fs.OpenFile("/SLUICE.ELF", os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, c.Kernel) {
		t.Errorf("%v, %d bytes of %d", err, len(got), len(c.Kernel))
	}
}

// TestDates: a CD has no date of when it was made, but the one that stands for all.
func TestDates(t *testing.T) {
	for name, want := range map[string]time.Time{
		"": time.Unix(epoch, 0), "1000000000": time.Unix(1000000000, 0),
	} {
		t.Setenv(epochName, name)
		if name == "" {
			os.Unsetenv(epochName)
		}
		path := filepath.Join(t.TempDir(), "cd.iso")
		size, err := WriteISO(path, Contents{Kernel: kernel(1 << 20)})
		if err != nil {
			t.Fatal(err)
		}
		b, err := file.OpenFromPath(path, true)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		volume := make([]byte, cdSector)
		if _, err := b.ReadAt(volume, volumeAt*cdSector); err != nil {
			t.Fatal(err)
		}
		dates := strings.Split(string(volume[volumeDatesAt:][:4*17]), "\x00")
		made := want.UTC().Format("20060102150405") + "00"
		if !slices.Equal(dates, []string{made, made, "0000000000000000", made, ""}) {
			t.Errorf("the volume has the dates %q", dates)
		}
		fs, err := iso9660.Read(b, size, 0, cdSector)
		if err != nil {
			t.Fatal(err)
		}
		list, err := fs.ReadDir(".")
		if err != nil || len(list) != 3 {
			t.Fatalf("%d files, %v", len(list), err)
		}
		for _, f := range list {
			if info, err := f.Info(); err != nil || !info.ModTime().Equal(want) {
				t.Errorf("%s is of %v, %v", f.Name(), info.ModTime(), err)
			}
		}
	}
}

// TestSame: equal contents make equal disks.
func TestSame(t *testing.T) {
	for name, write := range map[string]func(string, Contents) (int64, error){"raw": Write, "qcow2": WriteQCOW2, "iso": WriteISO} {
		t.Run(name, func(t *testing.T) { same(t, write) })
	}
}

func same(t *testing.T, write func(string, Contents) (int64, error)) {
	t.Helper()
	var sums [2][32]byte
	for i := range sums {
		name := filepath.Join(t.TempDir(), "disk")
		if _, err := write(name, Contents{Kernel: kernel(1 << 20)}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(b)
	}
	if sums[0] != sums[1] {
		t.Error("two disks of the same contents differ")
	}
}

func TestOptionsThatAreTooLong(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk")
	if _, err := Write(name, Contents{Options: string(make([]byte, OptionsMost+1))}); err == nil {
		t.Error("taken")
	}
}

// TestQCOW2 has QEMU's own tool check the file and turn it back into the disk.
func TestQCOW2(t *testing.T) {
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Skipf("%v: install qemu-utils", err)
	}
	dir := t.TempDir()
	raw, packed, back := filepath.Join(dir, "raw"), filepath.Join(dir, "packed"), filepath.Join(dir, "back")
	c := Contents{Kernel: kernel(5 << 20)}
	if _, err := Write(raw, c); err != nil {
		t.Fatal(err)
	}
	// A file of the name that a temporary one could have is another's.
	if err := os.WriteFile(packed+".raw", []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	size, err := WriteQCOW2(packed, c)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(packed + ".raw"); string(b) != "mine" {
		t.Errorf("another's file has %q, %v", b, err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 3 {
		t.Errorf("%d files are left, want 3", len(list))
	}
	if info, _ := os.Stat(packed); info.Size() != size || size > 8<<20 {
		t.Errorf("%d bytes, %d are told", info.Size(), size)
	}
	for _, args := range [][]string{{"check", "-f", "qcow2", packed}, {"convert", "-f", "qcow2", "-O", "raw", packed, back}} {
		if out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
			t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
		}
	}
	a, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(back)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("%v: the disk is another one", err)
	}
}

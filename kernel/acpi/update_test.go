package acpi

// The way testdata is made: with -update, TestMachines boots each machine in
// QEMU and saves the memory that Parse reads.

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "boot the machines in QEMU and save their tables into testdata")

// bootLimit is how long a machine's firmware may take.
const bootLimit = 2 * time.Minute

// machines holds the options of QEMU, by folder of testdata.
var machines = map[string]string{
	"q35":       "-machine q35,accel=tcg",
	"q35-iommu": "-machine q35,accel=tcg -device intel-iommu",
	"pc":        "-machine pc,accel=tcg",
	"microvm": "-machine microvm,acpi=on,pit=on,rtc=on,accel=tcg -netdev user,id=n0 " +
		"-device virtio-net-device,netdev=n0 -device virtio-rng-device",
}

// guestMemory is how much memory the machines have, in bytes.
const guestMemory = 128 << 20

// save boots a machine without a kernel, looks at its memory until all tables
// are there, and replaces testdata/name.
func save(t *testing.T, name string) {
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	args := fmt.Sprintf("-m %d -display none -serial none -monitor stdio %s", guestMemory>>20, machines[name])
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", strings.Fields(args)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		cmd.Wait() // which reports the kill
	}()

	monitor := bufio.NewReader(stdout)
	awaitPrompt(t, monitor)
	file := filepath.Join(t.TempDir(), "memory")
	for {
		fmt.Fprintf(stdin, "pmemsave 0 %d %q\n", guestMemory, file)
		awaitPrompt(t, monitor) // QEMU has written the file
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		memory := ram{0: b}
		info := Parse(0, memory.read)
		if len(info.Problems) == 0 && info.MADT != nil && info.SoftOff != nil {
			writePieces(t, name, memory, info)
			return
		}
	}
}

// awaitPrompt reads to the monitor's next prompt.
func awaitPrompt(t *testing.T, r io.RuneReader) {
	t.Helper()
	var said strings.Builder
	for !strings.HasSuffix(said.String(), "\n(qemu) ") {
		c, _, err := r.ReadRune()
		if err != nil {
			t.Fatalf("QEMU's monitor: %v after %q", err, said.String())
		}
		said.WriteRune(c)
	}
}

// writePieces writes the root pointer and all tables, a file for each stretch
// of memory without a hole.
func writePieces(t *testing.T, name string, memory ram, info *Info) {
	rsdp := rsdpSize
	if info.Revision >= 2 {
		rsdp = rsdpSize2
	}
	lengths := map[uint64]int{info.RSDP: rsdp}
	for _, table := range info.Tables {
		lengths[table.Address] = table.Length
	}
	dir := filepath.Join("testdata", name)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	starts := slices.Sorted(maps.Keys(lengths))
	for i := 0; i < len(starts); {
		at := starts[i]
		end := at
		for ; i < len(starts) && starts[i] <= end; i++ {
			end = starts[i] + uint64(lengths[starts[i]])
		}
		file := filepath.Join(dir, fmt.Sprintf("%08x", at))
		if err := os.WriteFile(file, memory.read(at, int(end-at)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

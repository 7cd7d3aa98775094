package suites

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/kernel/seal"
	"github.com/sluice-os/sluice/qemutest"
)

// noCard is what a machine with PCI says that has no card.
const noCard = "ERROR no network: no network card was found; give QEMU -device virtio-net-pci,netdev=n0, or a PC a card with Intel's 82540EM, 82545EM or 82574L"

// TestNoCard: without a network card the console works and says so.
func TestNoCard(t *testing.T) {
	for _, machine := range machines {
		t.Run(machine, func(t *testing.T) {
			vm := start(t, qemutest.Config{Machine: machine})
			advice := noCard
			if machine == "microvm" {
				advice = "ERROR no network: no network card was found; give QEMU -device virtio-net-device,netdev=n0"
			}
			vm.Expect(t, advice+"\n")
			if text := vm.Command(t, "help"); !strings.Contains(text, "poweroff") {
				t.Errorf("help printed %q", text)
			}
			if text := vm.Command(t, "ip addr"); !strings.Contains(text, "not available") {
				t.Errorf("ip addr printed %q, want that there is none", text)
			}
			powerOff(t, vm)
		})
	}
}

// imageEnd is where an image ends in memory, in MiB, rounded up.
func imageEnd(t *testing.T, path string) int {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	end := uint64(0)
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			end = max(end, p.Vaddr+p.Memsz)
		}
	}
	return int((end + 1<<20 - 1) >> 20)
}

// TestTooLittleMemory: the kernel says how much it has and how much it needs,
// and says what it needs where not even all of it fits, or where it does and
// leaves firmware no room.
func TestTooLittleMemory(t *testing.T) {
	for _, machine := range machines {
		end := imageEnd(t, qemutest.Image(t, qemu.Machines[machine]))
		for _, c := range []struct {
			memory int // MiB
			has    string
		}{
			{4, "the image does not fit"},
			{end - 1, "the image does not fit"},
			{end, "the image does not fit"},
			{end + 1, ""}, // it is close
			{16, "the machine has"},
		} {
			t.Run(fmt.Sprintf("%s/%dMiB", machine, c.memory), func(t *testing.T) {
				vm := start(t, qemutest.Config{Machine: machine, Memory: c.memory})
				vm.ExpectRegexp(t, `cannot start: too little memory: `+c.has+`.*, Sluice needs 64 MiB`)
				if status := vm.Wait(t); status != 99 {
					t.Errorf("QEMU ended with status %d, want 99", status)
				}
			})
		}
	}
}

// TestTooLittleMemoryForDomains: what the domains take in the image comes on top,
// and what the kernel says that it needs is enough.
func TestTooLittleMemoryForDomains(t *testing.T) {
	image := imageWith(t, "microvm", domainOf("spin", programFor(t, "spin")))
	const least = 64 // MiB, without them
	needs := 0
	t.Run("64MiB", func(t *testing.T) {
		vm := qemutest.Start(t, qemutest.Config{Image: image, Memory: least})
		needs = number(t, vm.ExpectRegexp(t, `cannot start: too little memory: the machine has 63 MiB, Sluice needs (\d+) MiB with its domains`)[1])
		if status := vm.Wait(t); status != 99 || needs <= least {
			t.Errorf("QEMU ended with status %d, want 99", status)
		}
	})
	vm := start(t, qemutest.Config{Image: image, Memory: needs})
	vm.Seen(t, "spin: spinning")
	powerOff(t, vm)
}

// TestDamagedImage: an image that is not what was built says so and does not start,
// whichever of the segments that are not written to is damaged, or the page before them.
func TestDamagedImage(t *testing.T) {
	kernels := map[string]string{
		"microvm": imageWith(t, "microvm", domainOf("spin", programFor(t, "spin"))),
		"q35":     imageWith(t, "pc", domainOf("spin", programFor(t, "spin"))),
	}
	if _, err := qemu.Find("virt"); err == nil {
		kernels["virt"] = qemutest.Image(t, "virt-arm64")
	}
	for machine, kernel := range kernels {
		good, err := os.ReadFile(kernel)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(good))
		if err != nil {
			t.Fatal(err)
		}
		// What no loader reads of the first page, and the sum itself.
		places := map[string]uint64{"header": 0x800, "sum": seal.ContentAt}
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD && p.Flags&elf.PF_W == 0 {
				places[fmt.Sprintf("%#x", p.Vaddr)] = p.Off + p.Filesz*3/4
				places[fmt.Sprintf("%#x end", p.Vaddr)] = p.Off + p.Filesz - 1
			}
		}
		for name, at := range places {
			t.Run(machine+"/"+name, func(t *testing.T) {
				b := bytes.Clone(good)
				b[at] ^= 1
				image := filepath.Join(t.TempDir(), "damaged.elf")
				if err := os.WriteFile(image, b, 0o755); err != nil {
					t.Fatal(err)
				}
				vm := start(t, qemutest.Config{Machine: machine, Image: image, Memory: 128, Unchecked: true})
				vm.Seen(t, "sluice: cannot start: the image is damaged: write it again\n")
				if machine == "virt" {
					return // nothing ends it
				}
				if status := vm.Wait(t); status != 99 {
					t.Errorf("QEMU ended with status %d, want 99", status)
				}
			})
		}
	}
}

// TestNoEntropy: without a source of random numbers there is no network, and
// the log names what would help.
func TestNoEntropy(t *testing.T) {
	vm := start(t, qemutest.Config{NoRNG: true, Net: qemutest.RawWire, Extra: []string{"-cpu", "qemu64"}})
	vm.ExpectRegexp(t, `no network: .*virtio-rng`)
	powerOff(t, vm)
}

// TestNoSerialPort: without a serial port the machine serves all the same, and does not read from
// nowhere without end: its processor rests.
func TestNoSerialPort(t *testing.T) {
	pidfile := filepath.Join(t.TempDir(), "pid")
	vm := start(t, qemutest.Config{Machine: "q35", Net: qemutest.RawWire, Unchecked: true,
		Extra: []string{"-global", "isa-serial.iobase=0x2f8", "-pidfile", pidfile}}) // where nobody looks for one
	peer := vm.Peer(t, qemutest.PeerConfig{})
	peer.Ping(t, peer.Address4())
	r, err := peer.HTTP().Get(url(peer.Address4(), "/healthz"))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	text, err := os.ReadFile(pidfile)
	if err != nil {
		t.Fatal(err)
	}
	pid := number(t, strings.TrimSpace(string(text)))
	used := func() time.Duration {
		var ts unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil { // the processor time of that process
			t.Fatal(err)
		}
		return time.Duration(ts.Nano())
	}
	before := used()
	time.Sleep(3 * time.Second)
	if n := used() - before; n > time.Second {
		t.Errorf("an idle machine has used %v of 3 s", n)
	}
	if vm.Output() != "" {
		t.Errorf("the port that nobody looks for was given %q", vm.Output())
	}
}

// TestLesserProcessor: what the processor lacks is named, with the option that
// gives it, and everything works all the same.
func TestLesserProcessor(t *testing.T) {
	vm := start(t, qemutest.Config{Net: qemutest.RawWire, Extra: []string{"-cpu", "qemu64"}})
	peer := vm.Peer(t, qemutest.PeerConfig{})
	vm.ExpectRegexp(t, `processor lacks .*-cpu max`)
	peer.Ping(t, peer.Address4())
}

// TestLegacyDevice: a virtio device that speaks only the old interface is left
// out, and the log names QEMU's option.
func TestLegacyDevice(t *testing.T) {
	vm := start(t, qemutest.Config{Net: qemutest.RawWire, Extra: []string{"-global", "virtio-mmio.force-legacy=true"}})
	vm.ExpectRegexp(t, `device left out .*force-legacy=false`)
	powerOff(t, vm)
}

// TestNoNX: a processor that cannot keep data from executing is named before
// anything is turned on.
func TestNoNX(t *testing.T) {
	for _, machine := range boards {
		t.Run(machine, func(t *testing.T) {
			vm := start(t, qemutest.Config{Machine: machine, Extra: []string{"-cpu", "max,-nx"}})
			vm.Seen(t, "cannot start: the processor has no NX or no long mode: give QEMU -cpu max")
			if status := vm.Wait(t); status != 99 {
				t.Errorf("QEMU ended with status %d, want 99", status)
			}
		})
	}
}

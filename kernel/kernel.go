// Package kernel is the kernel's main program: it brings the machine up, finds
// its devices, starts a host stack on each network card and runs the shell.
package kernel

import (
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"runtime/goos"
	"strings"

	"github.com/sluice-os/sluice/kernel/bootinfo"
	"github.com/sluice-os/sluice/kernel/build"
	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/console"
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/domain"
	"github.com/sluice-os/sluice/kernel/entropy"
	"github.com/sluice-os/sluice/kernel/entry"
	"github.com/sluice-os/sluice/kernel/fatal"
	"github.com/sluice-os/sluice/kernel/klog"
	"github.com/sluice-os/sluice/kernel/options"
	"github.com/sluice-os/sluice/kernel/router"
	"github.com/sluice-os/sluice/kernel/trap"
	"github.com/sluice-os/sluice/kernel/vm"
	"github.com/sluice-os/sluice/nexus/budget"
)

// Bus is where a board's devices are.
type Bus int

const (
	// MMIO is a set of virtio windows that ACPI, the command line or a device tree
	// lists; a tree may have a PCI bus beside.
	MMIO Bus = iota
	// PCI is the PCI bus.
	PCI
)

// Board is what one board differs in.
type Board struct {
	Name string // as in image build -board
	Bus  Bus
	// ResetEnds says that a reset ends the machine, which ACPI may know no way to turn off.
	ResetEnds bool
}

// logLines is how many log lines a fatal fault prints.
const logLines = 20

// machine is the running kernel.
type machine struct {
	board   Board
	log     *klog.Log
	options options.Options
	// heapLimit is what the Go heap is kept within, in bytes.
	heapLimit uint64
	random    *entropy.Source
	platform  platform
	power     power
	devices   devices
	networks  networks
	domains   *domain.Manager // nil without domains
	pipes     *pipes          // nil without domains
	monitors  *monitors       // likewise
	// stray is the page of cardFault.
	stray  []byte
	budget *budget.Budget // nil without domains
	// router has the routes of all cards; routing is nil without a routing protocol.
	router  *router.Router
	routing routing
}

// Main runs the kernel; it does not return.
func Main(b Board) {
	m := &machine{board: b, random: entropy.New()}
	m.startLog()
	m.limitMemory()
	m.readOptions()
	m.protect()
	m.findPlatform()
	m.findDevices()
	m.seed()
	m.newBudget()
	m.newRouter()
	m.routing = m.newRouting()
	m.startNetworks()
	m.startRouting()
	m.startDomains()
	m.runShell()
}

// startLog prints the banner and turns the log and the fatal path on.
func (m *machine) startLog() {
	m.log = klog.New(console.Writer{}, clock.Since)
	slog.SetDefault(slog.New(m.log.Handler()))
	fatal.Log = func(f func([]byte)) { m.log.Ring.Last(logLines, f) }
	trap.Fatal = fatal.Fault
	goos.Exit = fatal.Panic
	fmt.Fprintf(os.Stdout, "\nsluice: version %s board %s build %s\n", build.Version, m.board.Name, build.ID())
}

// heapLeast is the heap limit of a machine of 64 MiB without domains, in bytes.
const heapLeast = 36 << 20

// limitMemory keeps the Go heap within what the machine has: the collector works
// harder long before frames run out. With domains, the kernel takes a part and
// leaves the rest to them.
func (m *machine) limitMemory() {
	start, end := vm.HeapRange()
	free := min(vm.Usage().Free, uint64(end-start))
	m.heapLimit = free - free/4
	if vm.Archive() != nil {
		m.heapLimit = min(m.heapLimit, max(free/4, heapLeast))
		// The limit is soft: a collection ends a little above it.
		vm.ReserveHeap(m.heapLimit + m.heapLimit/8)
	}
	debug.SetMemoryLimit(int64(m.heapLimit))
	debug.SetGCPercent(300)
}

// readOptions takes the kernel command line.
func (m *machine) readOptions() {
	var problems []string
	line := entry.Info.CommandLine()
	if archive := vm.Archive(); archive != nil {
		line = domain.Options(archive) + " " + line
	}
	m.options, problems = options.Parse(line)
	m.log.SetLevel(m.options.Log)
	switch m.options.Panic {
	case options.PanicReboot:
		fatal.Action = fatal.Reboot
	case options.PanicHalt:
		fatal.Action = fatal.Halt
	}
	for _, p := range problems {
		slog.Warn("kernel option ignored", "problem", p)
	}
	if entry.Info.OptionsLong {
		slog.Warn("SLUICE.TXT has more than 4095 bytes: the words behind them are ignored")
	}
	if entry.Info.OptionsDamaged {
		slog.Error("SLUICE.TXT is damaged: write it again; only the words before the damage are used")
	}
	if entry.Info.Truncated {
		slog.Warn("the kernel command line is longer than 4096 bytes: the rest is ignored")
	}
	if p := entry.Info.Memory.Problems; p != (bootinfo.Problems{}) {
		slog.Debug("the boot memory map has ranges that are left out", "problems", fmt.Sprintf("%+v", p))
	}
	u := vm.Usage()
	if !console.Present() {
		slog.Warn("no serial port at 0x3f8: there is no shell")
	}
	if s := entry.Info.Screen; console.Screen.On() {
		slog.Info("screen", "width", s.Width, "height", s.Height, "format", s.Format, "at", fmt.Sprintf("%#x", s.Base))
	} else if s.Size != 0 {
		slog.Warn("screen not used", "width", s.Width, "height", s.Height, "format", s.Format, "at", fmt.Sprintf("%#x", s.Base))
	}
	slog.Info("memory", "total", mib(u.Total), "free", mib(u.Free))
}

func mib(n uint64) string { return fmt.Sprintf("%dMiB", n>>20) }

// protect turns on what the processor has against stray accesses.
func (m *machine) protect() {
	if missing := cpu.Protect(); len(missing) > 0 {
		slog.Warn("the processor lacks features: give QEMU -cpu max", "missing", strings.Join(missing, ","))
	}
}

// seed fills the random source from everything there is. Nothing that needs
// crypto/rand starts before it is seeded.
func (m *machine) seed() {
	m.random.Refill = m.gather
	m.gather()
	if m.random.Seeded() {
		entry.Random = m.random.Read
	}
}

// gather adds what the processor and the devices give.
func (m *machine) gather() {
	m.gatherProcessor()
	for _, device := range m.devices.rngs {
		m.devices.waitUntil = clock.Since() + rngWait
		m.note(m.random.FromDevice(device.Read))
	}
}

func (m *machine) note(err error) {
	if err != nil {
		slog.Warn("a source of random numbers is left out", "reason", err)
	}
}

// Package qemu knows the QEMU command lines that boot Sluice's boards. It is
// the one place where they are written down: `image run`, the tests and the
// README all take them from here.
package qemu

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Machines maps machines to the board whose image boots there: QEMU's by their names there,
// and those of monitors that QEMU stands in for.
var Machines = map[string]string{
	"microvm":         "microvm",
	"q35":             "pc",
	"pc":              "pc", // i440fx
	"firecracker":     "firecracker",
	"cloudhypervisor": "cloudhypervisor",
	"virt":            "virt-arm64",
}

// model is how QEMU makes a machine.
type model struct {
	line string // value of -M, without the accelerator
	mmio bool   // virtio devices are memory-mapped, and there is no PCI but with
	pci  bool
	arm  bool
}

var models = map[string]model{
	"microvm": {line: "microvm", mmio: true},
	"q35":     {line: "q35"},
	"pc":      {line: "pc"},
	// Firecracker has no ACPI that this is about, and tells of devices on the command
	// line, as this machine does then.
	"firecracker":     {line: "microvm", mmio: true},
	"cloudhypervisor": {line: "q35"},
	"virt":            {line: "virt", mmio: true, pci: true, arm: true},
}

// options are those of -M behind the accelerator.
var options = map[string]string{
	"microvm":     ",pic=off,rtc=on,isa-serial=on,acpi=on",
	"firecracker": ",pic=off,rtc=off,isa-serial=on,acpi=off,auto-kernel-cmdline=on",
	"virt":        ",gic-version=2",
}

// MachineFor returns the machine that a board's image boots on by default.
func MachineFor(board string) string {
	switch board {
	case "pc":
		return "q35"
	case "virt-arm64":
		return "virt"
	}
	return board
}

// Program is the emulator of a machine; pkg is what Debian and Ubuntu call its package.
func Program(machine string) (name, pkg string) {
	if models[machine].arm {
		return "qemu-system-aarch64", "qemu-system-arm"
	}
	return "qemu-system-x86_64", "qemu-system-x86"
}

// CardVirtIO is the network card of a machine that is not asked for another: virtio's,
// over PCI or memory-mapped as the machine has it.
const CardVirtIO = "virtio"

// Cards are the network cards that there are drivers for, by QEMU's names of devices but
// for CardVirtIO. All but that one want PCI.
var Cards = []string{CardVirtIO, "e1000", "e1000-82545em", "e1000e"}

// MemoryMin is the least memory that an image starts with, in MiB.
const MemoryMin = 64

// Config describes one machine to boot. Netdev, if not empty, is the value of
// -netdev without its id, for example "user,hostfwd=tcp:127.0.0.1:8080-:80".
type Config struct {
	Machine     string // a key of Machines
	Memory      int    // MiB
	Image       string // path of the ELF, or of the disk with Firmware
	Append      string // kernel command line
	Accel       string // "tcg" (the default) or "kvm"
	Netdev      string
	Card        string   // one of Cards; "" is CardVirtIO
	CardOptions string   // further ones of the network card's device, for example "addr=0x6"
	More        []Card   // further network cards
	MAC         string   // of the network card; "" lets QEMU choose
	NoRNG       bool     // leave virtio-rng out
	IOMMU       bool     // put the devices behind Intel's IOMMU; q35 only
	PCI         bool     // plug virtio's devices into PCI; virt only, where they are memory-mapped else
	GDB         bool     // wait for gdb on port 1234 before the first instruction
	NoExit      bool     // leave isa-debug-exit out, as a real machine has none: one that ends keeps its screen
	Bridges     []string // devices that come before the network cards, which may be plugged into them
	Extra       []string // further arguments

	// Firmware starts Image from a disk: one of Firmwares. With "" QEMU loads an ELF.
	Firmware string
	Bus      string // what the disk is plugged into: one of Buses; "" is the first
}

// Firmwares start disks: SeaBIOS and OVMF. Buses are what a disk may be plugged into;
// "usb" is xHCI, "ehci" USB 2.
var (
	Firmwares = []string{"bios", "uefi"}
	Buses     = []string{"ide", "virtio", "usb", "ehci", "cd"}
)

// ovmf is where Debian's and Ubuntu's package of that name has the firmware.
const ovmf = "/usr/share/ovmf/OVMF.fd"

// disk returns the arguments that start Image from a disk. What is written to it is lost.
func (c Config) disk() ([]string, error) {
	bus := c.Bus
	if bus == "" {
		bus = Buses[0]
	}
	device := map[string]string{"ide": "ide-hd", "virtio": "virtio-blk-pci", "usb": "usb-storage", "ehci": "usb-storage", "cd": "ide-cd"}[bus]
	switch {
	case !slices.Contains(Firmwares, c.Firmware):
		return nil, fmt.Errorf("unknown firmware %q: the firmwares are %s", c.Firmware, strings.Join(Firmwares, " and "))
	case device == "":
		return nil, fmt.Errorf("unknown bus %q: the buses are %s", c.Bus, strings.Join(Buses, ", "))
	case Machines[c.Machine] != "pc":
		return nil, fmt.Errorf("machine %s starts no disk: q35 and pc do", c.Machine)
	case c.Append != "":
		return nil, fmt.Errorf("kernel options of a disk stand in its file SLUICE.TXT")
	}
	format := "raw"
	if strings.HasSuffix(c.Image, ".qcow2") {
		format = "qcow2"
	}
	var args []string
	if c.Firmware == "uefi" {
		if _, err := os.Stat(ovmf); err != nil {
			return nil, fmt.Errorf("%s was not found: install it with: sudo apt-get install ovmf", ovmf)
		}
		args = append(args, "-bios", ovmf)
	}
	switch bus {
	case "usb":
		args = append(args, "-device", "qemu-xhci")
	case "ehci":
		args = append(args, "-device", "usb-ehci")
	}
	return append(args, "-drive", "id=d0,if=none,snapshot=on,format="+format+",file="+c.Image, "-device", device+",drive=d0"), nil
}

// Card is a network card with what it is plugged into.
type Card struct {
	Model   string // one of Cards; "" is CardVirtIO
	Netdev  string // as in Config
	MAC     string // "" lets QEMU choose
	Options string // further ones of the device, for example "addr=0x6"
}

// exitDevice lets the kernel end QEMU with a status of its choice.
const exitDevice = "isa-debug-exit,iobase=0xf4,iosize=0x04"

// GDBLine is what a person types to debug a machine that waits, with the symbols of an ELF
// file; "" for none.
func GDBLine(machine, file string) string {
	program, architecture := "gdb", "i386:x86-64"
	if models[machine].arm {
		program, architecture = "gdb-multiarch", "aarch64"
	}
	line := program + " -ex 'set architecture " + architecture + "' -ex 'target remote :1234'"
	if file != "" {
		line += " " + file
	}
	return line
}

// Args returns the arguments for Program.
func (c Config) Args() ([]string, error) {
	accel := c.Accel
	if accel == "" {
		accel = "tcg"
	}
	model, ok := models[c.Machine]
	if !ok {
		return nil, fmt.Errorf("unknown machine %q: the machines are microvm, q35, pc, firecracker, cloudhypervisor and virt", c.Machine)
	}
	if c.Memory <= 0 {
		return nil, fmt.Errorf("%d MiB of memory: give at least %d", c.Memory, MemoryMin)
	}
	if c.IOMMU && c.Machine != "q35" {
		return nil, fmt.Errorf("machine %s has no IOMMU: q35 does", c.Machine)
	}
	if c.PCI && !model.pci {
		return nil, fmt.Errorf("machine %s gives virtio's devices no choice of a bus: virt does", c.Machine)
	}
	if c.PCI {
		model.mmio = false
	}
	processor := "max"
	if model.arm {
		processor = "cortex-a72"
	}
	args := []string{
		"-M", model.line + ",accel=" + accel + options[c.Machine], "-cpu", processor, "-m", fmt.Sprint(c.Memory), "-smp", "1",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
	}
	if !model.arm && !c.NoExit {
		args = append(args, "-device", exitDevice)
	}
	if c.GDB {
		// The machine waits for the debugger.
		args = append(args, "-s", "-S")
	}
	if model.mmio {
		args = append(args, "-global", "virtio-mmio.force-legacy=false")
	}
	platform := ""
	if c.IOMMU {
		// It comes before the devices that are to be behind it. Without the
		// option virtio devices go past it.
		args = append(args, "-device", "intel-iommu")
		platform = ",iommu_platform=on"
	}
	for _, bridge := range c.Bridges {
		args = append(args, "-device", bridge)
	}
	cards := c.More
	if c.Netdev != "" {
		cards = append([]Card{{Model: c.Card, Netdev: c.Netdev, MAC: c.MAC, Options: c.CardOptions}}, cards...)
	}
	for n, card := range cards {
		words, err := card.args(fmt.Sprintf("n%d", n), c.Machine, platform, model)
		if err != nil {
			return nil, err
		}
		args = append(args, words...)
	}
	if !c.NoRNG {
		rng := "virtio-rng-pci,disable-legacy=on"
		if model.mmio {
			rng = "virtio-rng-device"
		}
		args = append(args, "-device", rng+platform)
	}
	args = append(args, c.Extra...)
	if c.Firmware != "" || c.Bus != "" {
		disk, err := c.disk()
		return append(args, disk...), err
	}
	args = append(args, "-kernel", c.Image)
	if c.Append != "" {
		args = append(args, "-append", c.Append)
	}
	return args, nil
}

// args returns those of a card whose other end has an id.
func (c Card) args(id, machine, platform string, model model) ([]string, error) {
	virtio := c.Model == "" || c.Model == CardVirtIO
	if !virtio && !slices.Contains(Cards, c.Model) {
		return nil, fmt.Errorf("unknown network card %q: the cards are %s", c.Model, strings.Join(Cards, ", "))
	}
	device := "virtio-net-pci,netdev=" + id + ",romfile=,disable-legacy=on" + platform
	switch {
	case !virtio && model.mmio && !model.pci:
		return nil, fmt.Errorf("machine %s has no PCI for the card %s: q35, pc and virt do", machine, c.Model)
	case !virtio:
		device = c.Model + ",netdev=" + id + ",romfile="
	case model.mmio:
		device = "virtio-net-device,netdev=" + id
	}
	if c.MAC != "" {
		device += ",mac=" + c.MAC
	}
	if c.Options != "" {
		device += "," + c.Options
	}
	kind, rest, _ := strings.Cut(c.Netdev, ",")
	netdev := kind + ",id=" + id
	if rest != "" {
		netdev += "," + rest
	}
	return []string{"-netdev", netdev, "-device", device}, nil
}

// Shell returns a command line that a person can paste into a shell, for the machine that
// args are of.
func Shell(machine string, args []string) string {
	program, _ := Program(machine)
	words := append([]string{program}, args...)
	for i, w := range words {
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$&|;<>()*?[]#~`!{}") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// Find returns the path of a machine's Program, or an error that says how to get it.
func Find(machine string) (string, error) {
	program, pkg := Program(machine)
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s was not found: install it with: sudo apt-get install %s", program, pkg)
	}
	return path, nil
}

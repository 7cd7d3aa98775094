package main

// Intel's cards, beside Linux with the same ones, and what starts from a disk.

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sluice-os/sluice/image/disk"
	"github.com/sluice-os/sluice/image/qemu"
)

// cardModules are the modules of Linux for each card that its cloud kernel has none for.
var cardModules = map[string]string{
	"e1000":  "e1000",
	"e1000e": "pps_core ptp e1000e",
}

const (
	// fullPattern is Debian's kernel with all drivers.
	fullPattern = "/boot/vmlinuz-*-amd64"
	installFull = "sudo apt-get install --no-install-recommends linux-image-amd64"

	// cardFloor and cardUDPFloor are the least ratios: transfers and datagrams.
	cardFloor    = 0.5
	cardUDPFloor = 1.5
)

// cardMeasure is what is measured on a card.
type cardMeasure struct {
	measure
	card string
}

var cardMeasures = makeCardMeasures()

func makeCardMeasures() (list []cardMeasure) {
	for _, card := range []string{"e1000", "e1000e"} {
		for _, m := range []measure{
			{name: "in", title: "TCP in (discard)", unit: "Mbit/s", take: takeIn},
			{name: "out", title: "TCP out (from memory)", unit: "Mbit/s", take: takeOut},
			{name: "udp", title: "UDP echo, 64-byte payload", unit: "/s", take: takeUDP},
		} {
			floor := cardFloor
			if m.name == "udp" {
				floor = cardUDPFloor
			}
			m.name, m.title = card+"-"+m.name, card+": "+m.title
			m.wanted, m.met = fmt.Sprintf("ratio >= %g", floor), atLeast(floor)
			list = append(list, cardMeasure{m, card})
		}
	}
	return list
}

// diskMeasures are what is measured of disks; there is no Linux beside them.
var diskMeasures = []measure{
	{name: "boot-bios", title: "exec to first answer, from a disk by BIOS", unit: "s"},
	{name: "boot-uefi", title: "the same, by UEFI", unit: "s"},
	{name: "size-raw", title: "disk image, what is not a hole", unit: "MB"},
	{name: "size-iso", title: "CD image", unit: "MB"},
	{name: "size-qcow2", title: "qcow2 image", unit: "MB"},
}

func (s settings) wantsCard(card string) bool {
	for _, m := range cardMeasures {
		if m.card == card && s.wants(m.name) {
			return true
		}
	}
	return false
}

func (s settings) wantsDisks() bool {
	for _, m := range diskMeasures {
		if s.wants(m.name) {
			return true
		}
	}
	return false
}

// board is the image that starts from disks and has the cards' drivers.
func (p *plan) board() string { return filepath.Join(p.Build, "sluice-pc.elf") }

// makeCards returns the guests with Intel's cards, Sluice and Linux for each.
func makeCards(ctx context.Context, p *plan) (list []guest, err error) {
	if qemu.Machines[p.Machine] != "pc" {
		return nil, fmt.Errorf("machine %s has no PCI", p.Machine)
	}
	if _, err := os.Stat(p.board()); err != nil {
		return nil, err
	}
	for _, card := range []string{"e1000", "e1000e"} {
		if !p.wantsCard(card) {
			continue
		}
		list = append(list, guest{Name: "sluice", Card: card, Image: p.board(), Append: "ip=" + guestIP + bits})
		linux, err := makeLinuxOf(ctx, filepath.Join(p.work(), card), p.settings, fullPattern, cardModules[card])
		if err != nil {
			p.Notes = append(p.Notes, fmt.Sprintf("no Linux guest with %s (%v): install its kernel with: %s", card, err, installFull))
			continue
		}
		linux.Card = card
		list = append(list, linux)
	}
	return list, nil
}

// takeCards measures the cards in turns.
func (p *plan) takeCards(ctx context.Context, n network, r *results) error {
	for run := range p.Runs {
		for _, g := range p.Cards {
			if err := p.oneCard(ctx, n, g, r, run); err != nil {
				return err
			}
		}
	}
	return nil
}

// oneCard boots a guest and takes what is measured on its card.
func (p *plan) oneCard(ctx context.Context, n network, g guest, r *results, run int) error {
	vm, err := p.boot(ctx, n, g, p.Memory, serveAll, bootMax)
	if err != nil {
		return r.failed(ctx, g.Card, g.Name, err)
	}
	defer vm.stop()
	if err := vm.ready(ctx); err != nil {
		return r.failed(ctx, g.Card, g.Name, err)
	}
	for _, m := range cardMeasures {
		if m.card != g.Card || !p.wants(m.name) {
			continue
		}
		v, err := m.take(ctx, p.settings, vm)
		if err != nil {
			if err := r.failed(ctx, m.name, g.Name, err); err != nil {
				return err
			}
			continue
		}
		r.add(m.name, g.Name, v)
		progress("run %d of %d, %s: %s %.4g %s", run+1, p.Runs, g.Name, m.title, v, m.unit)
	}
	return nil
}

// makeDisks makes the disks that are started and weighed, and returns their guests.
func makeDisks(p *plan) (list []guest, err error) {
	kernel, err := os.ReadFile(p.board())
	if err != nil {
		return nil, err
	}
	contents := disk.Contents{Kernel: kernel, Options: "ip=" + guestIP + bits + "\n"}
	for format, write := range map[string]func(string, disk.Contents) (int64, error){
		"raw": disk.Write, "iso": disk.WriteISO, "qcow2": disk.WriteQCOW2,
	} {
		if _, err := write(p.diskOf(format), contents); err != nil {
			return nil, err
		}
	}
	for _, firmware := range qemu.Firmwares {
		if p.wants("boot-" + firmware) {
			list = append(list, guest{Name: "sluice", Image: p.diskOf("raw"), Firmware: firmware})
		}
	}
	return list, nil
}

func (p *plan) diskOf(format string) string { return filepath.Join(p.work(), "disk."+format) }

// takeDisks weighs the disks and starts them.
func (p *plan) takeDisks(ctx context.Context, n network, r *results) error {
	if len(p.Disks) == 0 {
		return nil
	}
	for _, format := range []string{"raw", "iso", "qcow2"} {
		size, err := onDisk(p.diskOf(format))
		if err != nil {
			return err
		}
		if p.wants("size-" + format) {
			r.add("size-"+format, "sluice", float64(size)/1e6)
		}
	}
	for run := range p.Runs {
		for _, g := range p.Disks {
			m, err := p.boot(ctx, n, g, max(p.Memory, uefiMemory), serveHTTP, bootMax)
			if err != nil {
				if err := r.failed(ctx, "boot-"+g.Firmware, g.Name, err); err != nil {
					return err
				}
				continue
			}
			m.stop()
			r.add("boot-"+g.Firmware, g.Name, m.first.Seconds())
			progress("run %d of %d, %s: first answer after %.2f s", run+1, p.Runs, strings.ToUpper(g.Firmware), m.first.Seconds())
		}
	}
	return nil
}

// uefiMemory is what OVMF wants, in MiB.
const uefiMemory = 256

// onDisk is what a file takes of the disk that it is on, in bytes: less than its length
// where it has holes.
func onDisk(path string) (int64, error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	const block = 512 // stat(2)
	return s.Blocks * block, nil
}

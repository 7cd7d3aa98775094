package kernel

import (
	"log/slog"

	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/console"
	"github.com/sluice-os/sluice/kernel/domain"
	"github.com/sluice-os/sluice/kernel/trap"
	"github.com/sluice-os/sluice/kernel/vm"
)

// startDomains starts the apps that came with the image.
func (m *machine) startDomains() {
	archive := vm.Archive()
	if archive == nil {
		return
	}
	if !m.random.Seeded() {
		slog.Error("no domains: no seeded source of random numbers; give the machine RDRAND (QEMU -cpu max) or a virtio-rng device")
		return
	}
	trap.InitUser()
	if err := domain.SetClock(clock.Page()); err != nil {
		slog.Error("no domains", "reason", err)
		return
	}
	manager, err := domain.NewManager(archive, domain.Environment{
		Random:  m.random.Read,
		Console: consoleLine,
	})
	if err != nil {
		slog.Error("no domains", "reason", err)
		return
	}
	m.domains = manager
	manager.StartAll()
}

// consoleLine prints one line of a domain's, behind its name.
func consoleLine(name string, line []byte) {
	text := make([]byte, 0, len(name)+len(line)+3)
	text = append(text, name...)
	text = append(text, ": "...)
	text = append(text, line...)
	console.Writer{}.Write(append(text, '\n'))
}

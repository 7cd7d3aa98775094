package kernel

import (
	"time"

	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/vm"
	"github.com/sluice-os/sluice/nexus/budget"
)

// packetShare is which part of the machine's memory may be behind the packets of
// channels.
const packetShare = 4

// newBudget makes the budget of the channels' memory.
func (m *machine) newBudget() {
	if vm.Archive() != nil {
		m.budget = budget.New(int(vm.Usage().Total / packetShare))
	}
}

// watch looks at flows and at the channels' memory from time to time, for ever.
func (m *machine) watch() {
	for second := time.Tick(time.Second); ; {
		select {
		case <-second:
			for _, n := range m.networks.working() {
				n.nexus.Reap()
			}
			m.budget.Run(clock.Since(), true)
		case <-m.budget.Kick():
			m.budget.Run(clock.Since(), false)
		}
	}
}

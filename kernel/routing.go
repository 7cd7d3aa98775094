package kernel

import (
	"github.com/sluice-os/sluice/kernel/host"
	"github.com/sluice-os/sluice/kernel/shell"
)

// routing is a routing protocol on the machine's cards.
type routing interface {
	shell.Routing
	// attach puts it on a network, whose stack is not started yet.
	attach(n *network, s *host.Stack)
	Start()
	// Page is what the web app shows of it, in JSON.
	Page() []byte
}

// startRouting starts it on the networks that there are.
func (m *machine) startRouting() {
	if m.routing != nil {
		m.routing.Start()
	}
}

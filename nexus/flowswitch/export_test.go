package flowswitch

import "github.com/sluice-os/sluice/nexus/flow"

// Table is the switch's flows, for tests that stop between two steps of their end.
func (s *Switch) Table() *flow.Table { return s.table }

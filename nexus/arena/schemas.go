package arena

import (
	"fmt"

	"github.com/sluice-os/sluice/nexus/abi"
)

// schemas are the arenas that a domain can ask for, by name.
var schemas = map[string]Params{
	"default": {Large: 128},
	"small": {
		Slots:   [abi.RingKinds]int{abi.RingRx: 128, abi.RingTx: 64, abi.RingAlloc: 64, abi.RingFree: 64},
		Packets: 256, Buffers: 192, Large: 16, Advisory: 64,
	},
	"bulk": {
		Slots:   [abi.RingKinds]int{abi.RingRx: 2048, abi.RingTx: 512, abi.RingAlloc: 512, abi.RingFree: 512},
		Packets: 4096, Buffers: 2048, Large: 512,
	},
}

// Named returns the parameters of a schema. An unknown one is ErrBounds.
func Named(name string) (Params, error) {
	p, ok := schemas[name]
	if !ok {
		return p, fmt.Errorf("%w: no schema %q, want %s", ErrBounds, name, "bulk, default or small")
	}
	return p, nil
}

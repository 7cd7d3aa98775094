package link

import (
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
)

func TestParseSizes(t *testing.T) {
	for _, c := range []struct {
		text string
		want [abi.RingKinds]uint32
		err  string
	}{
		{"", [abi.RingKinds]uint32{}, ""},
		{"rx=2048", [abi.RingKinds]uint32{abi.RingRx: 2048}, ""},
		{"tx=512, event=64\n", [abi.RingKinds]uint32{abi.RingTx: 512, abi.RingEvent: 64}, ""},
		{"free=4 alloc=8 free=16", [abi.RingKinds]uint32{abi.RingAlloc: 8, abi.RingFree: 16}, ""},
		{"rx", [abi.RingKinds]uint32{}, `"rx": want rx=SLOTS with a power of two`},
		{"rx=0", [abi.RingKinds]uint32{}, `"rx=0": want rx=SLOTS with a power of two`},
		{"rx=-1", [abi.RingKinds]uint32{}, `"rx=-1": want rx=SLOTS with a power of two`},
		{"rx=4294967296", [abi.RingKinds]uint32{}, `"rx=4294967296": want rx=SLOTS with a power of two`},
		{"RX=64", [abi.RingKinds]uint32{}, `ring "RX": want rx, tx, alloc, free, event`},
	} {
		got, err := ParseSizes(c.text)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != c.want || text != c.err {
			t.Errorf("%q: %v, %q", c.text, got, text)
		}
	}
}

package aqm_test

import (
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/aqm"
)

// TestDSCPOf (rfc4594): each class has the code point that RFC 4594 recommends for what it is for, and who
// reads that puts the packet into the same class. What is the least of all is RFC 8622's.
func TestDSCPOf(t *testing.T) {
	for class, want := range map[uint32]uint8{
		0:                    0,
		abi.ClassControl:     48, // CS6
		abi.ClassVoice:       46, // EF
		abi.ClassVideo:       34, // AF41
		abi.ClassInteractive: 32, // CS4
		abi.ClassStreaming:   26, // AF31
		abi.ClassManagement:  16, // CS2
		abi.ClassLowLatency:  18, // AF21
		abi.ClassBestEffort:  0,  // DF
		abi.ClassBackground:  1,  // LE
		abi.ClassSystem:      1,
		abi.ClassSystem + 1:  0,
		1<<32 - 1:            0,
	} {
		got := aqm.DSCPOf(class)
		if got != want {
			t.Errorf("class %d: code point %d, want %d", class, got, want)
		}
		read, own := aqm.ClassOf(0, got<<2), aqm.ClassOf(class, 0)
		if class == abi.ClassSystem {
			own = aqm.Background
		}
		if read != own {
			t.Errorf("class %d is %v, and read as %v", class, own, read)
		}
	}
}

package aqm_test

import (
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/aqm"
)

// TestClassesOfTheABI: a domain's numbers mean the classes of the queue.
func TestClassesOfTheABI(t *testing.T) {
	for number, class := range map[uint32]aqm.Class{
		0: aqm.BestEffort, abi.ClassControl: aqm.Control, abi.ClassVoice: aqm.Voice, abi.ClassVideo: aqm.Video,
		abi.ClassInteractive: aqm.Interactive, abi.ClassStreaming: aqm.Streaming, abi.ClassManagement: aqm.Management,
		abi.ClassLowLatency: aqm.LowLatency, abi.ClassBestEffort: aqm.BestEffort, abi.ClassBackground: aqm.Background,
		abi.ClassSystem: aqm.System, abi.ClassSystem + 1: aqm.BestEffort,
	} {
		if got := aqm.ClassOf(number, 0); got != class {
			t.Errorf("%d is %v, want %v", number, got, class)
		}
	}
}

package link

import (
	"strings"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
)

func TestParseOffloads(t *testing.T) {
	for _, tt := range []struct {
		text  string
		want  uint32
		words string
		wrong string // in the error
	}{
		{"", abi.OffloadsAll, "checksum segmentation aggregation", ""},
		{"none", 0, "", ""},
		{"checksum", abi.OffloadChecksum, "checksum", ""},
		{"segmentation, checksum", abi.OffloadChecksum | abi.OffloadSegmentation, "checksum segmentation", ""},
		{"checksum aggregation", abi.OffloadChecksum | abi.OffloadAggregation, "checksum aggregation", ""},
		{"checksum segmentation aggregation", abi.OffloadsAll, "checksum segmentation aggregation", ""},
		{"aggregation", 0, "", "want checksum too"},
		{"segmentation aggregation", 0, "", "want checksum too"},
		{"none checksum", 0, "", `offload "none"`},
		{"lro", 0, "", `offload "lro": want checksum, segmentation, aggregation, or none`},
	} {
		got, err := ParseOffloads(tt.text)
		if got != tt.want && tt.wrong == "" || (err != nil) != (tt.wrong != "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%q: %b, %v", tt.text, got, err)
		}
		if words := strings.Join(OffloadNames(got), " "); err == nil && words != tt.words {
			t.Errorf("%q is %q", tt.text, words)
		}
	}
}

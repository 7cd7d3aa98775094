package overlay

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// TestSlowStart has gVisor's CUBIC as domains have it go on with slow start while acknowledgements come
// close together for longer than a round trip, and end it when round trips become longer. As it comes
// it ends with the first, too: the control, without which the edit can go.
func TestSlowStart(t *testing.T) {
	for _, c := range []struct {
		name string
		edit edit
		fail []string
	}{
		{"edited", noTrains, nil},
		{"as it comes", edit{noTrains.file, noTrains.old, noTrains.old}, []string{"TestLongTrain"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mod := editedModule(t, onlyTCP(c.edit))
			text, err := os.ReadFile(filepath.Join("testdata", "slowstart", "slowstart.go.txt"))
			if err != nil {
				t.Fatal(err)
			}
			addToTCP(t, mod, "slowstart_test.go", text)
			out, err := exec.CommandContext(t.Context(), "go", "test", "-modfile", mod, "-v", "-run", "^TestLong(Train|RoundTrips)$", gvisor+"tcpip/transport/tcp").CombinedOutput()
			for _, name := range []string{"TestLongTrain", "TestLongRoundTrips"} {
				want := "--- PASS: " + name
				if slices.Contains(c.fail, name) {
					want = "--- FAIL: " + name
				}
				if !bytes.Contains(out, []byte(want)) {
					t.Errorf("%v, want %q:\n%s", err, want, out)
				}
			}
		})
	}
}

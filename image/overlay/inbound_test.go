package overlay

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestInbound has gVisor as domains have it, with all rules, take and answer packets as it does as
// it comes; the one difference is that it does not copy those of IPv4.
func TestInbound(t *testing.T) {
	mod := editedModule(t, rules)
	// A domain sets these bounds by its quota.
	addToTCP(t, mod, "bounds.go", []byte("package tcp\n\nfunc init() { sluiceTimeWaitMax, sluiceWaitingMax = 100, 100 }\n"))
	for _, c := range []struct {
		name  string
		flags []string
		want  string
	}{
		{"as it comes", nil, "copied"},
		{"edited", []string{"-modfile", mod}, "in place"},
	} {
		t.Run(c.name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "inbound")
			build := append(append([]string{"build", "-trimpath", "-o", program}, c.flags...), "./testdata/inbound")
			if out, err := exec.CommandContext(t.Context(), "go", build...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			out, err := exec.CommandContext(t.Context(), program).CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != c.want {
				t.Errorf("%v, %q, want %q", err, got, c.want)
			}
		})
	}
}

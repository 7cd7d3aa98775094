package build

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"

	"github.com/sluice-os/sluice/image/overlay"
)

// externals lists the packages of other modules that domains have in their
// standard library.
func externals(ctx context.Context) (list []overlay.External, err error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-json=ImportPath,Dir,Standard,GoFiles,SFiles,Module", overlay.RootsPackage)
	cmd.Env = ProgramEnv()
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("packages of the network stack: %w: %s", err, firstProblem(problems.String()))
	}
	for in := json.NewDecoder(bytes.NewReader(out)); in.More(); {
		var p struct {
			overlay.External
			Standard bool
		}
		if err := in.Decode(&p); err != nil {
			return nil, err
		}
		if !p.Standard && p.Module.Path != module {
			list = append(list, p.External)
		}
	}
	return list, nil
}

// firstProblem returns the first problem of what go list has to say, in one line:
// one missing module is missed by each package that needs it.
func firstProblem(text string) string {
	var first []string
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "go: downloading "):
			continue
		case len(first) > 0 && !strings.HasPrefix(line, "\t"):
			return strings.Join(first, " ")
		}
		first = append(first, strings.TrimSpace(line))
	}
	return strings.Join(first, " ")
}

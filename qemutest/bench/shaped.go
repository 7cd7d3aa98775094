package main

// How long small packets wait on a slow cable: what TestShapedLink measures, whose cable this
// network has not.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

const shapedPackage = "github.com/sluice-os/sluice/qemutest/suites"

// shapedMeasures are rows of the table, by the queue that the test names.
var shapedMeasures = map[string]string{"fifo": "shaped-fifo", "aqm": "shaped"}

// shapedLine is what the test says of each round.
var shapedLine = regexp.MustCompile(`(?m): (fifo|aqm): echo p50 [0-9a-zµ.]+, p99 ([0-9a-zµ.]+),`)

// takeShaped runs the test once, which has rounds of its own.
func (p *plan) takeShaped(ctx context.Context, r *results) error {
	if !p.wants("shaped") && !p.wants("shaped-fifo") {
		return nil
	}
	folder, err := filepath.Abs(p.Build)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-run", "^TestShapedLink$", shapedPackage)
	cmd.Env = append(os.Environ(), "SLUICE_BUILD="+folder)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	values, problem := parseShaped(out)
	if err := errors.Join(err, problem); err != nil {
		return r.failed(ctx, "shaped", "sluice", err)
	}
	for queue, list := range values {
		for _, d := range list {
			r.add(shapedMeasures[queue], "sluice", d.Seconds()*1000)
			progress("%s: small packets on a slow cable, p99 %v", queue, d)
		}
	}
	return nil
}

// parseShaped returns the 99th percentiles of each queue.
func parseShaped(out []byte) (map[string][]time.Duration, error) {
	values := map[string][]time.Duration{}
	for _, m := range shapedLine.FindAllSubmatch(out, -1) {
		d, err := time.ParseDuration(string(m[2]))
		if err != nil {
			return nil, err
		}
		values[string(m[1])] = append(values[string(m[1])], d)
	}
	if len(values) != len(shapedMeasures) {
		return nil, fmt.Errorf("the test says nothing of rounds with both queues")
	}
	return values, nil
}

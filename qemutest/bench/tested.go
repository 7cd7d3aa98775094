package main

// What go test measures: small packets on a slow cable, whose cable this network has not; how long a
// network of routers takes to go around a link that is gone; and what needs no machine.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	suites      = module + "qemutest/suites"
	shapedTest  = "^TestShapedLink$"
	diamondTest = "^TestDiamond$/^losses$"
	hostSeconds = "1s" // for each benchmark on the host
)

// tested is a run of go test with what its output says of rows: as many values as it likes.
type tested struct {
	rows  []string
	args  []string
	again bool // it has one value of each row, and is run as often as everything
	line  *regexp.Regexp
	// parse returns the row and the value of a line's submatches.
	parse func(m []string) (row string, value float64, err error)
}

// milliseconds parses a time as the tests log it.
func milliseconds(text string) (float64, error) {
	d, err := time.ParseDuration(text)
	return float64(d) / 1e6, err
}

// benchmarks are rows that a benchmark of a package measures, by its name.
func benchmarks(pkg, pattern string, rows map[string]string) tested {
	t := tested{
		args: []string{"-run", "^$", "-bench", pattern, "-benchtime", hostSeconds, module + pkg}, again: true,
		line: regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op`),
		parse: func(m []string) (row string, value float64, err error) {
			_, err = fmt.Sscan(m[2], &value)
			return rows[m[1]], value, err
		},
	}
	for _, row := range rows {
		t.rows = append(t.rows, row)
	}
	return t
}

var testeds = []tested{
	{
		rows: []string{"shaped-fifo", "shaped"}, args: []string{"-v", "-run", shapedTest, suites},
		line: regexp.MustCompile(`(?m): (fifo|aqm): echo p50 [0-9a-zµ.]+, p99 ([0-9a-zµ.]+),`),
		parse: func(m []string) (row string, value float64, err error) {
			value, err = milliseconds(m[2])
			return map[string]string{"fifo": "shaped-fifo", "aqm": "shaped"}[m[1]], value, err
		},
	},
	{
		rows: []string{"around4"}, args: []string{"-v", "-run", diamondTest, suites},
		line: regexp.MustCompile(`(?m): link \d+: lost ([0-9a-zµ.]+) of IPv4 and `),
		parse: func(m []string) (row string, value float64, err error) {
			value, err = milliseconds(m[1])
			return "around4", value, err
		},
	},
	{
		rows: []string{"around6"}, args: []string{"-v", "-run", diamondTest, suites},
		line: regexp.MustCompile(`(?m): link \d+: lost [0-9a-zµ.]+ of IPv4 and ([0-9a-zµ.]+) of IPv6`),
		parse: func(m []string) (row string, value float64, err error) {
			value, err = milliseconds(m[1])
			return "around6", value, err
		},
	},
	benchmarks("nexus/aqm", "^BenchmarkQueue$/^(1|4096)_flows$", map[string]string{"Queue/1_flows": "queue-1", "Queue/4096_flows": "queue-4096"}),
	benchmarks("kernel/route/fib", "^BenchmarkLookup$/^IPv.$/^1000000$", map[string]string{"Lookup/IPv4/1000000": "lookup4", "Lookup/IPv6/1000000": "lookup6"}),
}

// takeTested runs what rows are wanted of. Tests of machines have rounds of their own.
func (p *plan) takeTested(ctx context.Context, r *results) error {
	folder, err := filepath.Abs(p.Build)
	if err != nil {
		return err
	}
	outputs := map[string][]byte{} // of what has run
	for _, t := range testeds {
		wanted := false
		for _, row := range t.rows {
			wanted = wanted || p.wants(row)
		}
		if !wanted {
			continue
		}
		runs := 1
		if t.again {
			runs = p.Runs
		}
		args := append([]string{"test", "-count", fmt.Sprint(runs)}, t.args...)
		key := strings.Join(args, " ")
		out, done := outputs[key]
		if !done {
			progress("go %s", key)
			cmd := exec.CommandContext(ctx, "go", args...)
			cmd.Env = append(os.Environ(), "SLUICE_BUILD="+folder)
			if out, err = cmd.CombinedOutput(); err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			outputs[key] = out
		}
		values, problem := t.values(out)
		if err := errors.Join(err, problem); err != nil {
			if err := r.failed(ctx, strings.Join(t.rows, ", "), "sluice", err); err != nil {
				return err
			}
			continue
		}
		for row, list := range values {
			for _, v := range list {
				r.add(row, "sluice", v)
			}
			progress("%s: %.4g", row, list)
		}
	}
	return nil
}

// values are those of each row in the output of go test, which has to have some of each.
func (t *tested) values(out []byte) (map[string][]float64, error) {
	values := map[string][]float64{}
	for _, m := range t.line.FindAllStringSubmatch(string(out), -1) {
		row, v, err := t.parse(m)
		if err != nil {
			return nil, err
		}
		values[row] = append(values[row], v)
	}
	for _, row := range t.rows {
		if len(values[row]) == 0 {
			return nil, fmt.Errorf("the output says nothing of %s", row)
		}
	}
	return values, nil
}

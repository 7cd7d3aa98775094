// Command slowest reads the output of go test -json, prints what go test
// without it would print, and ends with the ten slowest tests and what the
// failed ones said. Its status is 1 when a test or package failed.
//
//	go test -json ./... | go run ./qemutest/slowest
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// event is one line of go test -json (cmd/test2json).
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

// name is a test's, with the last element of its package's path.
func (e event) name() string { return path.Base(e.Package) + " " + e.Test }

// listed is how many tests are listed, and how many lines of what a failed one said.
const listed = 10

// said matches the first line of what a test says with Error or Log; the lines after it, such as
// those of a machine's console, do not begin so.
var said = regexp.MustCompile(`^ +\w+_test\.go:\d+: `)

func main() {
	if summarize(os.Stdin, os.Stdout) {
		return
	}
	os.Exit(1)
}

// summarize reads events from in and reports whether all was well.
func summarize(in io.Reader, out io.Writer) (ok bool) {
	ok = true
	var tests []event
	var failed strings.Builder
	output := map[string][]string{} // of tests that have not ended
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		if json.Unmarshal(line, &e) != nil {
			out.Write(line) // the go command's own words
		}
		name := e.Package + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			switch {
			case e.Test != "":
				output[name] = append(output[name], e.Output)
			case e.Output != "PASS\n" && !strings.HasSuffix(e.Output, "[no test files]\n"):
				io.WriteString(out, e.Output)
			}
		case "fail", "build-fail":
			ok = false
			io.WriteString(out, strings.Join(output[name], ""))
			reasons(&failed, e, output[name])
			fallthrough
		case "pass", "skip":
			if e.Action == "skip" {
				io.WriteString(out, strings.Join(output[name], ""))
			}
			delete(output, name)
			// A parent's time is its children's.
			if e.Test != "" {
				tests = append(tests, e)
			}
		}
		if err != nil {
			break
		}
	}
	for name, text := range output { // ended by a panic or a timeout
		if name[len(name)-1] != ' ' {
			io.WriteString(out, strings.Join(text, ""))
		}
	}
	slices.SortStableFunc(tests, func(a, b event) int {
		switch {
		case a.Elapsed > b.Elapsed:
			return -1
		case a.Elapsed < b.Elapsed:
			return 1
		}
		return 0
	})
	if len(tests) > 0 {
		fmt.Fprintln(out, "slowest tests:")
	}
	for _, t := range tests[:min(listed, len(tests))] {
		fmt.Fprintf(out, "%8.2f s  %s\n", t.Elapsed, t.name())
	}
	if failed.Len() > 0 {
		fmt.Fprint(out, "failed tests:\n", failed.String())
	}
	return ok
}

// reasons writes the name of a failed test and the first lines of what it said.
func reasons(to *strings.Builder, e event, output []string) {
	if e.Test == "" {
		return
	}
	fmt.Fprintf(to, "  %s\n", e.name())
	n := 0
	for _, line := range output {
		if said.MatchString(line) && n < listed {
			to.WriteString(line)
			n++
		}
	}
}

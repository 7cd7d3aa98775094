package suites

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/build"
)

// goSuite is a run of go test in domains.
type goSuite struct {
	name     string
	packages []string
	// only selects tests; all if it is empty.
	only string
	// short says that without -short the tests ask hosts of the Internet, or count
	// goroutines, of which the stack has its own.
	short bool
	// long says that it is not run with -short.
	long bool
	// full says that the suite is one of the full product only.
	full bool
	// skipped are tests for what a domain does not have, by reason.
	skipped map[string][]string
}

// goSuites are the packages whose own tests run in domains.
var goSuites = []goSuite{
	{
		name: "std",
		packages: []string{"strings", "sort", "encoding/json", "time", "sync", "context", "os", "math/big",
			"crypto/sha256", "regexp", "container/...", "embed"},
		skipped: map[string][]string{
			"other processes": {"TestMutexMisuse", "TestIssue76126", "TestProcess", "TestPidfdLeak", "TestStdPipe", "TestKill",
				"TestGetppid", "TestStatStdin", "TestStartProcess", "TestExecutable$", "TestReadNonblockingFd"},
			"named pipes (FIFOs)": {"TestFIFONonBlockingEOF", "TestFifoEOF"},
			"Unix sockets":        {"TestSpliceFile/Basic-Unix", "TestSpliceFile/Limited/.*-Unix", "TestSendFile/sendfile-to-unix", "TestGetPollFDAndNetwork/unix"},
			"the files of a Unix machine (/etc/group, /usr/bin, the folder of Go), or the program's own": {"TestOpenFileNonBlocking", "TestFileChdirTestlog", "TestChdirAndGetwd",
				"TestReadDir$", "TestReaddirnamesOneAtATime", "TestReadClosed", "TestRead0", "TestLstat$", "TestFstat$", "TestStat$",
				"TestDoubleCloseError/file", "TestFileReadDir/sysdir", "TestFileReaddir/sysdir", "TestFileReaddirnames/sysdir", "TestDirFSRootDir"},
		},
	},
	{
		name:     "net",
		packages: []string{"net"},
		short:    true,
		skipped: map[string][]string{
			"Unix sockets": {"Unix", "TestConnAndListener/unix", "TestDialerControl$", "TestDialerControlContext/StreamDial/unix",
				"TestDialContext$", "TestFileConn/unix", "TestFileListener/unix", "TestFilePacketConn/unix", "TestFileFdBlocks",
				"TestListenConfigControl", "TestPacketConn$", "TestConnAndPacketConn", "TestZeroByteRead/unix",
				"TestPacketConnClose/unix", "TestListenerClose/unix", "TestConnClose/unix", "TestCloseWrite/unix", "TestCloseRead/unix"},
			"splice":                     {"TestSplice"},
			"a file of the folder above": {"TestSendfile"},
			"no allocations in the stack's own code, which is in the same program here": {"TestTCPReadWriteAllocs", "TestAllocs$"},
		},
	},
	{
		// What -short leaves out as well, though it asks nobody outside.
		name:     "net listeners",
		packages: []string{"net"},
		only:     "^(TestTCPServer|TestUDPServer|Test(DualStack)?(TCP|UDP)Listener|TestWildWildcardListener)$",
		long:     true,
	},
	{
		name:     "net deadlines",
		packages: []string{"net"},
		// All that they do, of which -short leaves out a part: they take long, and compare times of
		// the clock more closely.
		only:    "Timeout|Deadline|TestTCPStress|TestTCPSpuriousConnSetupCompletion|TestDialerFallbackDelay",
		full:    true,
		skipped: map[string][]string{"a file of the folder above": {"TestSendfile"}},
	},
	{name: "http", packages: []string{"net/http", "net/http/httptest", "net/http/httputil", "net/rpc"}, short: true},
	{
		name:     "tls",
		packages: []string{"crypto/tls"},
		short:    true,
		full:     true,
		skipped:  map[string][]string{"FIPS mode": {"TestFIPS"}},
	},
	{
		name:     "nettest",
		packages: []string{"golang.org/x/net/nettest", "github.com/sluice-os/sluice/qemutest/nettest"},
		skipped:  map[string][]string{"Unix sockets": {"TestTestConn/Unix"}},
	},
}

// TestGoPackages runs a good part of Go's own tests in domains.
func TestGoPackages(t *testing.T) {
	t.Parallel()
	slots <- struct{}{}
	defer func() { <-slots }()
	image := filepath.Join(t.TempDir(), "image")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", image, "github.com/sluice-os/sluice/image").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, s := range goSuites {
		if s.full && !all {
			continue
		}
		t.Run(s.name, func(t *testing.T) { s.run(t, image) })
	}
}

func (s goSuite) run(t *testing.T, image string) {
	out, err := s.test(t, image, s.only, s.packages)
	if tests, packages := again(out); err != nil && len(tests) > 0 {
		t.Logf("%v, of %v, compare times of the clock, and run once more after\n%s", tests, packages, out)
		var more string
		more, err = s.test(t, image, "^("+strings.Join(tests, "|")+")$", packages)
		out += more
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	for _, p := range s.packages {
		if name := strings.TrimSuffix(p, "/..."); !strings.Contains(out, "ok  \t"+name) {
			t.Errorf("%s has not run", p)
		}
	}
}

// test runs those tests of packages that a pattern selects; all if it is empty.
func (s goSuite) test(t *testing.T, image, only string, packages []string) (out string, err error) {
	args := []string{"test", "-count=1", "-p", "1", "-tags", "timetzdata", "-timeout", "30m"}
	var skipped []string
	for _, names := range s.skipped {
		skipped = append(skipped, names...)
	}
	if only != "" {
		args = append(args, "-run", only)
	}
	if len(skipped) > 0 {
		args = append(args, "-skip", strings.Join(skipped, "|"))
	}
	if s.short || !all && !s.long {
		args = append(args, "-short")
	}
	text, err := exec.CommandContext(t.Context(), image, append(args, packages...)...).CombinedOutput()
	return string(text), err
}

var (
	// comparesTimes is in the names of tests, and of parts of them, that compare times of the
	// clock, by which they fail when the host stands still.
	comparesTimes = regexp.MustCompile(`Timeout|Deadline|Timer|Tick|TestAfter|Sleep|Delay`)
	failedTest    = regexp.MustCompile(`(?m)^ *--- FAIL: (\S+) `)
	// failedPackage is one whose tests have all come to their end.
	failedPackage = regexp.MustCompile(`(?m)^FAIL\n\n?(?:exit status 1\n)?FAIL\t(\S+)\t`)
)

// again is which tests of which packages may run once more after that output of go test: those
// that have failed, if they compare times and nothing else has failed.
func again(out string) (tests, packages []string) {
	for _, m := range failedPackage.FindAllStringSubmatch(out, -1) {
		packages = append(packages, m[1])
	}
	if strings.Count("\n"+out, "\nFAIL\t") != len(packages) {
		return nil, nil // one that could not be built, or has not come to its end
	}
	failed := failedTest.FindAllStringSubmatch(out, -1)
	for _, m := range failed {
		name := m[1]
		parts := slices.ContainsFunc(failed, func(m []string) bool { return strings.HasPrefix(m[1], name+"/") })
		if !parts && !comparesTimes.MatchString(name) {
			return nil, nil
		}
		if !strings.Contains(name, "/") && !slices.Contains(tests, name) {
			tests = append(tests, name)
		}
	}
	return tests, packages
}

// TestOnlyComparedTimesRunAgain (again): what else fails is not run once more.
func TestOnlyComparedTimesRunAgain(t *testing.T) {
	const times, other = "--- FAIL: TestReadTimeout (0.10s)\n    x_test.go:1: late\n", "--- FAIL: TestRead (0.00s)\n"
	const part, otherPart = "--- FAIL: TestConn (1.0s)\n    --- FAIL: TestConn/TCP/PastTimeout (0.10s)\n", "    --- FAIL: TestConn/TCP/Close (0.10s)\n"
	const end = "FAIL\n\nFAIL\tnet\t3.0s\n"
	for out, want := range map[string]string{
		"ok  \tnet\t3.0s\n": "[] []",
		times + end:         "[TestReadTimeout] [net]",
		"ok  \tos\t1s\n" + times + end + part + "FAIL\nexit status 1\nFAIL\tnet/http\t1s\nFAIL\n": "[TestReadTimeout TestConn] [net net/http]",
		other + end:                               "[] []",
		times + other + end:                       "[] []",
		part + otherPart + end:                    "[] []",
		times + "FAIL\tnet\t3.0s\n":               "[] []",
		times + end + "FAIL\tos [build failed]\n": "[] []",
		times + "panic: late\n\ngoroutine 1 [running]:\nexit status 2\nFAIL\tnet\t3.0s\nFAIL\n": "[] []",
	} {
		if tests, packages := again(out); fmt.Sprint(tests, packages) != want {
			t.Errorf("%q: %v %v, want %s", out, tests, packages, want)
		}
	}
}

var testFunc = regexp.MustCompile(`(?m)^func (Test[A-Z_0-9]\w*)\(\w+ \*(?:testing\.)?T\)`)

// goFunc is a function of a test's file and its body, and shortSkip what leaves it out with -short.
var (
	goFunc    = regexp.MustCompile(`(?ms)^func (\w+)\(.*?^\}`)
	shortSkip = regexp.MustCompile(`testing\.Short\(\)[^{\n]*\{\s*t\.Skip`)
)

// TestFewGoTestsAreLeftOut: of the tests that a package has for Linux, at most a third are
// left out, by name or, as it names here, by -short.
func TestFewGoTestsAreLeftOut(t *testing.T) {
	const format = `{{.ImportPath}} {{.Dir}}{{range .TestGoFiles}} {{.}}{{end}}{{range .XTestGoFiles}} {{.}}{{end}}`
	for _, s := range goSuites {
		if s.only != "" {
			continue
		}
		var names []string
		for _, list := range s.skipped {
			for _, name := range list {
				if !strings.Contains(name, "/") { // else a part of a test
					names = append(names, name)
				}
			}
		}
		left := regexp.MustCompile(strings.Join(append(names, "^$"), "|"))
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-f", format}, s.packages...)...)
		cmd.Env = build.ProgramEnv()
		text, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list %v: %v", s.packages, err)
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			all, out := 0, 0
			var sources [][]byte
			short := map[string]bool{} // functions that -short leaves out
			for _, name := range f[2:] {
				source, err := os.ReadFile(filepath.Join(f[1], name))
				if err != nil {
					t.Fatal(err)
				}
				sources = append(sources, source)
				for _, m := range goFunc.FindAllSubmatch(source, -1) {
					short[string(m[1])] = !s.long && shortSkip.Match(m[0])
				}
			}
			var byShort []string
			for _, source := range sources {
				for _, m := range testFunc.FindAllSubmatch(source, -1) {
					all++
					// net/http has its tests for HTTP/1 and 2 in functions of the same name but for the first letter.
					name := string(m[1])
					switch {
					case left.MatchString(name):
						out++
					case short[name] || short["t"+name[1:]]:
						byShort = append(byShort, name)
						out++
					}
				}
			}
			if len(byShort) > 0 {
				t.Logf("%s: -short leaves out %s", f[0], strings.Join(byShort, ", "))
			}
			if out*3 > all {
				t.Errorf("%s: %d of %d tests are left out", f[0], out, all)
			}
			if out > 0 {
				t.Logf("%s: %d of %d tests are left out", f[0], out, all)
			}
		}
	}
}

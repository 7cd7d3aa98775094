package suites

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// goPackages are those whose own tests run in a domain.
var goPackages = []string{"strings", "sort", "encoding/json", "time", "sync", "context", "os", "math/big",
	"crypto/sha256", "regexp", "container/...", "embed", "net"}

// goSkipped are tests for what a domain does not have, by reason.
var goSkipped = map[string][]string{
	"Unix sockets": {"Unix", "TestConnAndListener", "TestDialerControl", "TestDialContext", "TestPacketConn",
		"TestFileConn", "TestFileListener", "TestFilePacketConn", "TestFileFdBlocks", "TestListenConfigControl",
		"TestConnAndPacketConn", "TestSplice", "TestZeroByteRead", "TestListenerClose", "TestConnClose", "TestCloseWrite",
		"TestCloseRead", "TestGetPollFDAndNetwork"},
	"a file of the folder above, or splice and sendfile":                        {"TestSendfile", "TestSendFile", "TestCopyFile", "TestSpliceFile", "TestLargeCopyViaNetwork"},
	"no allocations in the stack's own code, which is in the same program here": {"TestTCPReadWriteAllocs", "TestAllocs$"},
	"a server in another process":                                               {"TestHTTPDecoding", "ExampleAfterFunc_connection"},
	"other processes": {"TestMutexMisuse", "TestIssue76126", "TestProcess", "TestPidfd", "TestStdPipe", "TestKill",
		"TestGetppid", "TestStatStdin", "TestStartProcess", "TestExecutable", "TestFindProcess", "TestCheckPidfd"},
	"descriptors that are polled: deadlines, O_NONBLOCK, FIFOs": {"TestVariousDeadlines", "TestTTYClose",
		"TestNoRaceDeadline", "TestReadTimeout", "TestWriteTimeout", "DeadlineRace", "TestRacyRead", "TestRacyWrite", "TestNonpollableDeadline", "NonBlock", "TestClosedPipeRace",
		"TestFdRace", "TestReadNonblockingFd", "TestFifoEOF", "TestPipe", "TestFIFO"},
	"the files of a Unix machine (/etc/group, /usr/bin, the folder of Go)": {"TestFileChdirTestlog", "TestChdirAndGetwd",
		"TestReadDir$", "TestReaddirnamesOneAtATime", "TestReadClosed", "TestRead0", "TestLstat$", "TestFstat$", "TestStat$",
		"TestDoubleCloseError", "TestFileReadDir", "TestFileReaddir", "TestDirFSRootDir"},
}

// TestGoPackages runs a good part of Go's own tests in domains.
func TestGoPackages(t *testing.T) {
	t.Parallel()
	slots <- struct{}{}
	defer func() { <-slots }()
	var skipped []string
	for _, names := range goSkipped {
		skipped = append(skipped, names...)
	}
	image := filepath.Join(t.TempDir(), "image")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", image, "github.com/sluice-os/sluice/image").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	args := []string{"test", "-count=1", "-p", "1", "-tags", "timetzdata", "-timeout", "5m", "-skip", strings.Join(skipped, "|")}
	if !all {
		args = append(args, "-short")
	}
	out, err := exec.CommandContext(t.Context(), image, append(args, goPackages...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	for _, p := range goPackages {
		if name := strings.TrimSuffix(p, "/..."); !strings.Contains(string(out), "ok  \t"+name) {
			t.Errorf("%s has not run", p)
		}
	}
}

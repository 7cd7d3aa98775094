package suites

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// outside is a module in a folder of its own that uses Sluice as a dependency:
// a program, a manifest, and a test that boots both.
var outside = map[string]string{
	"app/main.go": `package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	l, problem := net.Listen("tcp", ":80")
	if problem != nil {
		log.Fatal(problem)
	}
	text, err := os.ReadFile("/etc/motd")
	fmt.Printf("hello from outside: %s %v %q\n", text, err, os.Args[1:])
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s to %s\n", text, r.URL.Path) })
	log.Fatal(http.Serve(l, nil))
}
`,
	"motd": "good day",
	"sluice.toml": `[domain.hello]
package = "./app"
args = ["one", "two words"]
files = { "/etc/motd" = "motd" }
listen = ["tcp/80"]
`,
	"app_test.go": `package mine

import (
	"io"
	"net/http"
	"testing"

	"github.com/sluice-os/sluice/qemutest"
)

func TestHello(t *testing.T) {
	vm := qemutest.Start(t, qemutest.Config{
		Image: qemutest.Build(t, "sluice.toml", ""), Memory: 192,
		Net: qemutest.UserNet, Forward: []string{"tcp/80"},
	})
	vm.Seen(t, "hello: hello from outside: good day <nil> [\"one\" \"two words\"]")
	vm.Seen(t, "address acquired")
	r, err := http.Get("http://" + vm.Forwarded(t, "tcp/80") + "/you")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if text, err := io.ReadAll(r.Body); err != nil || string(text) != "good day to /you\n" {
		t.Errorf("%q, %v", text, err)
	}
}
`,
}

// TestOutsideModule builds and tests a module that only requires this one.
func TestOutsideModule(t *testing.T) {
	t.Parallel()
	slots <- struct{}{}
	defer func() { <-slots }()
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range outside {
		write(name, text)
	}
	// What go mod tidy would write, without asking anybody.
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(checkout, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, requirements, _ := strings.Cut(read("go.mod"), "\nrequire")
	write("go.mod", "module example.org/mine\n\ngo 1.26.4\n\nrequire github.com/sluice-os/sluice v0.0.0\n\nreplace github.com/sluice-os/sluice => "+checkout+"\n\nrequire"+requirements)
	write("go.sum", read("go.sum"))

	for _, args := range [][]string{
		{"run", "github.com/sluice-os/sluice/image", "check"},
		{"run", "github.com/sluice-os/sluice/image", "build", "-o", "mine.elf"},
		{"test", "-count=1", "./..."},
	} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "SLUICE_BUILD="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		t.Logf("go %s: %s", strings.Join(args, " "), out)
	}
}

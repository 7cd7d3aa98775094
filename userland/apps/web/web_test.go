package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/userland/apps/internal/cli"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args []string
		want config
		err  error
	}{
		{nil, config{":80", ":443", "/proc/sluice/stats", 128}, nil},
		{[]string{"-http", "[::1]:81", "-https=", "-stats", "s", "-max", "9"}, config{"[::1]:81", "", "s", 9}, nil},
		{[]string{"-help"}, config{}, flag.ErrHelp},
		{[]string{"-nosuch"}, config{}, cli.ErrUsage},
		{[]string{"word"}, config{}, cli.ErrUsage},
		{[]string{"-max", "0"}, config{}, cli.ErrUsage},
		{[]string{"-http=", "-https="}, config{}, cli.ErrUsage},
	} {
		got, err := parse(c.args, io.Discard)
		if !errors.Is(err, c.err) || err == nil && got != c.want {
			t.Errorf("%q: %+v, %v, want %+v, %v", c.args, got, err, c.want, c.err)
		}
	}
	var out, errs bytes.Buffer
	if n := run(t.Context(), []string{"-max", "x"}, &out, &errs); n != 2 || strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("bad flag: status %d, errors %q, want 2 and one line", n, &errs)
	}
	errs.Reset()
	if n := run(t.Context(), []string{"-http", "192.0.2.1:1"}, &out, &errs); n != 1 || strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("an address that is not ours: status %d, errors %q, want 1 and one line", n, &errs)
	}
}

// fixed is a source that always says the same.
type fixed struct {
	b   string
	err error
}

func (f fixed) Snapshot() ([]byte, error) { return []byte(f.b), f.err }

func TestSite(t *testing.T) {
	site := newSite(fixed{b: `{"time_ns":1}`})
	for _, c := range []struct {
		method, path, body string
		status             int
		kind, want         string // want is a part of the answer
	}{
		{"GET", "/", "", 200, "text/html; charset=utf-8", "<title>Sluice</title>"},
		{"GET", "/page.css", "", 200, "text/css; charset=utf-8", "prefers-color-scheme"},
		{"GET", "/page.js", "", 200, "text/javascript; charset=utf-8", "/stats.json"},
		{"GET", "/plot.js", "", 200, "text/javascript; charset=utf-8", "class Plot"},
		{"GET", "/histogram.js", "", 200, "text/javascript; charset=utf-8", "class Histograms"},
		{"GET", "/routing", "", 200, "text/html; charset=utf-8", "<title>Sluice: routing</title>"},
		{"GET", "/routing.js", "", 200, "text/javascript; charset=utf-8", "/stats.json"},
		{"GET", "/icon.svg", "", 200, "image/svg+xml", "<svg"},
		{"GET", "/stats.json", "", 200, "application/json", `{"time_ns":1}`},
		{"GET", "/healthz", "", 200, "text/plain; charset=utf-8", "ok\n"},
		{"GET", "/hello", "", 200, "text/plain; charset=utf-8", "Hello, world.\n"},
		{"HEAD", "/hash?n=1073741824", "", 200, "application/octet-stream", ""},
		{"GET", "/hash?n=1073741825", "", 400, "text/plain; charset=utf-8", "0 to 1073741824"},
		{"GET", "/hash?n=-1", "", 400, "text/plain; charset=utf-8", "expected"},
		{"GET", "/hash", "", 400, "text/plain; charset=utf-8", "expected"},
		{"GET", "/hash?n=1&seed=x", "", 400, "text/plain; charset=utf-8", "expected"},
		{"POST", "/upload", "abc", 200, "text/plain; charset=utf-8", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n"},
		{"PUT", "/upload", "", 200, "text/plain; charset=utf-8", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"},
		{"GET", "/upload", "", 405, "text/plain; charset=utf-8", ""},
		{"POST", "/", "", 405, "text/plain; charset=utf-8", ""},
		{"GET", "/nosuch", "", 404, "text/plain; charset=utf-8", ""},
		{"GET", "/page/index.html", "", 404, "text/plain; charset=utf-8", ""},
	} {
		w := httptest.NewRecorder()
		site.ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)))
		h := w.Header()
		if w.Code != c.status || h.Get("Content-Type") != c.kind || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s: %d %s %.80q, want %d %s %.80q", c.method, c.path, w.Code, h.Get("Content-Type"), w.Body, c.status, c.kind, c.want)
		}
		if h.Get("Content-Security-Policy") != policy || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: headers %v", c.method, c.path, h)
		}
	}
	w := httptest.NewRecorder()
	newSite(fixed{err: errTooLong}).ServeHTTP(w, httptest.NewRequest("GET", "/stats.json", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("source fails: %d, want 503", w.Code)
	}
}

// TestPageIsSelfContained: nothing comes from elsewhere, nothing gets in as HTML.
func TestPageIsSelfContained(t *testing.T) {
	for _, name := range []string{"index.html", "page.css", "page.js", "plot.js", "histogram.js", "routing.html", "routing.js"} {
		b, err := page.ReadFile("page/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"http:", "https:", "//cdn", "@import", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", " style=", "onclick"} {
			if strings.Contains(string(b), bad) {
				t.Errorf("%s contains %q", name, bad)
			}
		}
	}
}

func TestHash(t *testing.T) {
	s := httptest.NewServer(newSite(fixed{}))
	defer s.Close()
	get := func(query string) []byte {
		r, err := http.Get(s.URL + "/hash?" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil || r.ContentLength != int64(len(b)) {
			t.Fatalf("%s: %d of %d bytes, %v", query, len(b), r.ContentLength, err)
		}
		return b
	}
	want := make([]byte, 100_001)
	newBytes(7).Read(want)
	if got := get("n=100001&seed=7"); !bytes.Equal(got, want) {
		t.Error("seed 7: other bytes than ChaCha8's")
	}
	if got := get("n=100001"); len(got) != len(want) || bytes.Equal(got, want) {
		t.Error("seed 0: the bytes of seed 7")
	}
	if got := get("n=0"); len(got) != 0 {
		t.Errorf("n=0: %d bytes", len(got))
	}
	r, err := http.Post(s.URL+"/upload", "", bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if b, _ := io.ReadAll(r.Body); string(b) != fmt.Sprintf("%x\n", sha256.Sum256(want)) {
		t.Errorf("upload: %q", b)
	}
}

// endless is a body that never ends.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestUploadTooLarge(t *testing.T) {
	r := httptest.NewRequest("POST", "/upload", nil)
	r.ContentLength = largestTransfer + 1
	w := httptest.NewRecorder()
	upload(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("told length: %d, want 413", w.Code)
	}
	if testing.Short() {
		t.Skip("-short: does not hash 1 GiB")
	}
	r = httptest.NewRequest("POST", "/upload", endless{})
	r.ContentLength = -1
	w = httptest.NewRecorder()
	upload(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("no length: %d, want 413", w.Code)
	}
}

func TestTransfersAreLimited(t *testing.T) {
	l := newTransfers()
	inside, leave := make(chan bool), make(chan bool)
	slow := l.limit(func(http.ResponseWriter, *http.Request) { inside <- true; <-leave })
	ask := func() int {
		w := httptest.NewRecorder()
		slow(w, httptest.NewRequest("GET", "/", nil))
		return w.Code
	}
	for range transferCount {
		go ask()
		<-inside
	}
	if got := ask(); got != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d, want 503", got)
	}
	close(leave)
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "stats")
	s := newSource(path)
	b, err := s.Snapshot()
	var got struct {
		Process struct {
			Why        string
			Goroutines int
		}
	}
	if err != nil || json.Unmarshal(b, &got) != nil || got.Process.Why != "outside" || got.Process.Goroutines < 1 {
		t.Errorf("no file: %s, %v", b, err)
	}
	for _, c := range []struct {
		text string
		err  error
	}{
		{`{"time_ns":5,"domains":[]}`, nil},
		{" {}\n", nil},
		{"", errNotJSON},
		{"[1]", errNotJSON},
		{`{"time_ns":`, errNotJSON},
		{`{"a":"` + strings.Repeat("x", largestSnapshot) + `"}`, errTooLong},
	} {
		os.WriteFile(path, []byte(c.text), 0o600)
		b, err := s.Snapshot()
		if !errors.Is(err, c.err) || err == nil && string(b) != c.text {
			t.Errorf("%.30q: %.30q, %v, want %v", c.text, b, err, c.err)
		}
	}
}

// counting is a source that counts who asks.
type counting int

func (c *counting) Snapshot() ([]byte, error) { *c++; return fmt.Appendf(nil, "%d", *c), nil }

func TestRecent(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newRecent(new(counting), func() time.Time { return now })
	for _, c := range []struct {
		after time.Duration
		want  string
	}{{0, "1"}, {freshness - 1, "1"}, {1, "2"}, {freshness, "3"}, {-time.Hour, "4"}} {
		now = now.Add(c.after)
		if b, _ := r.Snapshot(); string(b) != c.want {
			t.Errorf("after %v more: asked %s times, want %s", c.after, b, c.want)
		}
	}
}

func TestCertificate(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c, err := newCertificate("box", []net.IP{net.IPv4(192, 0, 2, 1)}, now)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.Leaf)
	for _, name := range []string{"box", "localhost", "127.0.0.1", "::1", "192.0.2.1"} {
		if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: "other", Roots: roots, CurrentTime: now}); err == nil {
		t.Error("good for another name")
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now.Add(validAfter + time.Hour)}); err == nil {
		t.Error("good for ever")
	}
}

// patience is how long a test waits for what must come, by the clock, which goes on while the
// host stands still.
const patience = 5 * time.Minute

// start runs the services on ports that the system picks.
func start(t *testing.T) (plain, secure string, end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := serve(ctx, config{"127.0.0.1:0", "127.0.0.1:0", "/nosuch", 16}, w)
		w.Close()
		done <- err
	}()
	var said string
	for b := make([]byte, 256); strings.Count(said, "\n") < 2; {
		n, err := r.Read(b)
		if err != nil {
			cancel()
			t.Fatalf("no service: %v", <-done)
		}
		said += string(b[:n])
	}
	fmt.Sscanf(said, "web: http %s\nweb: https %s", &plain, &secure)
	t.Cleanup(cancel)
	return plain, strings.TrimSuffix(secure, ","), func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return errors.New("did not end")
		}
	}
}

func TestServe(t *testing.T) {
	plain, secure, end := start(t)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	for url, major := range map[string]int{"http://" + plain: 1, "https://" + secure: 2} {
		r, err := client.Get(url + "/hello")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.ProtoMajor != major || string(b) != "Hello, world.\n" {
			t.Errorf("%s: HTTP/%d, %q, want HTTP/%d", url, r.ProtoMajor, b, major)
		}
	}

	c, err := net.Dial("tcp", plain)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "GET /hello HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("x", 32<<10))
	b := make([]byte, 12)
	if io.ReadFull(c, b); string(b) != "HTTP/1.1 431" {
		t.Errorf("long header: %q, want 431", b)
	}
	if err := end(); err != nil {
		t.Errorf("end: %v", err)
	}
}

func TestServerHasLimits(t *testing.T) {
	s := newServer(nil)
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 || s.MaxHeaderBytes > 64<<10 {
		t.Errorf("a limit is missing: %+v", s)
	}
}

// TestStockClient fetches with curl, 8 MiB each way, over HTTP and HTTPS.
func TestStockClient(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	plain, secure, _ := start(t)
	const size = 8 << 20
	sum := sha256.New()
	io.CopyN(sum, newBytes(3), size)
	want := fmt.Sprintf("%x\n", sum.Sum(nil))
	file := filepath.Join(t.TempDir(), "bytes")
	for _, url := range []string{"http://" + plain, "https://" + secure} {
		if out, err := exec.CommandContext(t.Context(), curl, "-sSkf", "-m", "300", "-o", file, fmt.Sprintf("%s/hash?n=%d&seed=3", url, size)).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", url, err, out)
		}
		out, err := exec.CommandContext(t.Context(), curl, "-sSkf", "-m", "300", "-T", file, url+"/upload").CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("%s: got %q, %v, want %q", url, out, err, want)
		}
	}
}

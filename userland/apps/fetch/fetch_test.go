package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"flag"
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
		err  error
	}{
		{[]string{"http://example"}, nil},
		{[]string{"-o", "f", "-k", "-q", "-t", "3s", "https://[2001:db8::1]:8443/x?y"}, nil},
		{[]string{"-h"}, flag.ErrHelp},
		{nil, cli.ErrUsage},
		{[]string{"-x"}, cli.ErrUsage},
		{[]string{"http://a", "http://b"}, cli.ErrUsage},
		{[]string{"-t", "0s", "http://a"}, cli.ErrUsage},
		{[]string{"-k", "-ca", "f", "http://a"}, cli.ErrUsage},
		{[]string{"ftp://a"}, cli.ErrUsage},
		{[]string{"file:///etc/passwd"}, cli.ErrUsage},
		{[]string{"example"}, cli.ErrUsage},
		{[]string{"http://"}, cli.ErrUsage},
		{[]string{"http://a\x7f"}, cli.ErrUsage},
	} {
		if _, err := parse(c.args, io.Discard); !errors.Is(err, c.err) {
			t.Errorf("%q: %v, want %v", c.args, err, c.err)
		}
	}
}

// site answers a little of everything.
func site() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "here "+r.Proto+"\n") })
	m.HandleFunc("/none", http.NotFound)
	m.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) })
	m.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	m.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+r.Host+"/", http.StatusFound)
	})
	m.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "not all")
	})
	m.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	m.HandleFunc("/slow/body", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "a part")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	m.HandleFunc("/long", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X", strings.Repeat("x", 2*largestHeader))
	})
	return m
}

func TestRun(t *testing.T) {
	plain := httptest.NewServer(site())
	defer plain.Close()
	secure := httptest.NewUnstartedServer(site())
	secure.EnableHTTP2 = true
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	defer secure.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	l.Close()
	dir := t.TempDir()
	ca, empty := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "empty.pem")
	os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600)
	os.WriteFile(empty, nil, 0o600)
	wrongName := strings.Replace(secure.URL, "127.0.0.1", "localhost", 1)

	for _, c := range []struct {
		args   string
		status int
		out    string // all of it
		errs   string // a part of the line
	}{
		{plain.URL, statusDone, "here HTTP/1.1\n", "200 OK, 14 bytes in "},
		{"-q " + plain.URL, statusDone, "here HTTP/1.1\n", ""},
		{plain.URL + "/away", statusDone, "here HTTP/1.1\n", "200 OK"},
		{"-q " + plain.URL + "/none", statusAnswer, "404 page not found\n", "404 Not Found"},
		{plain.URL + "/round", statusAnswer, "", errHops.Error()},
		{plain.URL + "/cut", statusBroken, "not all", "unexpected EOF"},
		{"-t 2s " + plain.URL + "/slow", statusTime, "", "deadline"},
		{"-t 5s " + plain.URL + "/slow/body", statusTime, "a part", "deadline"},
		{plain.URL + "/long", statusConnect, "", "header"},
		{closed, statusConnect, "", "refused"},
		{secure.URL, statusTrust, "", "certificate"},
		{"-k " + secure.URL, statusDone, "here HTTP/2.0\n", "HTTP/2.0 200"},
		{"-ca " + ca + " " + secure.URL, statusDone, "here HTTP/2.0\n", "HTTP/2.0 200"},
		{"-ca " + ca + " " + wrongName, statusTrust, "", "certificate"},
		{"-k " + secure.URL + "/plain", statusTrust, "", errPlain.Error()},
		{"-ca " + empty + " " + secure.URL, statusUsage, "", errRoots.Error()},
		{"-ca " + dir + "/none " + secure.URL, statusUsage, "", "no such file"},
		{"-o " + dir + "/none/f " + plain.URL, statusBroken, "", "no such file"},
		{"-z", statusUsage, "", "-h tells"},
	} {
		var out, errs bytes.Buffer
		status := run(t.Context(), strings.Fields(c.args), &out, &errs)
		lines := 1
		if c.errs == "" {
			lines = 0
		}
		if status != c.status || out.String() != c.out || !strings.Contains(errs.String(), c.errs) || strings.Count(errs.String(), "\n") != lines {
			t.Errorf("%s: status %d, out %q, errors %q, want %d, %q, %q", c.args, status, &out, &errs, c.status, c.out, c.errs)
		}
	}
}

func TestFileIsWholeOrAsBefore(t *testing.T) {
	s := httptest.NewServer(site())
	defer s.Close()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	os.WriteFile(path, []byte("before"), 0o600)
	for _, c := range []struct {
		url    string
		status int
		want   string
	}{{"/cut", statusBroken, "before"}, {"/", statusDone, "here HTTP/1.1\n"}} {
		var out bytes.Buffer
		if got := run(t.Context(), []string{"-q", "-o", path, s.URL + c.url}, &out, io.Discard); got != c.status || out.Len() != 0 {
			t.Errorf("%s: status %d, out %q, want %d", c.url, got, &out, c.status)
		}
		if b, _ := os.ReadFile(path); string(b) != c.want {
			t.Errorf("%s: the file has %q, want %q", c.url, b, c.want)
		}
	}
	if all, _ := os.ReadDir(dir); len(all) != 1 {
		t.Errorf("%d files are left", len(all))
	}
}

func TestEndsWhenAsked(t *testing.T) {
	s := httptest.NewServer(site())
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{s.URL + "/slow"}, io.Discard, io.Discard) }()
	select {
	case status := <-done:
		if status == statusDone {
			t.Error("status 0")
		}
	case <-time.After(5 * time.Minute):
		t.Error("did not end")
	}
}

// TestAsCurl: fetch and curl get the same.
func TestAsCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	s := httptest.NewServer(site())
	defer s.Close()
	for _, path := range []string{"/", "/away", "/none"} {
		want, err := exec.CommandContext(t.Context(), curl, "-sSL", "-m", "300", s.URL+path).Output()
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if run(t.Context(), []string{s.URL + path}, &out, io.Discard); out.String() != string(want) {
			t.Errorf("%s: %q, curl gets %q", path, &out, want)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
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
		{nil, config{":7", ":7", 64, time.Minute}, nil},
		{[]string{"-tcp", "[::1]:8", "-udp=", "-max", "2", "-idle", "3s"}, config{"[::1]:8", "", 2, 3 * time.Second}, nil},
		{[]string{"-h"}, config{}, flag.ErrHelp},
		{[]string{"-nosuch"}, config{}, cli.ErrUsage},
		{[]string{"word"}, config{}, cli.ErrUsage},
		{[]string{"-max", "0"}, config{}, cli.ErrUsage},
		{[]string{"-max", "65537"}, config{}, cli.ErrUsage},
		{[]string{"-idle", "0s"}, config{}, cli.ErrUsage},
		{[]string{"-tcp=", "-udp="}, config{}, cli.ErrUsage},
	} {
		got, err := parse(c.args, io.Discard)
		if !errors.Is(err, c.err) || err == nil && got != c.want {
			t.Errorf("%q: %+v, %v, want %+v, %v", c.args, got, err, c.want, c.err)
		}
	}
}

func TestRunStatus(t *testing.T) {
	var out, errs bytes.Buffer
	if n := run(t.Context(), []string{"-max", "many"}, &out, &errs); n != 2 || strings.Count(errs.String(), "\n") != 1 || out.Len() != 0 {
		t.Errorf("bad flag: status %d, out %q, errors %q, want 2 and one line", n, &out, &errs)
	}
	errs.Reset()
	if n := run(t.Context(), []string{"-h"}, &out, &errs); n != 0 || errs.Len() != 0 || !strings.Contains(out.String(), "RFC 862") {
		t.Errorf("-h: status %d, out %q, errors %q", n, &out, &errs)
	}
	if n := run(t.Context(), []string{"-tcp", "192.0.2.1:1", "-udp="}, &out, &errs); n != 1 || strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("an address that is not ours: status %d, errors %q, want 1 and one line", n, &errs)
	}
}

// patience is how long a test waits for what must come, by the clock, which goes on while the
// host stands still.
const patience = 5 * time.Minute

// start runs the services on ports that the system picks.
func start(t *testing.T, host string, c config) (tcp, udp string, end func() error) {
	t.Helper()
	c.tcp, c.udp = host+":0", host+":0"
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := serve(ctx, c, w)
		w.CloseWithError(io.EOF)
		done <- err
	}()
	var said strings.Builder
	b := make([]byte, 256)
	for strings.Count(said.String(), "\n") < 2 {
		n, err := r.Read(b)
		if err != nil {
			cancel()
			t.Skipf("no service at %s: %v", host, <-done)
		}
		said.Write(b[:n])
	}
	lines := strings.Split(said.String(), "\n")
	end = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return errors.New("did not end")
		}
	})
	t.Cleanup(func() { end() })
	return strings.TrimPrefix(lines[0], "echo: tcp "), strings.TrimPrefix(lines[1], "echo: udp "), end
}

func TestServe(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		t.Run(host, func(t *testing.T) {
			tcp, udp, end := start(t, host, config{limit: 4, idle: 10 * time.Minute})

			c, err := net.Dial("tcp", tcp)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			sent := bytes.Repeat([]byte("all that is said comes back. "), 20000)
			go func() {
				c.Write(sent)
				c.(*net.TCPConn).CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("tcp: %d bytes, %v, want the %d that were sent", len(got), err, len(sent))
			}

			u, err := net.Dial("udp", udp)
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			u.SetDeadline(time.Now().Add(patience))
			for _, size := range []int{0, 1, 1472, 60000} {
				u.Write(sent[:size])
				b := make([]byte, largestDatagram)
				n, err := u.Read(b)
				if err != nil || !bytes.Equal(b[:n], sent[:size]) {
					t.Errorf("udp: %d bytes, %v, want the %d that were sent", n, err, size)
				}
			}
			if err := end(); err != nil {
				t.Errorf("end: %v", err)
			}
		})
	}
}

func TestMoreConnectionsThanAllowed(t *testing.T) {
	tcp, _, end := start(t, "127.0.0.1", config{limit: 2, idle: 10 * time.Minute})
	var open []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", tcp)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		c.Write([]byte("x"))
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	c, err := net.Dial("tcp", tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("third of two connections: read %d, %v, want its end", n, err)
	}
	if err := end(); err != nil {
		t.Errorf("end with open connections: %v", err)
	}
	if _, err := open[0].Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlived the service")
	}
}

func TestEchoIdle(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	if err := echo(here, time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("silent peer: %v, want a deadline", err)
	}
	go there.Write([]byte("but never read"))
	if err := echo(here, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("peer that reads nothing: %v, want a deadline", err)
	}
}

func TestMayAnswer(t *testing.T) {
	for from, want := range map[string]bool{
		"192.0.2.1:1024":          true,
		"[::ffff:192.0.2.1]:4000": true,
		"[2001:db8::1]:65535":     true,
		"192.0.2.1:7":             false,
		"[2001:db8::1]:19":        false,
		"224.0.0.1:4000":          false,
		"[ff02::1]:4000":          false,
		"255.255.255.255:4000":    false,
		"0.0.0.0:4000":            false,
	} {
		if got := mayAnswer(netip.MustParseAddrPort(from)); got != want {
			t.Errorf("%s: %v, want %v", from, got, want)
		}
	}
}

// TestStockClient asks with curl, which speaks plain TCP as telnet://.
func TestStockClient(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	tcp, _, end := start(t, "127.0.0.1", config{limit: 1, idle: 10 * time.Minute})
	cmd := exec.CommandContext(t.Context(), curl, "-s", "-N", "-m", "300", "telnet://"+tcp)
	cmd.Stdin = strings.NewReader("hello\n")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("hello\n"))
	n, err := io.ReadFull(out, first)
	if err := end(); err != nil { // curl goes on until the server ends the connection
		t.Error(err)
	}
	rest, _ := io.ReadAll(out)
	cmd.Wait()
	if string(first) != "hello\n" || len(rest) > 0 {
		t.Errorf("curl got %q and %q, %v", first[:n], rest, err)
	}
}

package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	parse := func(args []string, help io.Writer) (n int, err error) {
		f := Flags("count")
		f.IntVar(&n, "n", 1, "how many")
		return n, NoArguments(f, args, "Usage: count\n\n", help)
	}
	serve := func(_ context.Context, n int, out io.Writer) error {
		if n > 3 {
			return errors.New("too many")
		}
		out.Write(bytes.Repeat([]byte("x"), n))
		return nil
	}
	for _, tt := range []struct {
		args      string
		status    int
		out, errs string
	}{
		{"", 0, "x", ""},
		{"-n 3", 0, "xxx", ""},
		{"-n 4", 1, "", "count: too many\n"},
		{"-h", 0, "Usage: count\n\n  -n int\n    \thow many (default 1)\n", ""},
		{"-m 4", 2, "", "count: flag: flag provided but not defined: -m; -h tells which there are\n"},
		{"4", 2, "", "count: flag: \"4\" is none; -h tells which there are\n"},
	} {
		var out, errs bytes.Buffer
		if got := Run(t.Context(), "count", strings.Fields(tt.args), &out, &errs, parse, serve); got != tt.status || out.String() != tt.out || errs.String() != tt.errs {
			t.Errorf("%q: status %d, %q, %q; want %d, %q, %q", tt.args, got, out.String(), errs.String(), tt.status, tt.out, tt.errs)
		}
	}
	if err := Parse(Flags("count"), []string{"-h"}, "", io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

func TestListen(t *testing.T) {
	tcp, udp, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	defer tcp.Close()
	if a, b := tcp.Addr().(*net.TCPAddr).AddrPort(), udp.LocalAddr().(*net.UDPAddr).AddrPort(); a != b {
		t.Errorf("TCP at %v, UDP at %v", a, b)
	}
	if _, _, err := Listen(tcp.Addr().String()); err == nil {
		t.Error("an address twice")
	}
}

// Package cli is what the apps' commands have in common: flags with one line for what is wrong,
// exit statuses, and an end when they are asked for it.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
)

// ErrUsage is wrapped by what is wrong with flags and arguments.
var ErrUsage = errors.New("flag")

// Flags returns a set of flags that writes nothing by itself.
func Flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return f
}

// Parse reads the flags. For -h it writes about and the flags to help and returns
// flag.ErrHelp, for anything wrong an ErrUsage.
func Parse(f *flag.FlagSet, args []string, about string, help io.Writer) error {
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(help, about)
		f.SetOutput(help)
		f.PrintDefaults()
	case err != nil:
		err = fmt.Errorf("%w: %v; -h tells which there are", ErrUsage, err)
	}
	return err
}

// NoArguments is Parse for a program that takes none behind its flags.
func NoArguments(f *flag.FlagSet, args []string, about string, help io.Writer) error {
	err := Parse(f, args, about, help)
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("%w: %q is none; -h tells which there are", ErrUsage, f.Arg(0))
	}
	return err
}

// Run runs a program that serves until ctx ends, and returns its exit status: 2 for what parse
// finds wrong, 1 when serve fails. What is wrong is one line in errs.
func Run[Config any](ctx context.Context, name string, args []string, out, errs io.Writer,
	parse func(args []string, help io.Writer) (Config, error), serve func(ctx context.Context, c Config, out io.Writer) error) int {
	c, err := parse(args, out)
	status := 2
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err == nil:
		err, status = serve(ctx, c, out), 1
	}
	if err != nil {
		fmt.Fprintf(errs, "%s: %v\n", name, err)
		return status
	}
	return 0
}

// Main runs a program with the process's arguments until it ends, or is told to by a signal,
// and ends the process with its status.
func Main(run func(ctx context.Context, args []string, out, errs io.Writer) int) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Listen opens an address for TCP and UDP, of one port also where the system picks it: it picks one that
// is free for TCP, and another one when that is not free for UDP.
func Listen(address string) (tcp net.Listener, udp *net.UDPConn, err error) {
	_, port, _ := net.SplitHostPort(address)
	for range 64 {
		tcp, udp, err = listen(address)
		if port != "0" || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return tcp, udp, err
}

func listen(address string) (tcp net.Listener, udp *net.UDPConn, err error) {
	if tcp, err = net.Listen("tcp", address); err != nil {
		return nil, nil, err
	}
	at := net.UDPAddrFromAddrPort(tcp.Addr().(*net.TCPAddr).AddrPort())
	if host, _, _ := net.SplitHostPort(address); host == "" {
		at.IP = nil
	}
	if udp, err = net.ListenUDP("udp", at); err != nil {
		tcp.Close()
		return nil, nil, err
	}
	return tcp, udp, nil
}

package socket_test

import (
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPacingRate: a socket's datagrams have times that are as far apart as its rate says, no
// further ahead than a bound; who writes more waits, and is told.
func TestPacingRate(t *testing.T) {
	const rate, size, maxPacingRate = 100_000, 972, 47 // a datagram with its headers in 10 ms
	s, w := wired(t)
	fd := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	must := func(err syscall.Errno) {
		t.Helper()
		if err != 0 {
			t.Fatal(err)
		}
	}
	must(s.bind(fd, netip.MustParseAddrPort(here+"5000")))
	must(s.connect(fd, netip.MustParseAddrPort(friend)))
	write := func() syscall.Errno {
		_, err := s.write(fd, strings.Repeat("x", size))
		return err
	}
	must(write())
	must(s.set(fd, syscall.SOL_SOCKET, maxPacingRate, rate))
	began := time.Now()
	for range 20 {
		must(write()) // which waits
	}
	took := time.Since(began)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at[0] != 0 || len(w.at) != 21 {
		t.Fatalf("times %v", w.at)
	}
	for i, at := range w.at[2:] {
		// Who makes up for having been late does so by times that have passed.
		if apart := time.Duration(at - w.at[i+1]); apart < 10*time.Millisecond {
			t.Errorf("datagram %d is %v behind the one before it", i+1, apart)
		}
	}
	if least := 19*10*time.Millisecond - 20*time.Millisecond; took < least {
		t.Errorf("20 datagrams were written in %v, want %v at least", took, least)
	}
}

// TestPacingRateRaised: who waits to write by a low rate goes on when it is raised.
func TestPacingRateRaised(t *testing.T) {
	const maxPacingRate = 47
	s, _ := wired(t)
	fd := s.socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	must := func(err syscall.Errno) {
		t.Helper()
		if err != 0 {
			t.Fatal(err)
		}
	}
	must(s.bind(fd, netip.MustParseAddrPort(here+"5000")))
	must(s.connect(fd, netip.MustParseAddrPort(friend)))
	must(s.set(fd, syscall.SOL_SOCKET, maxPacingRate, 1)) // 1000 s for each, which is more than patience
	datagram := strings.Repeat("x", 972)
	if _, err := s.write(fd, datagram); err != 0 {
		t.Fatal(err)
	}
	done := make(chan syscall.Errno, 1)
	go func() {
		_, err := s.write(fd, datagram)
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("a datagram was written ahead of its time: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	must(s.set(fd, syscall.SOL_SOCKET, maxPacingRate, 1<<30))
	select {
	case err := <-done:
		must(err)
	case <-time.After(patience):
		t.Error("who waits was not told of the higher rate")
	}
}

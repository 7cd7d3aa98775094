package main

// The services that Sluice has built in, as plain loops over blocking sockets:
// one system call a packet or a block, buffers that are used again. Go's poller
// and its garbage collector have no part in them. iperf3 is measured beside
// them and tells what a C program gets with a client of its own.

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	echoPort    = 7
	discardPort = 9
	sourcePort  = 8080
	// datagramMax is the longest UDP payload.
	datagramMax = 64 << 10
	// streamBuffer is what discard reads and source writes at a time, in bytes.
	streamBuffer = 128 << 10
)

// listen returns a socket bound to a port on all addresses.
func listen(kind, port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port}); err != nil {
		return 0, fmt.Errorf("bind to port %d: %w", port, err)
	}
	return fd, nil
}

// serve takes connections one after the other, gives each to f, and closes it.
func serve(port int, f func(c int)) error {
	fd, err := listen(unix.SOCK_STREAM, port)
	if err != nil {
		return err
	}
	if err := unix.Listen(fd, 16); err != nil {
		return os.NewSyscallError("listen", err)
	}
	for {
		c, _, err := unix.Accept(fd)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("accept", err)
		}
		f(c)
		unix.Close(c)
	}
}

// discard reads what connections to port 9 send (RFC 863) until they end.
func discard() error {
	buf := make([]byte, streamBuffer)
	return serve(discardPort, func(c int) {
		for {
			n, err := unix.Read(c, buf)
			if n <= 0 && !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
}

// source answers each HTTP request on port 8080, whatever it asks for, by
// bytesSize bytes of the pattern from its memory, as Sluice's /bytes does.
// nginx, beside it, gives the network the pages of a file and copies nothing.
func source() error {
	var (
		buf  [4096]byte
		data = patternBytes(streamBuffer)
		head = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", bytesSize)
	)
	return serve(sourcePort, func(c int) {
		for n := 0; ; {
			m, err := unix.Read(c, buf[n:])
			if m <= 0 && !errors.Is(err, unix.EINTR) {
				return // the end, or a request that is too long
			}
			if n += max(m, 0); !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
				continue
			}
			n = 0
			if !writeAll(c, head) {
				return
			}
			for left := bytesSize; left > 0; left -= len(data) {
				if !writeAll(c, data[:min(left, len(data))]) {
					return
				}
			}
		}
	})
}

// writeAll reports whether the other side took everything.
func writeAll(c int, data []byte) bool {
	for len(data) > 0 {
		n, err := unix.Write(c, data)
		if n <= 0 && !errors.Is(err, unix.EINTR) {
			return false
		}
		data = data[max(n, 0):]
	}
	return true
}

// echo sends datagrams to port 7 back (RFC 862).
func echo() error {
	fd, err := listen(unix.SOCK_DGRAM, echoPort)
	if err != nil {
		return err
	}
	var (
		buf  [datagramMax]byte
		from unix.RawSockaddrInet4
	)
	for {
		// x/sys's Recvfrom allocates an address for each datagram. This keeps
		// the one it has.
		//
		// Safe: the kernel writes at most len(buf) bytes to buf and at most
		// size bytes to from, both live for the whole loop, and the
		// conversions stand in the call itself (unsafe.Pointer, rule 4).
		size := uint32(unsafe.Sizeof(from))
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd),
			uintptr(unsafe.Pointer(&buf)), uintptr(len(buf)), 0,
			uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return os.NewSyscallError("recvfrom", errno)
		}
		// A datagram that cannot be sent is lost, as on any network. Safe for
		// the same reason: the kernel reads n <= len(buf) and size bytes.
		unix.Syscall6(unix.SYS_SENDTO, uintptr(fd),
			uintptr(unsafe.Pointer(&buf)), n, 0,
			uintptr(unsafe.Pointer(&from)), uintptr(size))
	}
}

// Command server is an ordinary network program for tests of domains: it serves
// HTTP, echoes TCP and UDP, and does what its standard input says.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	http.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello\n") })
	http.HandleFunc("/bytes/", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/bytes/"))
		block := make([]byte, 64<<10)
		for i := range block {
			block[i] = byte(i * 7)
		}
		for ; n > 0; n -= len(block) {
			w.Write(block[:min(n, len(block))])
		}
	})
	http.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		io.Copy(h, r.Body)
		fmt.Fprintf(w, "%x", h.Sum(nil))
	})
	for _, arg := range os.Args[1:] {
		network, port, _ := strings.Cut(arg, "/")
		switch network {
		case "http":
			l, err := net.Listen("tcp", ":"+port)
			say("http", err)
			go http.Serve(l, nil)
		case "tcp":
			l, err := net.Listen("tcp", ":"+port)
			say("tcp", err)
			go echo(l)
		case "udp":
			c, err := net.ListenPacket("udp", ":"+port)
			say("udp", err)
			go echoPackets(c)
		case "mutual":
			l, err := net.Listen("tcp", ":"+port)
			say("mutual", err)
			go mutuals(l)
		case "dns":
			c, err := net.ListenPacket("udp", ":"+port)
			say("dns", err)
			go names(c)
		case "ttl": // with options of its own
			l := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
				c.Control(func(fd uintptr) {
					err = errors.Join(syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_TTL, 9),
						syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_TOS, 0x10))
				})
				return err
			}}
			c, err := l.ListenPacket(context.Background(), "udp4", ":"+port)
			say("ttl", err)
			go echoPackets(c)
		}
	}
	fmt.Println("serving")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0:
		case words[0] == "crash":
			var p *int
			*p = 1
		case words[0] == "listen":
			l, err := net.Listen(words[1], words[2])
			say("listen "+words[2], err)
			if err == nil {
				l.Close()
			}
		case words[0] == "bind":
			c, err := net.ListenPacket(words[1], words[2])
			say("bind "+words[2], err)
			if err == nil {
				c.Close()
			}
		case words[0] == "dial":
			say("dial "+words[2], dial(words[1], words[2], words[3:]))
		case words[0] == "mutual":
			say("mutual "+words[1], mutual(words[1]))
		case words[0] == "ping":
			say("ping "+words[1], ping(words[1]))
		case words[0] == "get":
			var body []byte
			r, err := http.Get(words[1])
			if err == nil {
				body, err = io.ReadAll(r.Body)
				r.Body.Close()
			}
			say(fmt.Sprintf("get %s %q", words[1], body), err)
		case words[0] == "resize":
			say(strings.Join(words, " "), os.WriteFile("/proc/sluice/channel", []byte(strings.Join(words[1:], " ")), 0))
		case words[0] == "channel":
			text, err := os.ReadFile("/proc/sluice/channel")
			say("channel "+strings.TrimSpace(string(text)), err)
		case words[0] == "monitor":
			say(strings.Join(words, " "), watch(words[1], words[2:]))
		case words[0] == "hold":
			say("hold "+words[2], hold(words[1], words[2]))
		case words[0] == "take":
			kib, _ := strconv.Atoi(words[1])
			taken = append(taken, touched(kib<<10))
			say("take "+words[1], nil)
		case words[0] == "drop":
			taken = nil
			debug.FreeOSMemory()
			say("drop", nil)
		case words[0] == "memory":
			fmt.Println("memory:", held())
		case words[0] == "rest":
			d, err := time.ParseDuration(words[1])
			time.Sleep(d)
			say("rest "+words[1], err)
		case words[0] == "pipe":
			say(strings.Join(words, " "), pipes(words[1], words[2], words[3:]))
		case words[0] == "wait":
			d, err := time.ParseDuration(words[1])
			time.Sleep(d)
			say("wait", err)
		case words[0] == "roots":
			say("roots", roots())
		case words[0] == "refused":
			say("refused "+words[1], refused(words[1]))
		case words[0] == "flood":
			say("flood "+words[1], flood(words[1]))
		case words[0] == "pour":
			n, err := pour(words[1], words[2], words[3])
			say(fmt.Sprintf("pour %s %d", words[1], n), err)
		case words[0] == "ask":
			took, err := ask(words[1], words[2])
			say(fmt.Sprintf("ask %s %s in %dus", words[1], words[2], took.Microseconds()), err)
		case words[0] == "lookup":
			a, err := net.LookupHost(words[1])
			say(fmt.Sprintf("lookup %s %v", words[1], a), err)
		case words[0] == "keep":
			shape, _ := strconv.Atoi(words[2])
			say(strings.Join(words, " "), keep(words[1], shape, words[3]))
		case words[0] == "used":
			fmt.Printf("%s: %s\n", strings.Join(words, " "), inUse(words[1], words[2]))
		case words[0] == "group":
			say(strings.Join(words, " "), joined(words[1], words[2]))
		case words[0] == "ip":
			c, err := net.ListenPacket(words[1], "0.0.0.0")
			if err == nil {
				go echoPackets(c)
			}
			say(strings.Join(words, " "), err)
		case words[0] == "link":
			say(strings.Join(words, " "), frames(words[1]))
		case words[0] == "who":
			from, err := answer(words[1], words[2])
			say(fmt.Sprintf("%s: %v", strings.Join(words, " "), from), err)
		case words[0] == "addresses":
			a, err := net.InterfaceAddrs()
			say(fmt.Sprint("addresses ", a), err)
		}
	}
}

const (
	// patience is how long is waited for what may come: a host may let the machine stand still.
	patience = 5 * time.Minute
	// lostAfter is when a datagram that is not answered counts as lost.
	lostAfter = time.Second
)

// untilAnswered sends, again each time that nothing is received for a while, until something is.
func untilAnswered(c interface{ SetReadDeadline(time.Time) error }, wait time.Duration, send, receive func() error) error {
	for end := time.Now().Add(patience); ; {
		if err := send(); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(wait))
		err := receive()
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() || !time.Now().Before(end) {
			return err
		}
	}
}

// dial connects to an echo, within a time if one is given, and has it answer.
func dial(network, address string, within []string) error {
	most := patience
	if len(within) > 0 {
		d, err := time.ParseDuration(within[0])
		if err != nil {
			return err
		}
		most = d
	}
	c, err := net.DialTimeout(network, address, most)
	if err != nil {
		return err
	}
	defer c.Close()
	wait := patience
	if network == "udp" {
		wait = lostAfter
	}
	return untilAnswered(c, wait, func() error {
		_, err := io.WriteString(c, "ping")
		return err
	}, func() error {
		_, err := io.ReadFull(c, make([]byte, 4))
		return err
	})
}

// ping asks an address for an echo, as programs do that have no rights.
func ping(address string) error {
	ip := net.ParseIP(address)
	family, protocol, request, answer := syscall.AF_INET, syscall.IPPROTO_ICMP, byte(8), byte(0)
	if ip.To4() == nil {
		family, protocol, request, answer = syscall.AF_INET6, syscall.IPPROTO_ICMPV6, 128, 129
	}
	fd, err := syscall.Socket(family, syscall.SOCK_DGRAM, protocol)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "ping")
	c, err := net.FilePacketConn(f)
	f.Close()
	if err != nil {
		return err
	}
	defer c.Close()
	m := append([]byte{request}, "\x00\x00\x00\x00\x00\x00\x07data"...)
	b, n := make([]byte, 100), 0
	err = untilAnswered(c, lostAfter, func() error {
		_, err := c.WriteTo(m, &net.UDPAddr{IP: ip})
		return err
	}, func() (err error) {
		n, _, err = c.ReadFrom(b)
		return err
	})
	if err == nil && (n != len(m) || b[0] != answer || string(b[6:n]) != string(m[6:])) {
		err = fmt.Errorf("the answer is % x", b[:n])
	}
	return err
}

// taken is memory that the program holds.
var taken [][]byte

// held is what the program has when all its garbage has been collected and given back.
func held() string {
	runtime.GC() // what a sync.Pool has is let go by the second
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return fmt.Sprintf("%d bytes, %d goroutines", m.HeapAlloc, runtime.NumGoroutine())
}

// touched is so many bytes of memory that is there.
func touched(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	return b
}

// hold connects and prints how the connection ends, and how writing to it does then.
func hold(network, address string) error {
	c, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return err
	}
	go func() {
		_, err := c.Read(make([]byte, 1))
		_, again := c.Write([]byte("x"))
		fmt.Printf("held %s: %v; %v\n", address, err, again)
		c.Close()
	}()
	return nil
}

// refused sends datagrams until it is told that nobody wants them.
func refused(address string) error {
	c, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	for end := time.Now().Add(patience); err == nil && time.Now().Before(end); {
		_, err = c.Write([]byte("x"))
	}
	return err
}

// ask sends datagrams to an echo, with some on their way at a time, until so many have come
// back, and returns how long it took. None may be lost.
func ask(address, count string) (time.Duration, error) {
	const window = 64
	n, err := strconv.Atoi(count)
	if err != nil {
		return 0, err
	}
	c, err := net.Dial("udp", address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	began, sent, b := time.Now(), 0, make([]byte, 64)
	for got := range n {
		for ; sent < n && sent-got < window; sent++ {
			if _, err := c.Write(b); err != nil {
				return 0, err
			}
		}
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := c.Read(b); err != nil {
			return 0, fmt.Errorf("answer %d: %w", got, err)
		}
	}
	return time.Since(began), nil
}

// pour sends datagrams of so many bytes for a time, each with its number, as fast as Write lets
// it, and returns how many they were. Its socket stays open: the last ones may have to wait.
func pour(address, size, span string) (n uint64, err error) {
	length, err := strconv.Atoi(size)
	if err != nil || length < 8 {
		return 0, fmt.Errorf("%q: want a length of 8 or more", size)
	}
	d, err := time.ParseDuration(span)
	if err != nil {
		return 0, err
	}
	c, err := net.Dial("udp", address)
	if err != nil {
		return 0, err
	}
	poured = append(poured, c)
	b := make([]byte, length)
	for end := time.Now().Add(d); time.Now().Before(end); n++ {
		binary.BigEndian.PutUint64(b, n)
		if _, err := c.Write(b); err != nil {
			return n, err
		}
	}
	return n, nil
}

// poured are the sockets of pour.
var poured []net.Conn

// flood sends 8 MB to an echo and compares what comes back, which it reads as it
// comes.
func flood(address string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	const size = 8 << 20
	sent, got := sha256.New(), sha256.New()
	written := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.MultiWriter(c, sent), rand.NewChaCha8([32]byte{}), size)
		c.(*net.TCPConn).CloseWrite()
		written <- err
	}()
	n, err := io.Copy(got, c)
	if err := errors.Join(err, <-written); err != nil {
		return err
	}
	if n != size || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		return fmt.Errorf("%d of %d bytes came back, or others", n, size)
	}
	return nil
}

func say(what string, err error) {
	if err != nil {
		fmt.Printf("%s: %v\n", what, err)
		return
	}
	fmt.Printf("%s: ok\n", what)
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			if _, err := io.Copy(c, c); err != nil {
				fmt.Printf("echo: %v\n", err)
			}
			c.Close()
		}()
	}
}

func echoPackets(c net.PacketConn) {
	b := make([]byte, 64<<10)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		if _, err := c.WriteTo(b[:n], from); err != nil {
			fmt.Printf("echo: %v\n", err)
		}
	}
}

// names answers each question for a name with 10.0.2.15.
func names(c net.PacketConn) {
	b := make([]byte, 512)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		question, _, ok := bytes.Cut(b[12:n], []byte{0})
		end := 12 + len(question) + 5 // with type and class
		if !ok || end > n {
			continue
		}
		answer := append([]byte{b[0], b[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, b[12:end]...)
		if b[end-3] == 1 { // an address of IPv4
			answer[7] = 1
			answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 2, 15)
		}
		c.WriteTo(answer, from)
	}
}

// The name servers that are asked.

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	dm "golang.org/x/net/dns/dnsmessage"
)

const (
	mostServers = 4
	dnsPort     = 53
	askTime     = 5 * time.Second // for all of them
	rounds      = 2
	rereadTime  = 5 * time.Second
	largestFile = 64 << 10 // bytes of resolv.conf
)

// tryTime is for a server to answer. A variable for tests.
var tryTime = 1500 * time.Millisecond

var errNoServers = errors.New("no name server is known")

// parseServer reads ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT.
func parseServer(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, dnsPort), nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil || a.Port() == 0 {
		return a, fmt.Errorf("%q is no name server: ADDRESS or ADDRESS:PORT expected", s)
	}
	return a, nil
}

// parseResolv returns the name servers of a resolv.conf, mostServers at most.
func parseResolv(b []byte) []netip.AddrPort {
	var all []netip.AddrPort
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan() && len(all) < mostServers; {
		words := strings.Fields(s.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			all = append(all, netip.AddrPortFrom(a, dnsPort))
		}
	}
	return all
}

// upstream asks name servers.
type upstream struct {
	fixed []netip.AddrPort
	path  string // of resolv.conf, without fixed ones

	mu    sync.Mutex
	known []netip.AddrPort
	at    time.Time
}

// servers returns those to ask now.
func (u *upstream) servers(now time.Time) []netip.AddrPort {
	if len(u.fixed) > 0 {
		return u.fixed
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.at.IsZero() && now.Sub(u.at) < rereadTime && len(u.known) > 0 {
		return u.known
	}
	u.at, u.known = now, nil
	if f, err := os.Open(u.path); err == nil {
		defer f.Close()
		b, _ := io.ReadAll(io.LimitReader(f, largestFile))
		u.known = parseResolv(b)
	}
	return u.known
}

// ask asks the servers in their order until one knows. An answer of SERVFAIL or
// REFUSED counts only if none has a better one.
func (u *upstream) ask(ctx context.Context, k key) (*dm.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var worst *dm.Message
	err := errNoServers
	for range rounds {
		for _, server := range u.servers(time.Now()) {
			var m *dm.Message
			m, err = exchange(ctx, server, k, true)
			if err == nil && (m.RCode == dm.RCodeFormatError || m.RCode == dm.RCodeNotImplemented) {
				m, err = exchange(ctx, server, k, false) // it may be too old for EDNS
			}
			if ctx.Err() != nil && err != nil {
				return nil, err
			}
			if err != nil {
				continue
			}
			if m.RCode == dm.RCodeSuccess || m.RCode == dm.RCodeNameError {
				return m, nil
			}
			worst = m
		}
		if worst != nil {
			return worst, nil
		}
	}
	return nil, err
}

// exchange asks one server, over UDP and, if the answer is cut off, over TCP.
func exchange(ctx context.Context, server netip.AddrPort, k key, edns bool) (*dm.Message, error) {
	m, err := exchangeOver(ctx, "udp", server, k, edns)
	if err == nil && m.Truncated {
		m, err = exchangeOver(ctx, "tcp", server, k, edns)
	}
	return m, err
}

// exchangeOver asks one server from a port and with an id that nobody can guess.
func exchangeOver(ctx context.Context, network string, server netip.AddrPort, k key, edns bool) (*dm.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	var random [2]byte
	rand.Read(random[:])
	id := binary.BigEndian.Uint16(random[:])
	b, err := k.ask(id, edns)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		if err := writeFrame(c, b); err != nil {
			return nil, err
		}
		b, err := readFrame(c, largestAnswer)
		if err != nil {
			return nil, err
		}
		return k.parseAnswer(b, id)
	}
	if _, err := c.Write(b); err != nil {
		return nil, err
	}
	got := make([]byte, largestQuery)
	for {
		n, err := c.Read(got)
		if err != nil {
			return nil, err
		}
		m, err := k.parseAnswer(got[:n], id)
		if !errors.Is(err, errNotOurs) { // that may be another's, to be passed over
			return m, err
		}
	}
}

// readFrame reads a message with its length in front (RFC 1035, section 4.2.2).
func readFrame(r io.Reader, most int) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > most {
		return nil, fmt.Errorf("%w: %d bytes, %d at most", errMalformed, n, most)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

// writeFrame writes a message as readFrame reads it.
func writeFrame(w io.Writer, b []byte) error {
	if len(b) > 65535 {
		return fmt.Errorf("%w: %d bytes", errMalformed, len(b))
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

package netns

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// This file owns the words of a manifest's listen and connect lists.

// CheckListen says what is wrong with a word of a listen list: ErrWord.
func CheckListen(word string) error {
	_, err := parseListen(word)
	return err
}

// CheckConnect says what is wrong with a word of a connect list: ErrWord.
func CheckConnect(word string) error {
	_, _, err := parseConnect(word)
	return err
}

// parseListen reads PROTOCOL/PORT, where PORT is a number or *, which is 0 here, or ip/N for
// a whole protocol, which has no other ports than 0.
func parseListen(word string) (Port, error) {
	name, port, ok := strings.Cut(word, "/")
	if n, number := parsePort(port); name == "ip" && number && n > 0 && n < 256 && !IsHostProtocol(uint8(n)) {
		return Port{Proto: uint8(n)}, nil
	}
	p := Port{Proto: parseProto(name)}
	if !ok || p.Proto == 0 {
		return p, malformed("listen", word)
	}
	if p.Number, ok = parsePort(port); !ok {
		return p, malformed("listen", word)
	}
	return p, nil
}

// peer is one word of a connect list.
type peer struct {
	proto  uint8
	port   uint16       // 0: any
	prefix netip.Prefix // zero: any host, or those of name
	name   *host        // nil: not a name
}

// parseConnect reads PROTOCOL/HOST:PORT. HOST is an address, a prefix, a name or
// *; IPv6 stands in brackets. It returns the name in lower case if there is one.
func parseConnect(word string) (peer, string, error) {
	bad := malformed("connect", word)
	name, rest, ok := strings.Cut(word, "/")
	p := peer{proto: parseProto(name)}
	i := strings.LastIndexByte(rest, ':')
	if !ok || p.proto == 0 || i < 0 {
		return p, "", bad
	}
	at, port := rest[:i], rest[i+1:]
	if p.port, ok = parsePort(port); !ok {
		return p, "", bad
	}
	if at == "*" {
		return p, "", nil
	}
	inner, bracket := strings.CutPrefix(at, "[")
	if bracket {
		if inner, ok = strings.CutSuffix(inner, "]"); !ok {
			return p, "", bad
		}
	}
	if p.prefix, ok = parsePrefix(inner); ok && (bracket || !strings.Contains(inner, ":")) {
		return p, "", nil
	}
	if bracket || !validHost(at) {
		return p, "", bad
	}
	return p, strings.ToLower(at), nil
}

func malformed(list, word string) error { return fmt.Errorf("%w: %s %q", ErrWord, list, word) }

func parseProto(s string) uint8 {
	switch s {
	case "tcp":
		return TCP
	case "udp":
		return UDP
	}
	return 0
}

func parsePort(s string) (uint16, bool) {
	if s == "*" {
		return 0, true
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && n > 0 && s[0] != '0' && s[0] != '+'
}

// parsePrefix reads an address or a prefix, without zone. An IPv4-mapped one is
// taken as IPv4.
func parsePrefix(s string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, true
}

// validHost follows RFC 1123, 2.1. The last label is not a number: that would be
// a mistyped address.
func validHost(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	if strings.Trim(s[strings.LastIndexByte(s, '.')+1:], "0123456789") == "" {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' {
				return false
			}
		}
	}
	return true
}

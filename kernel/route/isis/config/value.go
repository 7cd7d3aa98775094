package config

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns how values are written.

// ParseNET reads a network entity title, "49.0001.0000.0000.0001.00": an area of 1 to 13 octets,
// a system ID of 6, and a selector of 0.
func ParseNET(v string) (pdu.Area, pdu.SystemID, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(v, ".", ""))
	if n := len(b); err != nil || n < 8 || n > pdu.AreaMax+7 || b[n-1] != 0 {
		return "", pdu.SystemID{}, fmt.Errorf("isis: net %q: want an area, a system ID and 00, like 49.0001.0000.0000.0001.00", v)
	}
	n := len(b) - 7
	system := pdu.SystemID(b[n : n+6])
	if system == (pdu.SystemID{}) {
		return "", system, fmt.Errorf("isis: net %q has the system ID 0: want one that is the router's alone", v)
	}
	return pdu.Area(b[:n]), system, nil
}

func levels(v string) (pdu.Levels, error) {
	switch v {
	case "1":
		return 1, nil
	case "2":
		return 2, nil
	case "1-2":
		return 3, nil
	case "":
		return 0, nil
	}
	return 0, fmt.Errorf("isis: level %q: want 1, 2 or 1-2", v)
}

func onOff(v string) (bool, error) {
	if v != "" && v != "on" && v != "off" {
		return false, fmt.Errorf("isis: %q: want on or off", v)
	}
	return v == "on", nil
}

// number reads a number in a range; "" is 0, which stands for what it is at first.
func number(v string, least, most int) (int, error) {
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("isis: %q: want a number from %d to %d", v, least, most)
	}
	return n, nil
}

// duration reads a time in a range, in whole seconds or with a unit; "" is 0.
func duration(v string, least, most time.Duration) (time.Duration, error) {
	if v == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(v)
	if n, isNumber := strconv.Atoi(v); isNumber == nil && n >= 0 && n < 1<<20 {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d < least || d > most {
		return 0, fmt.Errorf("isis: %q: want a time from %v to %v", v, least, most)
	}
	return d, nil
}

// algorithms are the names of what keys are used with.
var algorithms = []pdu.Algorithm{pdu.Clear, pdu.MD5, pdu.SHA1, pdu.SHA224, pdu.SHA256, pdu.SHA384, pdu.SHA512}

// keys reads "md5:SECRET", or several with commas: the first one is sent, all are accepted. An
// algorithm of SHA has a number before the secret: "sha256:1:SECRET".
func keys(v string) (list isis.Keys, err error) {
	if v == "" {
		return nil, nil
	}
	for word := range strings.SplitSeq(v, ",") {
		name, secret, _ := strings.Cut(word, ":")
		at := slices.IndexFunc(algorithms, func(a pdu.Algorithm) bool { return a.String() == name })
		k := isis.Key{}
		ok := at >= 0
		if ok {
			k.Algorithm = algorithms[at]
		}
		if ok && k.Algorithm > pdu.MD5 {
			id, rest, _ := strings.Cut(secret, ":")
			n, err := strconv.ParseUint(id, 10, 16)
			ok = err == nil
			k.ID, secret = uint16(n), rest
		}
		k.Secret = []byte(secret)
		if !ok || secret == "" {
			return nil, fmt.Errorf("isis: a password that begins with %q: want clear:SECRET, md5:SECRET or sha256:NUMBER:SECRET", name)
		}
		if err := k.Check(); err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	if len(list) > isis.KeysMax {
		return nil, fmt.Errorf("isis: %d passwords: want %d at most", len(list), isis.KeysMax)
	}
	return list, nil
}

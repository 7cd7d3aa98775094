package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-os/sluice/kernel/domain/restart"
)

// The text is lines of a key, a blank and a value: a number, or a string in Go's
// quotes. The key "domain" begins a domain. It is written and read by programs
// only, so what is not as Encode writes it is refused.

// Encode writes domains that Check has passed.
func Encode(domains []Domain) []byte {
	var b strings.Builder
	text := func(key string, values ...string) {
		for _, v := range values {
			fmt.Fprintf(&b, "%s %s\n", key, strconv.Quote(v))
		}
	}
	number := func(key string, v int64) { fmt.Fprintf(&b, "%s %d\n", key, v) }
	for _, d := range domains {
		text("domain", d.Name)
		text("arg", d.Args...)
		text("env", d.Env...)
		number("quota", int64(d.Quota))
		number("weight", int64(d.Weight))
		number("cap", int64(d.Cap))
		number("restart", int64(d.Policy))
		number("backoff", int64(d.Backoff))
		number("backoff-max", int64(d.BackoffMax))
		if d.Rate > 0 {
			number("rate", d.Rate)
		}
		if d.NIC != "" {
			text("nic", d.NIC)
		}
		if d.Observe {
			number("observe", 1)
		}
		if d.Pinned {
			number("pinned", 1)
		}
		if d.Start {
			number("start", 1)
		}
		text("listen", d.Listen...)
		text("pipe", d.Pipes...)
		text("connect", d.Connect...)
		text("link", d.Link...)
	}
	return []byte(b.String())
}

// Decode reads what Encode wrote. Whether a domain makes sense is for Check.
func Decode(text []byte) ([]Domain, error) {
	var domains []Domain
	line := 0
	for l := range strings.Lines(string(text)) {
		line++
		key, value, ok := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
		if !ok {
			return nil, fmt.Errorf("line %d: %q is not a key and a value", line, l)
		}
		if key == "domain" {
			if len(domains) == Max {
				return nil, fmt.Errorf("line %d: more than %d domains", line, Max)
			}
			domains = append(domains, Domain{})
		}
		if len(domains) == 0 {
			return nil, fmt.Errorf("line %d: %q before the first domain", line, key)
		}
		if err := domains[len(domains)-1].set(key, value); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", line, key, err)
		}
	}
	return domains, nil
}

// set takes one line.
func (d *Domain) set(key, value string) (err error) {
	var v int64
	switch key {
	case "domain":
		d.Name, err = unquote(value)
		return err
	case "nic":
		d.NIC, err = unquote(value)
		return err
	case "arg":
		return add(&d.Args, value)
	case "env":
		return add(&d.Env, value)
	case "listen":
		return add(&d.Listen, value)
	case "connect":
		return add(&d.Connect, value)
	case "pipe":
		return add(&d.Pipes, value)
	case "link":
		return add(&d.Link, value)
	}
	if v, err = strconv.ParseInt(value, 10, 64); err != nil {
		return err
	}
	if strconv.FormatInt(v, 10) != value {
		return errForm
	}
	switch key {
	case "quota":
		if v < 0 {
			return errForm
		}
		d.Quota = uint64(v)
	case "weight":
		d.Weight = int(v)
	case "cap":
		d.Cap = int(v)
	case "restart":
		d.Policy = restart.Policy(v)
	case "backoff":
		d.Backoff = time.Duration(v)
	case "backoff-max":
		d.BackoffMax = time.Duration(v)
	case "rate":
		if v <= 0 {
			return errForm
		}
		d.Rate = v
	case "observe":
		if v != 1 {
			return errForm
		}
		d.Observe = true
	case "pinned":
		if v != 1 {
			return errForm
		}
		d.Pinned = true
	case "start":
		if v != 1 {
			return errForm
		}
		d.Start = true
	default:
		return fmt.Errorf("unknown key")
	}
	return nil
}

func add(list *[]string, quoted string) error {
	s, err := unquote(quoted)
	if err == nil {
		*list = append(*list, s)
	}
	return err
}

func unquote(quoted string) (string, error) {
	s, err := strconv.Unquote(quoted)
	if err == nil && strconv.Quote(s) != quoted {
		err = errForm
	}
	return s, err
}

var errForm = errors.New("not as the builder writes it")

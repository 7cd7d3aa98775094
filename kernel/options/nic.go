package options

// Network cards by name: nic=, ip.NAME= and ip6.NAME=.

import (
	"fmt"
)

const (
	// NICNameMax is the longest name of a network card, in bytes: Linux' as well.
	NICNameMax = 15
	// pathMax is the longest place of one.
	pathMax = 32
)

// NIC is a network card that the command line names.
type NIC struct {
	Name string
	// Path is where it sits, as the kernel prints it: "00:03.0" on PCI, "feb02e00" for
	// virtio-mmio; "" if the name is the kernel's own choice.
	Path string
	// IPv4 and IPv6 are nil unless they were given.
	IPv4 *IPv4
	IPv6 *IPv6
}

// ValidNIC reports whether a network card may have a name: a small letter, then small
// letters, digits and -, NICNameMax at most. The loopback has "lo".
func ValidNIC(name string) bool {
	for i, c := range []byte(name) {
		if letter := c >= 'a' && c <= 'z'; !letter && (i == 0 || (c < '0' || c > '9') && c != '-') {
			return false
		}
	}
	return name != "" && len(name) <= NICNameMax && name != "lo"
}

// NIC returns what the command line says of a card by its name; the zero NIC when it says
// nothing.
func (o *Options) NIC(name string) NIC {
	for _, n := range o.NICs {
		if n.Name == name {
			return n
		}
	}
	return NIC{}
}

// setNIC stores an option of a card.
func (o *Options) setNIC(key, name, value string) error {
	path := ""
	if key == "nic" {
		var ok bool
		if name, path, ok = cutAt(value); !ok {
			o.forget(key, name)
			return fmt.Errorf("want NAME@PATH, such as wan@00:03.0")
		}
	}
	if !ValidNIC(name) {
		return fmt.Errorf("the name %s: want a letter, then letters, digits and -, all small, %d at most", quote(name), NICNameMax)
	}
	for _, n := range o.NICs {
		if path != "" && n.Path == path && n.Name != name {
			o.forget(key, name)
			return fmt.Errorf("the card at %s is %s already", path, n.Name)
		}
	}
	set := NIC{}
	switch key {
	case "nic":
	case "ip":
		v, err := parseIPv4(value)
		if err != nil {
			o.forget(key, name)
			return err
		}
		set.IPv4 = &v
	case "ip6":
		v, err := parseIPv6(value)
		if err != nil {
			o.forget(key, name)
			return err
		}
		set.IPv6 = &v
	}
	at := -1
	for i := range o.NICs {
		if o.NICs[i].Name == name {
			at = i
		}
	}
	if at < 0 {
		if len(o.NICs) == NICsMax {
			return fmt.Errorf("more than %d network cards have options", NICsMax)
		}
		at = len(o.NICs)
		o.NICs = append(o.NICs, NIC{Name: name})
	}
	n := &o.NICs[at]
	switch {
	case path != "":
		n.Path = path
	case set.IPv4 != nil:
		n.IPv4 = set.IPv4
	case set.IPv6 != nil:
		n.IPv6 = set.IPv6
	}
	return nil
}

// forget puts an option of a card back to its default: a bad second value must not leave
// the first in force.
func (o *Options) forget(key, name string) {
	for i := range o.NICs {
		n := &o.NICs[i]
		switch {
		case n.Name != name:
		case key == "nic":
			n.Path = ""
		case key == "ip":
			n.IPv4 = nil
		case key == "ip6":
			n.IPv6 = nil
		}
	}
}

// cutAt reads NAME@PATH. A path is letters of hexadecimal numbers, colons and points.
func cutAt(value string) (name, path string, ok bool) {
	for i, c := range []byte(value) {
		if c == '@' {
			name, path = value[:i], value[i+1:]
			break
		}
	}
	for _, c := range []byte(path) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && c != ':' && c != '.' {
			return name, "", false
		}
	}
	return name, path, path != "" && len(path) <= pathMax
}

// Package config is what the builder tells the kernel about the domains of an
// image: one entry of the image's archive.
package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-os/sluice/kernel/domain/picker"
	"github.com/sluice-os/sluice/kernel/domain/restart"
	"github.com/sluice-os/sluice/kernel/options"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/direct"
)

const (
	// EntryName is the entry of the archive. The program of a domain is the
	// entry of its name; its files are a cpio archive in the entry of that name
	// and FilesSuffix.
	EntryName   = "domains"
	FilesSuffix = ".files"
	// OptionsName is the entry with words of the kernel's command line.
	OptionsName = "options"
	// ISISName is the entry with the configuration of IS-IS.
	ISISName = "isis"

	// Max is how many domains an image may have.
	Max = 64
	// NameMax is the longest name in bytes.
	NameMax = 31
	// QuotaMin is the least quota, in bytes, and QuotaMax the greatest.
	QuotaMin = 1 << 20
	QuotaMax = 60 << 30
	// StringsMax bounds arguments and environment: what they take in the boot
	// page, with eight bytes for each pointer.
	StringsMax = 4096 - abi.BootVector - 6*8
)

// Domain is one domain.
type Domain struct {
	Name   string
	Args   []string // without the name of the program
	Env    []string // "KEY=VALUE"
	Quota  uint64   // bytes
	Weight int      // 1 to picker.WeightMax
	Cap    int      // thousandths of a processor; 0 for none
	Start  bool     // with the machine
	Policy restart.Policy
	// Backoff is the delay before the first restart in a row and BackoffMax that
	// before the last, in nanoseconds.
	Backoff    time.Duration
	BackoffMax time.Duration
	// NIC names the network card that it is on; "" is the first.
	NIC string
	// Listen and Connect say what it may do on the network, in the manifest's
	// words.
	Listen  []string
	Connect []string
	// Pipes are the names of those that it is an end of.
	Pipes []string
	// Link are the EtherTypes of the frames that it may receive and send, in the
	// manifest's words.
	Link []string
	// Rate is how much it may send by the card, in bits a second; 0: any.
	Rate int64
	// Observe says that it may read what goes on in the whole machine.
	Observe bool
	// Pinned says that its channels keep their memory as long as they are open.
	Pinned bool
}

// Check says in one line what is wrong with a domain and what would be right.
func (d *Domain) Check() error {
	switch {
	case !validName(d.Name):
		return fmt.Errorf("the name %q: want a letter, then letters, digits and -, all small, %d at most", d.Name, NameMax)
	case d.Quota < QuotaMin || d.Quota > QuotaMax:
		return fmt.Errorf("a memory of %d KiB: want 1 MiB to 60 GiB", d.Quota>>10)
	case d.Weight < 1 || d.Weight > picker.WeightMax:
		return fmt.Errorf("the weight %d: want 1 to %d", d.Weight, picker.WeightMax)
	case d.Cap < 0 || d.Cap > picker.Whole:
		return fmt.Errorf("a cap of %d thousandths: want 1 to %d, or none", d.Cap, picker.Whole)
	case d.NIC != "" && !options.ValidNIC(d.NIC):
		return fmt.Errorf("the network card %q: want a letter, then letters, digits and -, all small, %d at most", d.NIC, options.NICNameMax)
	case d.Policy < restart.Never || d.Policy > restart.Always:
		return fmt.Errorf("the restart policy %d: want never, on-failure or always", d.Policy)
	case d.Rate < 0 || d.Rate > int64(aqm.RateMost):
		return fmt.Errorf("a rate of %d bit/s: want 1 kbit/s to 1000 Gbit/s, or none", d.Rate)
	case d.Backoff < 0 || d.BackoffMax < d.Backoff:
		return fmt.Errorf("a back-off of %v up to %v: want 0 or more, and the second not below the first", d.Backoff, d.BackoffMax)
	}
	size := 8*(1+len(d.Args)+len(d.Env)) + len(d.Name) + 1
	for _, s := range append(d.Args[:len(d.Args):len(d.Args)], d.Env...) {
		if strings.ContainsRune(s, 0) {
			return fmt.Errorf("an argument or a variable has a zero byte")
		}
		size += len(s) + 1
	}
	for _, s := range d.Env {
		if i := strings.IndexByte(s, '='); i <= 0 {
			return fmt.Errorf("the variable %q: want KEY=VALUE", s)
		}
	}
	if size > StringsMax {
		return fmt.Errorf("arguments and environment take %d bytes with their pointers: want %d at most", size, StringsMax)
	}
	return nil
}

// MayLink says whether the domain may have the frames of an EtherType.
func (d *Domain) MayLink(etherType uint32) bool {
	return slices.ContainsFunc(d.Link, func(word string) bool {
		t, ok := direct.Parse(word)
		return ok && uint32(t) == etherType
	})
}

func validName(s string) bool {
	for i, c := range s {
		if c < 'a' || c > 'z' {
			if i == 0 || (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return s != "" && len(s) <= NameMax && s != EntryName && s != OptionsName && s != ISISName
}

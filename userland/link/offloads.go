package link

import (
	"fmt"
	"strings"

	"github.com/sluice-os/sluice/nexus/abi"
)

// offloadNames are the bits of abi.OffloadsAll in words, in their order.
var offloadNames = [...]string{"checksum", "segmentation", "aggregation"}

// ParseOffloads reads what a channel's kernel is to do, as people write it: "checksum
// segmentation", with blanks or commas between, or "none". Empty: all.
func ParseOffloads(text string) (set uint32, err error) {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' })
	if len(words) == 0 {
		return abi.OffloadsAll, nil
	}
	if len(words) == 1 && words[0] == "none" {
		return 0, nil
	}
	for _, word := range words {
		bit := uint32(0)
		for i, name := range offloadNames {
			if word == name {
				bit = 1 << i
			}
		}
		if bit == 0 {
			return 0, fmt.Errorf("offload %q: want %s, or none alone", word, strings.Join(offloadNames[:], ", "))
		}
		set |= bit
	}
	if !abi.OffloadsPossible(set) {
		return 0, fmt.Errorf("%q: want checksum too, which the others need", text)
	}
	return set, nil
}

// OffloadNames is a set of them in words.
func OffloadNames(set uint32) (list []string) {
	for i, name := range offloadNames {
		if set>>i&1 != 0 {
			list = append(list, name)
		}
	}
	return list
}

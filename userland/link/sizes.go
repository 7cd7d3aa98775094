package link

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-os/sluice/nexus/abi"
)

// ParseSizes reads sizes of rings as people write them, "rx=2048 tx=512": a kind and a
// number of slots each, with blanks or commas between. Whether a number can be is the
// kernel's to say; 0 is left out. A ring that is not named has 0.
func ParseSizes(text string) (sizes [abi.RingKinds]uint32, err error) {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\t' }) {
		name, number, _ := strings.Cut(word, "=")
		kind := slices.Index(abi.RingNames[:], name)
		if kind < 0 {
			return sizes, fmt.Errorf("ring %q: want %s", name, strings.Join(abi.RingNames[:], ", "))
		}
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || n == 0 {
			return sizes, fmt.Errorf("%q: want %s=SLOTS with a power of two", word, name)
		}
		sizes[kind] = uint32(n)
	}
	return sizes, nil
}

package arena

import (
	"fmt"
	"sync/atomic"

	"github.com/sluice-os/sluice/nexus/abi"
)

// Resize gives a ring n slots, in fresh memory at a place that the domain does not use:
// a domain that goes on using the old slots finds zeros there. move is called when
// nothing can fail any more, to take over what the old slots hold; they are gone when
// Resize returns. With an error, ErrBounds or that of the memory, all is as it was.
// Nobody else may use the ring meanwhile.
func (a *Arena) Resize(kind, n int, move func(slots []abi.Slot)) error {
	if kind < 0 || kind >= abi.RingKinds {
		return fmt.Errorf("%w: ring %d, want 0 to %d", ErrBounds, kind, abi.RingKinds-1)
	}
	if b := slotBounds[kind]; n == 0 {
		return fmt.Errorf("%w: 0 %s, want %d to %d", ErrBounds, b.name, b.least, b.most)
	}
	if err := checkSlots(kind, &n); err != nil {
		return err
	}
	which := 0
	if a.moved[kind][which] == a.slotsAt[kind] {
		which = 1
	}
	place := a.moved[kind][which]
	fresh, err := a.show(Slots, place, slotsSize(n))
	if err != nil {
		return err
	}
	move(slotsIn(fresh, n))
	a.Unback(Slots, kind)
	a.segments[Slots][kind], a.slotsAt[kind], a.Layout.Slots[kind] = fresh, place, n
	a.backed[Slots] += len(fresh)
	a.placed[kind][which] = true
	schema := (*abi.Schema)(a.base[Schema])
	atomic.StoreUint32(&schema.Rings[kind].Slots, uint32(place))
	atomic.StoreUint32(&schema.Rings[kind].Count, uint32(n))
	atomic.StoreUint64(&schema.Longest, uint64(a.Longest()))
	return nil
}

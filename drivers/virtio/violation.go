// This file owns the ways in which a device can break the rules of a queue.

package virtio

import "fmt"

// Reason says which rule of the used ring a device broke.
type Reason uint8

const (
	// UsedIndex: the used index moved over more chains than are in flight.
	UsedIndex Reason = iota
	// UsedID: a used element names a descriptor that does not exist.
	UsedID
	// UsedIdle: a used element names a chain that is not in flight, as when
	// the device returns one twice.
	UsedIdle
	// UsedLength: the device claims to have written more than it was lent.
	UsedLength

	// Reasons is the number of reasons.
	Reasons = int(iota)
)

// String returns the reason as it appears in counter names.
func (r Reason) String() string {
	switch r {
	case UsedIndex:
		return "used_index"
	case UsedID:
		return "used_id"
	case UsedIdle:
		return "used_idle"
	case UsedLength:
		return "used_length"
	}
	return fmt.Sprintf("reason_%d", uint8(r))
}

// ViolationError reports a device that broke the rules of a queue.
type ViolationError struct {
	Queue  int
	Reason Reason
	Got    uint32 // what the device wrote
	Limit  uint32 // the largest value, or the only one, that was right
}

func (e *ViolationError) Error() string {
	return fmt.Sprintf("virtqueue %d: %v: device wrote %d, limit %d", e.Queue, e.Reason, e.Got, e.Limit)
}

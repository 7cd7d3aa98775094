package channel

import (
	"errors"
	"fmt"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/pool"
	"github.com/sluice-os/sluice/nexus/ring"
)

// What a Violation can be, besides ring.ErrHead, ring.ErrTail and
// pool.ErrNotLent.
var (
	ErrSlot     = errors.New("channel: slot of no known kind")
	ErrRedzone  = errors.New("channel: packet metadata was overwritten")
	ErrChain    = errors.New("channel: bad buflet chain")
	ErrInternal = errors.New("channel: packet length is not that of its buflets")
)

// Violation says that a domain has broken the contract of its rings. It ends for
// that.
type Violation struct {
	Ring int // abi.RingRx and its like
	Err  error
}

// RingName returns the name of a kind of ring.
func RingName(kind int) string { return abi.RingNames[kind] }

func (v *Violation) Error() string { return fmt.Sprintf("%s ring: %v", RingName(v.Ring), v.Err) }

// Unwrap returns what was wrong.
func (v *Violation) Unwrap() error { return v.Err }

// reasons number the violations, for a domain's exit.
var reasons = []error{ring.ErrHead, ring.ErrTail, pool.ErrNotLent, ErrSlot, ErrRedzone, ErrChain, ErrInternal, ErrWithheld}

// Code is the reason as a number: which ring in the upper, and what in the lower
// byte.
func (v *Violation) Code() int {
	for i, err := range reasons {
		if errors.Is(v.Err, err) {
			return (v.Ring+1)<<8 | (i + 1)
		}
	}
	return (v.Ring + 1) << 8
}

// violated ends the domain's use of the channel. It is called once in a channel's life, and
// from many places.
//
//go:noinline
func (c *Channel) violated(kind int, err error) error {
	c.over = &Violation{kind, err}
	return c.over
}

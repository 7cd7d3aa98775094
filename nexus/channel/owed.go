package channel

import (
	"sync/atomic"
	"time"
)

// This file owns the account of what is done for the channel while nobody, or somebody else,
// is charged for it: packets of its domain that had to wait for the card leave when there is
// room, whoever finds it, and packets arrive. See netif.Turn.

// Account is that account, in nanoseconds; who works for the channel adds to it.
func (c *Channel) Account() *atomic.Int64 { return &c.owed }

// Owed takes what is on the account: the domain is charged for it.
func (c *Channel) Owed() time.Duration { return time.Duration(c.owed.Swap(0)) }

package isis

import (
	"fmt"
	"math"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns which keys are good when.

// Key is a key with its times. Those are of the same clock as all others here; an end of 0 is none.
type Key struct {
	pdu.Key
	SendFrom, SendUntil     time.Duration
	AcceptFrom, AcceptUntil time.Duration
}

// Keys are those of a circuit or level. One of them seals what is sent, each that may be accepted
// opens what is received: so keys are changed while all goes on, by times that overlap.
type Keys []Key

// KeysMax is how many keys there may be.
const KeysMax = 16

func (s Keys) check() error {
	if len(s) > KeysMax {
		return fmt.Errorf("%w: %d keys, want %d at most", ErrConfig, len(s), KeysMax)
	}
	for i := range s {
		if err := s[i].Check(); err != nil {
			return err
		}
	}
	return nil
}

func within(now, from, until time.Duration) bool { return now >= from && (until == 0 || now < until) }

// sending is the key that seals: of those that are live the one whose time began last, or the one
// that ended last if there is none, for a PDU without would be refused by all.
func (s Keys) sending(now time.Duration) *pdu.Key {
	var best *Key
	for i := range s {
		if k := &s[i]; within(now, k.SendFrom, k.SendUntil) && (best == nil || k.SendFrom > best.SendFrom) {
			best = k
		}
	}
	if best == nil {
		for i := range s {
			if k := &s[i]; best == nil || k.end() > best.end() {
				best = k
			}
		}
	}
	if best == nil {
		return nil
	}
	return &best.Key
}

func (k *Key) end() time.Duration {
	if k.SendUntil == 0 {
		return math.MaxInt64
	}
	return k.SendUntil
}

// verify says whether a PDU is authentic.
func (s Keys) verify(now time.Duration, v pdu.View) pdu.Reason {
	if len(s) == 0 {
		return pdu.OK
	}
	live := make([]pdu.Key, 0, KeysMax)
	for i := range s {
		if within(now, s[i].AcceptFrom, s[i].AcceptUntil) {
			live = append(live, s[i].Key)
		}
	}
	if len(live) == 0 {
		return pdu.BadAuth
	}
	return v.Authentic(live)
}

// longest is how many bytes sealing may take.
func (s Keys) longest() (n int) {
	for i := range s {
		n = max(n, s[i].Length())
	}
	return n
}

package kernel

// Faults of the card for tests: a bug in its driver, receive buffers that lie in a page
// which was taken away from the card, a reset, and a card that hangs.

import (
	"errors"
	"fmt"

	"github.com/sluice-os/sluice/drivers/hw"
)

// strayByte fills the page before the card is led there.
const strayByte = 0xa5

// cardFault does what the shell's hidden command asks for: "stray" takes the page
// away before, "stray-mapped" leaves it, "stray-look" says what became of it, "reset-card"
// has the driver reset the card, and "hang-card" has the card send nothing more. It reports
// false for any other way to fail.
func (m *machine) cardFault(how string) (err error, ok bool) {
	switch how {
	case "stray":
		return m.misdirect(true), true
	case "stray-mapped":
		return m.misdirect(false), true
	case "stray-look":
		if m.stray == nil {
			return errors.New("the card was not led astray"), true
		}
		written := 0
		for _, b := range m.stray {
			if b != strayByte {
				written++
			}
		}
		return fmt.Errorf("%d bytes of the page were written", written), true
	case "reset-card":
		return m.resetCard(), true
	case "hang-card":
		return m.hangCard(), true
	}
	return nil, false
}

// errAsked is why a card is reset that has done nothing wrong.
var errAsked = errors.New("the console asked for it")

// resetCard has the card's driver reset it.
func (m *machine) resetCard() error {
	for _, card := range m.devices.cards {
		if c, ok := card.(interface{ Blocked(error) }); ok {
			c.Blocked(errAsked)
			return errors.New("the card is reset")
		}
	}
	return errors.New("there is no card that can be")
}

// hangCard has the card hang that can be made to.
func (m *machine) hangCard() error {
	for _, card := range m.devices.cards {
		if c, ok := card.(interface{ Hang() }); ok {
			c.Hang()
			return errors.New("the card hangs")
		}
	}
	return errors.New("there is no card that can be made to")
}

// misdirect leads the card to a page that was its own, and still is without take.
func (m *machine) misdirect(take bool) error {
	if len(m.devices.cards) == 0 {
		return errors.New("there is no card")
	}
	card := m.devices.cards[0]
	driver, ok := card.(interface{ Misdirect(addr uint64) int })
	if !ok {
		return fmt.Errorf("the driver %s has no such bug", card.Info().Driver)
	}
	for _, d := range m.devices.memory {
		if d.location != card.Info().Location {
			continue
		}
		page, err := d.Alloc(hw.PageSize, hw.FromDevice)
		if err != nil {
			return err
		}
		for i := range page.Bytes {
			page.Bytes[i] = strayByte
		}
		m.stray = page.Bytes
		if take {
			// The page stays ours: without an IOMMU the card still reaches it.
			if _, err := d.Revoke(page); err != nil {
				return err
			}
		}
		return fmt.Errorf("%d receive buffers lie at bus address %#x", driver.Misdirect(page.Bus), page.Bus)
	}
	return errors.New("the card has no memory")
}

package irq

import "time"

// PollEvery is how long a waiter for a Polled waits at most.
const PollEvery = time.Millisecond

// Polled is the interrupt of a device that nobody hears: a timer's. It implements
// hw.Polled.
type Polled struct {
	*Event
	timer   *time.Timer
	stopped bool
}

// Poll returns one.
func Poll(name string) (*Polled, error) {
	e, err := allocate(name)
	if err != nil {
		return nil, err
	}
	p := &Polled{Event: e, timer: time.AfterFunc(time.Hour, e.Raise)}
	p.timer.Stop()
	return p, nil
}

// Wait implements hw.Interrupt.
func (p *Polled) Wait() {
	if !p.stopped {
		p.timer.Reset(PollEvery)
	}
	p.Event.Wait()
	p.timer.Stop()
}

// Stop implements hw.Polled.
func (p *Polled) Stop() { p.stopped = true }

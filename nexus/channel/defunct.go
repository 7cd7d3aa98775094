package channel

// Defunct takes the channel's memory back while the domain has it open, in four steps
// whose order counts, and returns how many bytes:
//
//  1. the channel is marked: nothing reads or writes its memory afterwards, and what is
//     being sent or delivered has ended;
//  2. the schema says so;
//  3. the domain sees zeros, and what it writes goes nowhere;
//  4. the memory is free.
//
// The domain goes on: its reads and writes do not fault, its syncs are ErrDefunct, and it
// may open another channel. Wake tells it; the caller does that when all else that hangs
// on the channel is gone. Close and Arena.Free follow, when the domain has closed it.
//
// Defunct fails with ErrPinned, or with why the channel works no more; nothing has
// changed then.
func (c *Channel) Defunct() (freed int, err error) {
	// Who holds tx has a packet on its way out of this memory.
	c.tx.Lock()
	defer c.tx.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.over != nil:
		return 0, c.over
	case c.Pinned:
		return 0, ErrPinned
	}
	c.over = ErrDefunct
	c.hook = nil
	c.arena.Deactivate()
	c.arena.Redirect()
	freed = c.arena.Take()
	c.memory = 0
	c.budget.Leave()
	return freed, nil
}

// Err is why the channel does not work; nil: it does.
func (c *Channel) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

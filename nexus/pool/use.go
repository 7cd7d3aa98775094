package pool

// Use is what a channel has of the machine's memory for packets, and what it is for, in
// bytes. What does not come and go is not in it.
type Use struct {
	// Floor is what it keeps whatever happens, and Held what it has.
	Floor, Held int
	// Need is what of it is in use, or was a moment ago.
	Need int
	// Want is more than Held when it was refused memory, and would have so much then.
	Want int
}

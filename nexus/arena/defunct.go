package arena

// stage is how far an arena was taken back from its domain. The order is what keeps the
// domain from memory that is somebody else's by then.
type stage uint8

const (
	whole      stage = iota
	inactive         // the schema says so, before anything else changes
	redirected       // the domain sees zeros in place of the memory
	taken            // the memory is free
)

// reach goes on from the stage before, or says that a step was left out.
func (a *Arena) reach(s stage) {
	if a.stage != s-1 {
		panic("arena: taken back out of order")
	}
	a.stage = s
}

// Redirect has the domain see zeros in place of all memory that the table says so of.
// Deactivate was called before, and the kernel uses the arena no more.
func (a *Arena) Redirect() {
	a.reach(redirected)
	for id := range a.segments {
		for i, segment := range a.segments[id] {
			if segment != nil && ID(id).Info().Redirect {
				offset, size := a.SegmentAt(ID(id), i)
				a.memory.Hide(offset, size)
			}
		}
	}
}

// Take frees what was redirected, and returns how many bytes. The schema stays, for Free.
func (a *Arena) Take() (freed int) {
	a.reach(taken)
	for id := range a.segments {
		if !ID(id).Info().Redirect {
			continue
		}
		for i, segment := range a.segments[id] {
			if segment != nil {
				a.memory.Free(segment)
				a.segments[id][i] = nil
				freed += len(segment)
			}
		}
		a.backed[id], a.base[id] = 0, nil
	}
	return freed
}

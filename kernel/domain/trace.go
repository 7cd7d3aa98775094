package domain

// traceDepth bounds the frames of a trace.
const traceDepth = 12

// trace names the calls that led to where the domain stands, innermost first. It
// follows the frame pointers that the Go compiler keeps: at each lies the
// caller's frame pointer and, behind it, the return address. What it reads is
// the domain's and may be anything.
func (d *Domain) trace() (calls []string) {
	symbols := d.memory.program.Symbols()
	pc, fp := d.user.IP, d.user.BP
	for range traceDepth {
		calls = append(calls, symbols.Name(pc))
		next, ok := d.memory.word(fp)
		ret, ok2 := d.memory.word(fp + 8)
		if !ok || !ok2 || ret == 0 || next != 0 && next <= fp {
			break
		}
		pc, fp = ret-1, next
	}
	return calls
}

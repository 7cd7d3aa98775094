package trap

// Line is how the handler holds a level-triggered interrupt back: until a driver has
// looked after its device the line stays asserted, and would interrupt again at once.
// The handler masks it at its I/O APIC and sets the bits of all who share it.
type Line struct {
	// Select is the address of the I/O APIC's register of indexes, whose window lies
	// lineWindow behind; 0 is a source that is no such line.
	Select uint64
	// Index and Masked are what is written: the index of the line's redirection entry
	// (its lower half), and the entry with the mask bit.
	Index, Masked uint32
	// Events are the bits to be set in goos.Pending beside the line's own.
	Events uint64
	_      uint64
}

const (
	// lineShift is the logarithm of the length of a Line.
	//lint:ignore U1000 used by assembly
	lineShift = 5
	// lineWindow is the distance from IOREGSEL to IOWIN (82093AA, 3.1).
	//lint:ignore U1000 used by assembly
	lineWindow = 0x10
)

var lines [Events]Line

// SetLine says how the handler holds back the line whose event is n. Interrupts are
// off: the handler also uses the registers that it names.
func SetLine(n uint, l Line) { lines[n] = l }

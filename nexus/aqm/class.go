package aqm

// This file owns the service classes: their order, their shares, and whose packets are
// in which.

// Class is what a packet is for. The classes are those of RFC 4594, section 2, as far as
// queues tell them apart.
type Class uint8

// The classes, in the order in which they are served within a round.
const (
	Control     Class = iota // routing and what keeps the network up
	Voice                    // calls
	Video                    // conferences, and signalling
	Interactive              // video that answers to its viewer, games
	Streaming                // video that does not
	Management               // operations, administration
	LowLatency               // data that somebody waits for
	BestEffort               // all else
	Background               // what may take its time
	System                   // background of the system itself
	// Classes is how many there are.
	Classes
)

var classNames = [Classes]string{"control", "voice", "video", "interactive", "streaming", "management",
	"low_latency", "best_effort", "background", "system"}

// String is the class's name.
func (c Class) String() string {
	if c < Classes {
		return classNames[c]
	}
	return "unknown"
}

// quantum is what a flow may send a round, in bytes: a packet of the usual MTU.
const quantum = 1500

// share is what a class may send a round: the quantum of its flows in bytes, for so
// many of them at most.
type share struct{ quantum, flows int }

// shares say what each class gets. Video has large packets, voice and control small
// ones: they come first, so they must not be able to take much.
var shares = [Classes]share{
	Control:     {quantum * 2 / 5, 8},
	Voice:       {quantum * 2 / 5, 8},
	Video:       {quantum * 2, 6},
	Interactive: {quantum * 2, 6},
	Streaming:   {quantum * 2, 6},
	Management:  {quantum, 4},
	LowLatency:  {quantum, 4},
	BestEffort:  {quantum, 4},
	Background:  {quantum, 2},
	System:      {quantum, 2},
}

// ofDSCP returns the class of a differentiated services code point (RFC 4594, figure 3;
// RFC 5865; RFC 8622). Which of them go together is as RFC 8325, section 4 has it, as far
// as there are classes for it. What is not known is best effort (RFC 2474, section 4.1).
func ofDSCP(d uint8) Class {
	switch d {
	case 48, 56: // CS6, CS7
		return Control
	case 44, 46: // VOICE-ADMIT, EF
		return Voice
	case 34, 36, 38, 40: // AF4, and CS5 for signalling
		return Video
	case 32: // CS4
		return Interactive
	case 24, 26, 28, 30: // CS3, AF3
		return Streaming
	case 16: // CS2
		return Management
	case 18, 20, 22: // AF2
		return LowLatency
	case 1, 8: // LE, CS1
		return Background
	}
	return BestEffort
}

// ClassOf returns the class of a packet: its own, which its metadata names by a number
// from 1 (Control) to Classes, or that of the DSCP in its type of service or traffic
// class. Numbers that name no class count as none.
func ClassOf(field uint32, tos uint8) Class {
	if field >= 1 && field <= uint32(Classes) {
		return Class(field - 1)
	}
	return ofDSCP(tos >> 2)
}

// dscps are what says each class on a link (RFC 4594, figure 4; RFC 8622 for what is least).
var dscps = [Classes]uint8{
	Control: 48, Voice: 46, Video: 34, Interactive: 32, Streaming: 26, Management: 16, LowLatency: 18,
	BestEffort: 0, Background: 1, System: 1,
}

// DSCPOf returns the code point, 0 to 63, of a class as the metadata of packets names it (see
// ClassOf); 0 for none.
func DSCPOf(field uint32) uint8 {
	if field >= 1 && field <= uint32(Classes) {
		return dscps[field-1]
	}
	return 0
}

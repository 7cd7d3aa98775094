package flow

// This file owns what is said of a packet.

// Action is what becomes of a packet.
type Action uint8

const (
	Pass        Action = iota // it goes on, to the flow's port or to the network
	Child                     // the same, and it made a half-open child, which is the verdict's flow
	Established               // the same, and the flow is Connected by it
	Closed                    // the same, and the connection is over
	Drop                      // it is dropped
	ToHost                    // it arrived and is the host stack's
	Reset                     // it is dropped, and the peer is sent what Flow.LateRST says
	actionCount
)

var actionNames = [actionCount]string{"pass", "child", "established", "closed", "drop", "to_host", "reset"}

// String is the action's name.
func (a Action) String() string {
	if a < actionCount {
		return actionNames[a]
	}
	return "unknown"
}

// Reason says why a packet does not pass.
type Reason uint8

const (
	None Reason = iota
	// Of both directions.
	NotFound   // no flow has these addresses and ports
	TornDown   // the flow has ended
	Nonviable  // the flow cannot work any more
	Fragment   // a fragment without ports
	NoListener // TCP to or from a port that neither listens nor is connected
	OwnerLimit // the connection would be one too many of its owner
	// Of what arrives.
	TableFull  // no room for a half-open flow
	Stray      // a listener cannot use it
	AfterClose // data after both sides have ended
	// Of what is sent.
	BadFlow      // the flow is not of this port, or not the one the packet names
	Options      // IP options or extension headers
	ListenerSend // a listener sends resets only
	HalfOpenSend // not a part of a handshake
	SYNRate      // more than SYNsPerSecond
	Withdrawn    // a SYN over a connection that is over
	// ReasonCount is the number of reasons, for arrays of counters.
	ReasonCount
)

var reasonNames = [ReasonCount]string{
	None: "none", NotFound: "not_found", TornDown: "torn_down", Nonviable: "nonviable", Fragment: "fragment",
	NoListener: "no_listener", OwnerLimit: "owner_limit", TableFull: "table_full", Stray: "stray",
	AfterClose: "after_close", BadFlow: "bad_flow", Options: "options",
	ListenerSend: "listener_send", HalfOpenSend: "half_open_send", SYNRate: "syn_rate", Withdrawn: "withdrawn",
}

// OfSent says whether a packet that is sent may be refused for it, OfReceived whether
// one that has arrived may.
func (r Reason) OfSent() bool {
	return r > None && r < ReasonCount && (r < TableFull || r > AfterClose)
}

func (r Reason) OfReceived() bool { return r > None && r <= AfterClose && r != Fragment }

// String is the name of the reason's counter.
func (r Reason) String() string {
	if r < ReasonCount {
		return reasonNames[r]
	}
	return "unknown"
}

// Verdict is what is said of a packet.
type Verdict struct {
	// Flow is the packet's; nil when none was found, or when it is not the sender's.
	Flow   *Flow
	Action Action
	Reason Reason
}

// Goes says whether the packet goes on.
func (v Verdict) Goes() bool { return v.Action <= Closed }

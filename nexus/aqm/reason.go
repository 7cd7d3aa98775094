package aqm

// This file owns the reasons for which packets are dropped.

// Reason says why a packet is dropped. The zero value says that it is not.
type Reason uint8

const (
	None           Reason = iota
	BadLength             // of no bytes, or of more than the queue ever holds
	LimitPackets          // too many packets: of the fattest flow
	LimitBytes            // too many bytes: of the fattest flow
	DelayHigh             // its flow waits too long, and its sender cannot be told to pause
	FlowControlled        // its sender was told to pause and did not
	AckSuperseded         // a later acknowledgement says all that it said
	Purged                // the queue was emptied
	Expired               // it was not worth sending any more when it was its turn
	// ReasonCount is how many there are, for arrays of counters.
	ReasonCount
)

var reasonNames = [ReasonCount]string{None: "none", BadLength: "bad_length", LimitPackets: "limit_packets",
	LimitBytes: "limit_bytes", DelayHigh: "delay_high", FlowControlled: "flow_controlled",
	AckSuperseded: "ack_superseded", Purged: "purged", Expired: "expired"}

// String is the name of the reason's counter.
func (r Reason) String() string {
	if r < ReasonCount {
		return reasonNames[r]
	}
	return "unknown"
}

// Outcome is what became of a packet.
type Outcome uint8

const (
	Queued           Outcome = iota // it is held
	QueuedControlled                // the same, and its flow is to pause
	Refused                         // it is dropped
)

var outcomeNames = [...]string{"queued", "queued, flow controlled", "dropped"}

// String is the outcome's name.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}

// Verdict is the answer to Enqueue. Its Reason is None unless the packet was Refused;
// with FlowControlled its flow is to pause.
type Verdict struct {
	Outcome Outcome
	Reason  Reason
	// First says that the flow is to be told to pause: it was not yet.
	First bool
}

// Pause says that the packet's flow is to pause until it is released. It is said with
// each packet, not with the first alone.
func (v Verdict) Pause() bool { return v.Outcome == QueuedControlled || v.Reason == FlowControlled }

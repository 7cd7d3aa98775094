package flow

// This file owns the states of a TCP connection, as seen by one who only watches.

// step is how far one side of a connection is.
type step uint8

const (
	stepNone   step = iota // has sent nothing
	stepSYN                // has sent a SYN
	stepSYNFIN             // has sent a SYN and a FIN, neither acknowledged
	stepOpen               // its SYN is acknowledged
	stepFIN                // has sent a FIN
	stepDone               // its FIN is acknowledged
	stepReset              // the connection was reset
	stepCount
)

// event is what a segment means for a side.
type event uint8

const (
	sentSYN event = iota
	ackedSYN
	sentFIN
	ackedFIN
	anyRST
	pickedUp // seen for the first time in the middle
	eventCount
)

// steps says where a side goes. What is not named changes nothing.
var steps = func() (t [stepCount][eventCount]step) {
	for s := range stepCount {
		for e := range eventCount {
			t[s][e] = s
		}
		t[s][anyRST] = stepReset
	}
	t[stepNone][sentSYN] = stepSYN
	t[stepNone][pickedUp] = stepOpen
	t[stepSYN][ackedSYN] = stepOpen
	t[stepSYN][sentFIN] = stepSYNFIN
	t[stepSYNFIN][ackedSYN] = stepFIN
	t[stepOpen][sentFIN] = stepFIN
	t[stepFIN][ackedFIN] = stepDone
	return t
}()

// State is the state of a connection as this machine's side has it (RFC 9293,
// section 3.3.2).
type State uint8

const (
	StateNone State = iota // not TCP
	StateClosed
	StateListen
	StateSynSent
	StateSynReceived
	StateEstablished
	StateCloseWait
	StateFinWait1
	StateFinWait2
	StateClosing
	StateLastAck
	StateTimeWait
	stateCount
)

var stateNames = [stateCount]string{"-", "closed", "listen", "syn-sent", "syn-received", "established", "close-wait",
	"fin-wait-1", "fin-wait-2", "closing", "last-ack", "time-wait"}

// String is the state's name.
func (s State) String() string {
	if s < stateCount {
		return stateNames[s]
	}
	return "unknown"
}

// states is the state for a local and a remote step.
var states = [stepCount][stepCount]State{
	stepNone:   {StateClosed, StateSynReceived, StateSynReceived, StateSynReceived, StateSynReceived, StateClosed, StateClosed},
	stepSYN:    {StateSynSent, StateSynReceived, StateSynReceived, StateSynReceived, StateSynReceived, StateCloseWait, StateClosed},
	stepSYNFIN: {StateFinWait1, StateFinWait1, StateFinWait1, StateFinWait1, StateClosing, StateLastAck, StateClosed},
	stepOpen:   {StateSynSent, StateEstablished, StateEstablished, StateEstablished, StateCloseWait, StateCloseWait, StateClosed},
	stepFIN:    {StateFinWait1, StateFinWait1, StateFinWait1, StateFinWait1, StateClosing, StateLastAck, StateClosed},
	stepDone:   {StateFinWait2, StateFinWait2, StateFinWait2, StateFinWait2, StateTimeWait, StateTimeWait, StateClosed},
	stepReset:  {StateClosed, StateClosed, StateClosed, StateClosed, StateClosed, StateClosed, StateClosed},
}

package domain

import "fmt"

// Reason is why a domain ended.
type Reason string

const (
	Exited     Reason = "exited"                // by itself
	Stopped    Reason = "stopped"               // because it was asked to
	BadMemory  Reason = "bad memory access"     // an address that is not its own, or not in this way
	Privileged Reason = "forbidden instruction" // what only ring 0 may do
	BadCode    Reason = "invalid instruction"
	OverQuota  Reason = "quota"
	NoMemory   Reason = "no memory" // the machine has none left for domains
	Overflow   Reason = "stack overflow"
	Arithmetic Reason = "arithmetic exception"
	Debug      Reason = "debug exception"
	Misuse     Reason = "ABI misuse"      // a system call or state that no domain has
	Corruption Reason = "ring corruption" // of a channel's rings or metadata
	Withheld   Reason = "withheld memory" // that it was asked to give back
	Killed     Reason = "killed"          // by the operator
	Refused    Reason = "refused"         // it was never started
)

// Exit is how a domain ended.
type Exit struct {
	Reason Reason
	Status int    // what it gave to exit; for Exited and Stopped
	Detail string // more, for a person: "write at 0x10"
	Trace  []string
	traced bool // Trace is wanted
}

// Failed says that the restart policy on-failure applies.
func (e Exit) Failed() bool {
	return e.Reason != Exited && e.Reason != Stopped || e.Status != 0
}

func (e Exit) String() string {
	switch {
	case e.Reason == "":
		return "-"
	case e.Reason == Exited || e.Reason == Stopped:
		return fmt.Sprintf("%s with status %d", e.Reason, e.Status)
	case e.Detail == "":
		return string(e.Reason)
	}
	return fmt.Sprintf("%s: %s", e.Reason, e.Detail)
}

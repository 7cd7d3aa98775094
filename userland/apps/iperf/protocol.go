// What goes over the control connection of iperf3: states, cookies and JSON texts.

package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// state is a byte on the control connection.
type state int8

const (
	testStart        state = 1
	testRunning      state = 2
	testEnd          state = 4
	paramExchange    state = 9
	createStreams    state = 10
	serverTerminate  state = 11
	clientTerminate  state = 12
	exchangeResults  state = 13
	displayResults   state = 14
	iperfDone        state = 16
	accessDenied     state = -1
	serverError      state = -2
	cookieSize             = 37 // bytes: 36 characters and a zero
	mostStreams            = 128
	largestBlock           = 1 << 20 // bytes; what a client may ask for
	largestDatagram        = 65507   // bytes: 65535 less the headers of UDP and IPv4
	smallestDatagram       = 16      // bytes: the header in front of the data
	longestParameter       = 8 << 10 // bytes of JSON
	longestResult          = 64 << 10
	longestTime            = 86400 // seconds
	longestOmit            = 600   // seconds
)

// Numbers of errors that a client has a text for.
const (
	codeStreams    = 6
	codeBlock      = 7
	codeNotThere   = 13
	codeParameters = 114
)

var (
	errCookie = errors.New("malformed cookie")
	errLength = errors.New("text too long")
	errJSON   = errors.New("malformed JSON")
	errState  = errors.New("unexpected state")
)

// refusal is an error that the client is told.
type refusal struct {
	code uint32
	text string
}

func (r *refusal) Error() string { return r.text }

// cookie names a test; all of its connections begin with it.
type cookie [cookieSize]byte

// parseCookie checks that b is characters and a zero at the end.
func parseCookie(b []byte) (cookie, error) {
	var c cookie
	if len(b) != cookieSize || b[cookieSize-1] != 0 {
		return c, errCookie
	}
	for _, x := range b[:cookieSize-1] {
		if x <= ' ' || x > '~' {
			return c, errCookie
		}
	}
	return cookie(b), nil
}

// readJSON reads a text, its length in front (4 bytes, big endian), into v.
// Longer texts than most, in bytes, are refused before a byte is read.
func readJSON(r io.Reader, most int, v any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > uint32(most) {
		return fmt.Errorf("%w: %d bytes, %d at most", errLength, n, most)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %v", errJSON, err)
	}
	return nil
}

// writeJSON writes v as readJSON reads it.
func writeJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// parameters are what the client wants. Numbers are those of JSON: large ones may
// come as 1e+15.
type parameters struct {
	TCP        bool    `json:"tcp"`
	UDP        bool    `json:"udp"`
	SCTP       bool    `json:"sctp"`
	Reverse    bool    `json:"reverse"`
	Both       bool    `json:"bidirectional"`
	Omit       float64 `json:"omit"` // seconds
	Time       float64 `json:"time"` // seconds, 0 when something else ends it
	Parallel   float64 `json:"parallel"`
	Len        float64 `json:"len"`       // bytes
	Bandwidth  float64 `json:"bandwidth"` // bit/s of a stream, 0 for all there is
	Wide       float64 `json:"udp_counters_64bit"`
	WantOutput float64 `json:"get_server_output"`
}

// check returns a refusal for what this server cannot do.
func (p *parameters) check(streams int) error {
	block := float64(largestBlock)
	if p.UDP {
		block = largestDatagram
	}
	switch {
	case p.SCTP:
		return &refusal{codeNotThere, "SCTP is not there"}
	case p.TCP == p.UDP:
		return &refusal{codeParameters, "neither TCP nor UDP, or both"}
	case p.Reverse && p.Both:
		return &refusal{codeParameters, "reverse and in both directions"}
	case p.Parallel != float64(int(p.Parallel)) || p.Parallel < 1 || p.Parallel > float64(streams):
		return &refusal{codeStreams, fmt.Sprintf("%v streams: 1 to %d", p.Parallel, streams)}
	case p.Len < 1 || p.Len > block || p.UDP && p.Len < smallestDatagram:
		return &refusal{codeBlock, fmt.Sprintf("blocks of %v bytes: 1 to %v, for UDP at least %d", p.Len, block, smallestDatagram)}
	case p.Omit < 0 || p.Omit > longestOmit || p.Time < 0 || p.Time > longestTime || p.Bandwidth < 0:
		return &refusal{codeParameters, fmt.Sprintf("time %v s, omitted %v s, %v bit/s", p.Time, p.Omit, p.Bandwidth)}
	}
	return nil
}

// directions returns how many streams come in and how many go out.
func (p *parameters) directions() (in, out int) {
	n := int(p.Parallel)
	switch {
	case p.Both:
		return n, n
	case p.Reverse:
		return 0, n
	}
	return n, 0
}

func (p *parameters) String() string {
	kind, way := "tcp", "from the client"
	if p.UDP {
		kind = "udp"
	}
	if p.Reverse {
		way = "to the client"
	}
	if p.Both {
		way = "both ways"
	}
	return fmt.Sprintf("%s, %d streams, %s", kind, int(p.Parallel), way)
}

// streamID returns the number that both sides give the stream that came as the
// nth, from 0: 1, 3, 4, 5 and so on.
func streamID(n int) int {
	if n == 0 {
		return 1
	}
	return n + 2
}

// streamResult is what a side knows of a stream at the end.
type streamResult struct {
	ID             int     `json:"id"`
	Bytes          int64   `json:"bytes"`
	Retransmits    int64   `json:"retransmits"` // -1: unknown
	Jitter         float64 `json:"jitter"`      // seconds
	Errors         int64   `json:"errors"`      // datagrams that did not come
	OmittedErrors  int64   `json:"omitted_errors"`
	Packets        int64   `json:"packets"` // datagrams
	OmittedPackets int64   `json:"omitted_packets"`
	StartTime      float64 `json:"start_time"` // seconds
	EndTime        float64 `json:"end_time"`
}

// results are what a side knows at the end.
type results struct {
	CPUTotal    float64        `json:"cpu_util_total"` // percent
	CPUUser     float64        `json:"cpu_util_user"`
	CPUSystem   float64        `json:"cpu_util_system"`
	Retransmits int            `json:"sender_has_retransmits"` // -1: does not send, 0: unknown
	Output      string         `json:"server_output_text,omitempty"`
	Streams     []streamResult `json:"streams"`
}

// clientResults is what is read of the client's results: that they are some.
type clientResults struct {
	Streams []struct {
		ID float64 `json:"id"`
	} `json:"streams"`
}

// due returns when a sender that has sent so many bytes at rate (bit/s) may go
// on, since its start. Rate 0 has no limit.
func due(sent int64, rate float64) time.Duration {
	if rate <= 0 {
		return 0
	}
	return time.Duration(min(float64(sent)*8/rate, longestTime) * float64(time.Second))
}

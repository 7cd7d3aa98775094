// Messages: what a client asks, what it is answered.

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	dm "golang.org/x/net/dns/dnsmessage"
)

// Sizes, in bytes.
const (
	plainUDP      = 512  // without EDNS (RFC 1035, section 4.2.1)
	ednsUDP       = 1232 // with it: fits the least MTU of IPv6
	largestQuery  = 4 << 10
	largestAnswer = 16 << 10
)

// Types and codes that dnsmessage does not name.
const (
	typeIXFR    dm.Type  = 251
	badVersion  dm.RCode = 16 // RFC 6891, section 6.1.3
	ednsVersion          = 0
)

// compressed are types with names in their data that may be compressed (RFC 1035,
// section 3.3) and that dnsmessage takes for opaque.
var compressed = map[dm.Type]bool{3: true, 4: true, 7: true, 8: true, 9: true, dm.TypeMINFO: true}

var (
	errMalformed = errors.New("malformed message")
	errNotOurs   = errors.New("not the answer to this query")
)

// key is what answers are remembered by.
type key struct {
	name   string // in small letters, with a dot at the end
	kind   dm.Type
	dnssec bool // wants DNSSEC records (DO)
	cd     bool // wants no checks
}

// query is what a client asks.
type query struct {
	id       uint16
	opcode   dm.OpCode
	rd       bool
	edns     bool
	size     int // bytes that the client takes over UDP
	key      key
	question []dm.Question // one, as the client wrote it; none if it could not be read
}

// parseQuery reads a query. code is not RCodeSuccess when it is to be answered with that
// and nothing else; answer is false when it is not to be answered at all.
func parseQuery(b []byte) (q query, code dm.RCode, answer bool) {
	var p dm.Parser
	h, err := p.Start(b)
	if err != nil || h.Response {
		return q, 0, false
	}
	q = query{id: h.ID, opcode: h.OpCode, rd: h.RecursionDesired, size: plainUDP}
	if h.OpCode != 0 {
		return q, dm.RCodeNotImplemented, true
	}
	questions, err := p.AllQuestions()
	if err != nil || len(questions) != 1 {
		return q, dm.RCodeFormatError, true
	}
	q.question = questions
	one := questions[0]
	q.key = key{name: strings.ToLower(one.Name.String()), kind: one.Type, cd: h.CheckingDisabled}
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return q, dm.RCodeFormatError, true
	}
	for {
		r, err := p.AdditionalHeader()
		if errors.Is(err, dm.ErrSectionDone) {
			break
		}
		if err != nil || p.SkipAdditional() != nil || r.Type == dm.TypeOPT && q.edns {
			return q, dm.RCodeFormatError, true
		}
		if r.Type != dm.TypeOPT {
			continue
		}
		q.edns = true
		q.size = min(max(int(r.Class), plainUDP), ednsUDP)
		q.key.dnssec = r.DNSSECAllowed()
		if r.TTL>>16&0xff != ednsVersion {
			return q, badVersion, true
		}
	}
	switch {
	case one.Class != dm.ClassINET:
		return q, dm.RCodeRefused, true
	case one.Type >= typeIXFR && one.Type <= dm.TypeALL, one.Type == dm.TypeOPT: // transfers, all of it
		return q, dm.RCodeRefused, true
	case !q.rd: // to look what others have asked
		return q, dm.RCodeRefused, true
	}
	return q, dm.RCodeSuccess, true
}

// option returns an OPT record (RFC 6891).
func option(code dm.RCode, dnssec bool) dm.Resource {
	var r dm.Resource
	r.Header.Name = dm.MustNewName(".")
	r.Header.SetEDNS0(ednsUDP, code, dnssec)
	r.Body = &dm.OPTResource{}
	return r
}

// answer makes the answer to q, at most limit bytes: what does not fit is left out, and
// the client told to ask over TCP. from holds the records; nil for none.
func (q *query) answer(code dm.RCode, from *dm.Message, limit int) ([]byte, error) {
	m := dm.Message{Header: dm.Header{
		ID: q.id, OpCode: q.opcode, Response: true, RecursionDesired: q.rd, RecursionAvailable: true,
		CheckingDisabled: q.key.cd, RCode: code & 0xf,
	}, Questions: q.question}
	var opt []dm.Resource
	if q.edns {
		opt = []dm.Resource{option(code, q.key.dnssec)}
	}
	if from != nil {
		// Pack writes to the records' headers, and others may have from too.
		m.Answers, m.Authorities, m.Additionals = slices.Clone(from.Answers), slices.Clone(from.Authorities), slices.Clone(from.Additionals)
	}
	m.Additionals = append(m.Additionals, opt...)
	b, err := m.Pack()
	if err == nil && len(b) <= limit {
		return b, nil
	}
	if err != nil {
		m.RCode = dm.RCodeServerFailure
	}
	m.Truncated = err == nil
	m.Answers, m.Authorities, m.Additionals = nil, nil, opt
	return m.Pack()
}

// ask makes the query that goes upstream.
func (k key) ask(id uint16, edns bool) ([]byte, error) {
	name, err := dm.NewName(k.name)
	if err != nil {
		return nil, err
	}
	m := dm.Message{
		Header:    dm.Header{ID: id, RecursionDesired: true, CheckingDisabled: k.cd},
		Questions: []dm.Question{{Name: name, Type: k.kind, Class: dm.ClassINET}},
	}
	if edns {
		m.Additionals = []dm.Resource{option(0, k.dnssec)}
	}
	return m.Pack()
}

// parseAnswer reads the answer to the query with an id. It is errNotOurs unless id
// and question are those of the query (RFC 5452, section 9.1).
func (k key) parseAnswer(b []byte, id uint16) (*dm.Message, error) {
	var p dm.Parser
	h, err := p.Start(b)
	if err != nil || !h.Response || h.ID != id || h.OpCode != 0 {
		return nil, errNotOurs
	}
	questions, err := p.AllQuestions()
	if err != nil || len(questions) != 1 {
		return nil, errNotOurs
	}
	if one := questions[0]; one.Type != k.kind || one.Class != dm.ClassINET || !strings.EqualFold(one.Name.String(), k.name) {
		return nil, errNotOurs
	}
	m := new(dm.Message)
	if err := m.Unpack(b); err != nil {
		if h.Truncated {
			return &dm.Message{Header: h}, nil
		}
		return nil, fmt.Errorf("%w: %v", errMalformed, err)
	}
	kept := m.Additionals[:0]
	for _, r := range m.Additionals {
		if r.Header.Type == dm.TypeOPT {
			if full := r.Header.ExtendedRCode(m.RCode); full > 0xf {
				m.RCode = dm.RCodeServerFailure
			}
			continue
		}
		kept = append(kept, r)
	}
	m.Additionals = kept
	for _, section := range [][]dm.Resource{m.Answers, m.Authorities, m.Additionals} {
		for i := range section {
			h := &section[i].Header
			if compressed[h.Type] || h.Type == dm.TypeOPT {
				return nil, fmt.Errorf("%w: type %v", errMalformed, h.Type)
			}
			if h.TTL > 1<<31-1 { // RFC 2181, section 8
				h.TTL = 0
			}
		}
	}
	return m, nil
}

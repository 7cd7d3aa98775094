// Package pdutest has PDUs of other makers' routers for tests.
package pdutest

import (
	_ "embed"
	"encoding/hex"
	"strings"
	"testing"
)

// PDU is one that was captured.
type PDU struct {
	What  string // its kind, what is special of it, and in brackets which TLVs it has
	Bytes []byte
}

//go:embed testdata/frr.txt
var frr string

// FRR are PDUs of FRR's isisd: each kind that it sends, with all TLVs that it was brought to send.
func FRR(tb testing.TB) (list []PDU) {
	tb.Helper()
	paragraphs := strings.Split(strings.TrimSpace(frr), "\n\n")
	for _, text := range paragraphs[1:] { // the first one is about all of them
		what, digits, _ := strings.Cut(text, "\n")
		b, err := hex.DecodeString(strings.ReplaceAll(digits, "\n", ""))
		if err != nil {
			tb.Fatalf("%s: %v", what, err)
		}
		list = append(list, PDU{strings.TrimPrefix(what, "# "), b})
	}
	return list
}

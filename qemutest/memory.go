package qemutest

// The machine's account of its memory: each page of RAM has one owner.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// Memory is what the shell's command mem -a -j says, in bytes.
type Memory struct {
	Total, Used, Free uint64
	// RAM is what the machine takes itself to have, and Owners whose it is.
	RAM    uint64
	Owners []struct {
		Owner string
		Bytes uint64
	}
	// Domains is what each domain is charged.
	Domains []struct {
		Domain             string
		Total, Peak, Quota uint64
	}
	// Problems is what the machine found when it looked at every frame.
	Audited  bool
	Problems []string
	// HeapInUse is what the kernel's live objects take, HeapReserved what is kept for
	// them and others.
	HeapInUse    uint64 `json:"heap_in_use"`
	HeapReserved uint64 `json:"heap_reserved"`
	// Goroutines are the kernel's.
	Goroutines int
}

// Owned returns the bytes of all owners whose names begin so.
func (m *Memory) Owned(prefix string) (sum uint64) {
	for _, o := range m.Owners {
		if strings.HasPrefix(o.Owner, prefix) {
			sum += o.Bytes
		}
	}
	return sum
}

// Memory asks the machine for its account. With collect, garbage is collected first.
func (v *VM) Memory(t testing.TB, collect bool) *Memory {
	t.Helper()
	line := "mem -a -j"
	if collect {
		line = "mem -g -a -j"
	}
	// What the test has typed or not read does not matter: the line ends, and the answer
	// is the next one that there is.
	before := len(v.Output())
	v.Type(t, "\n"+line+"\n")
	text := v.Times(t, before, `(?m)^(?:sluice> )*(\{"total":.*\})\r?$`, 1)[1]
	// The prompt behind it is this command's, and nobody else's to find.
	behind := before + strings.Index(v.Output()[before:], text) + len(text)
	if !v.log.seek(v.ctx, func([]byte) int {
		if bytes.Contains(v.log.text[behind:], []byte("\n"+Prompt)) {
			return 0
		}
		return -1
	}) {
		t.Fatalf("qemutest: no prompt came behind %s before %s", line, v.why())
	}
	m := &Memory{}
	if err := json.Unmarshal([]byte(text), m); err != nil {
		t.Fatalf("qemutest: %s printed %q: %v", line, text, err)
	}
	return m
}

// Errors is what is wrong with the account of a machine with so much RAM, in bytes.
func (m *Memory) Errors(ram uint64) (list []string) {
	if m.RAM != ram {
		list = append(list, fmt.Sprintf("the machine knows of %d KiB of its %d", m.RAM>>10, ram>>10))
	}
	if sum := m.Owned(""); sum != ram {
		list = append(list, fmt.Sprintf("the owners have %d KiB of %d", sum>>10, ram>>10))
	}
	charged := uint64(0)
	for _, d := range m.Domains {
		charged += d.Total
	}
	if has := m.Owned("domain ") + m.Owned("arena "); has != charged {
		list = append(list, fmt.Sprintf("domains have %d KiB and are charged %d", has>>10, charged>>10))
	}
	if n := m.Owned("nobody"); n != 0 {
		list = append(list, fmt.Sprintf("%d KiB are nobody's", n>>10))
	}
	if !m.Audited {
		list = append(list, "no frame was looked at")
	}
	return append(list, m.Problems...)
}

// CheckMemory fails the test when a page of the machine's RAM has no owner or an owner's
// number is not what it uses.
func (v *VM) CheckMemory(t testing.TB) {
	t.Helper()
	m := v.Memory(t, false)
	for _, e := range m.Errors(v.ram) {
		t.Errorf("qemutest: memory: %s", e)
	}
	if t.Failed() {
		t.Logf("%+v", *m)
	}
}

// checkAtEnd is CheckMemory for a machine whose shell waits for a line when its test is
// over.
func (v *VM) checkAtEnd(t testing.TB) {
	select {
	case <-v.exited:
		return
	default:
	}
	if v.unchecked || t.Failed() || t.Skipped() || v.ctx.Err() != nil || !bytes.Contains(v.log.bytes(), []byte("\n"+Prompt)) {
		return
	}
	v.CheckMemory(t)
}

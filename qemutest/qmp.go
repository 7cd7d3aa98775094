package qemutest

// QEMU's control socket (QEMU Machine Protocol): cable, power button, NMI, and
// why the machine ended. QEMU connects to us, so that nothing has to wait for a
// socket to appear.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
)

type qmp struct {
	path     string
	listener *net.UnixListener

	mu    sync.Mutex // one command at a time
	conn  net.Conn
	reply chan qmpMessage // of the running command; closed with the connection

	eventMu  sync.Mutex
	shutdown string // the reason of the SHUTDOWN event
}

// errEnded says that QEMU has closed its control socket: it ends.
var errEnded = errors.New("QEMU ended")

// qmpMessage is any line that QEMU sends.
type qmpMessage struct {
	Greeting json.RawMessage `json:"QMP"`
	Return   json.RawMessage `json:"return"`
	Error    *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	Event string `json:"event"`
	Data  struct {
		Reason string `json:"reason"`
	} `json:"data"`
}

func newQMP(path string) (*qmp, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	return &qmp{path: path, listener: l, reply: make(chan qmpMessage, 1)}, nil
}

// argument is the value of -qmp.
func (q *qmp) argument() string { return "unix:" + q.path }

// connect waits for QEMU and for its readiness.
func (q *qmp) connect(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { q.listener.Close() })
	defer stop()
	conn, err := q.listener.Accept()
	if err != nil {
		return errors.New("QEMU did not connect to its control socket")
	}
	q.conn = conn
	go q.read()
	return q.execute(ctx, "qmp_capabilities", nil, nil)
}

// read sorts what QEMU sends into answers and events.
func (q *qmp) read() {
	defer close(q.reply)
	lines := json.NewDecoder(bufio.NewReader(q.conn))
	for {
		var m qmpMessage
		if err := lines.Decode(&m); err != nil {
			return
		}
		switch {
		case m.Event == "SHUTDOWN":
			q.eventMu.Lock()
			q.shutdown = m.Data.Reason
			q.eventMu.Unlock()
		case m.Error != nil || m.Return != nil:
			q.reply <- m
		}
	}
}

// execute runs a command. result takes its answer, unless it is nil.
func (q *qmp) execute(ctx context.Context, command string, arguments map[string]any, result any) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	b, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := q.conn.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("%s: %w", command, errEnded)
	}
	select {
	case m, ok := <-q.reply:
		switch {
		case !ok:
			return fmt.Errorf("%s: %w", command, errEnded)
		case m.Error != nil:
			return fmt.Errorf("%s: %s: %s", command, m.Error.Class, m.Error.Desc)
		case result != nil:
			return json.Unmarshal(m.Return, result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", command, ctx.Err())
	}
}

func (q *qmp) close() {
	q.listener.Close()
	if q.conn != nil {
		q.conn.Close()
	}
}

// Execute runs a QMP command and puts its answer into result, unless that is
// nil. A refusal fails the test.
func (v *VM) Execute(t testing.TB, command string, arguments map[string]any, result any) {
	t.Helper()
	if err := v.control.execute(v.ctx, command, arguments, result); err != nil {
		t.Fatalf("qemutest: %v", err)
	}
}

// SetLink plugs the network cable in or out.
func (v *VM) SetLink(t testing.TB, up bool) {
	t.Helper()
	v.Execute(t, "set_link", map[string]any{"name": netdev, "up": up}, nil)
}

// SetLinkOf does so with the cable of one of several cards: see WireOf.
func (v *VM) SetLinkOf(t testing.TB, card int, up bool) {
	t.Helper()
	v.Execute(t, "set_link", map[string]any{"name": fmt.Sprintf("n%d", card), "up": up}, nil)
}

// InjectNMI raises a non-maskable interrupt.
func (v *VM) InjectNMI(t testing.TB) {
	t.Helper()
	// The NMI may end the machine, and QEMU, before the answer has come.
	if err := v.control.execute(v.ctx, "inject-nmi", nil, nil); err != nil && !errors.Is(err, errEnded) {
		t.Fatalf("qemutest: %v", err)
	}
}

// InjectMachineCheck reports an error of the machine that the processor cannot
// get over: in bank 1, valid, uncorrected, enabled, context corrupt (SDM volume
// 3, 16.3.2.2). QEMU ends when the kernel has not turned machine checks on.
func (v *VM) InjectMachineCheck(t testing.TB) {
	t.Helper()
	const status, global = 1<<63 | 1<<61 | 1<<60 | 1<<57, 1<<2 | 1<<0
	line := fmt.Sprintf("mce 0 1 %#x %#x 0 0", uint64(status), global)
	var answer string
	v.Execute(t, "human-monitor-command", map[string]any{"command-line": line}, &answer)
	if answer != "" {
		t.Fatalf("qemutest: %s: %s", line, answer)
	}
}

// PowerButton presses the machine's power button.
func (v *VM) PowerButton(t testing.TB) {
	t.Helper()
	v.Execute(t, "system_powerdown", nil, nil)
}

// Reset resets the machine as its reset button does, which no software of its sees coming, and
// waits for its shell. QEMU, which ends at a reset otherwise, goes on from then.
func (v *VM) Reset(t testing.TB) {
	t.Helper()
	v.Execute(t, "set-action", map[string]any{"reboot": "reset"}, nil)
	v.log.mark()
	v.Execute(t, "system_reset", nil, nil)
	v.Expect(t, Prompt)
}

// Shutdown returns why the machine ended, in QMP's words: "guest-shutdown" for
// a power off, "guest-reset" for a reset (QEMU runs with -no-reboot and ends on
// that too); "" when QEMU did not say. Call it after Wait.
func (v *VM) Shutdown() string {
	for range v.control.reply { // closed behind the last event
	}
	v.control.eventMu.Lock()
	defer v.control.eventMu.Unlock()
	return v.control.shutdown
}

// reason is Shutdown for a sentence.
func (v *VM) reason() string {
	if v.control == nil || v.control.conn == nil {
		return fmt.Sprintf(" (status %d)", v.status)
	}
	if s := v.Shutdown(); s != "" {
		return fmt.Sprintf(" (status %d, %s)", v.status, s)
	}
	return fmt.Sprintf(" (status %d)", v.status)
}

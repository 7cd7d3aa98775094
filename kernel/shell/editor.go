package shell

// The line editor: one byte in, perhaps a line out. It knows backspace, ^U, ^C,
// ^L-like redraw by the arrow keys, and the history; all other control bytes
// and everything beyond ASCII are ignored.

import "io"

const (
	keyInterrupt = 0x03 // ^C
	keyBackspace = 0x08
	keyKill      = 0x15 // ^U
	keyEscape    = 0x1b
	keyDelete    = 0x7f

	// lineMax is the longest line, in bytes.
	lineMax = 256
	// historyMax is how many lines are kept.
	historyMax = 32
)

// editor holds the line being typed.
type editor struct {
	echo    io.Writer
	line    []byte
	tooLong bool
	// escape counts the bytes of an escape sequence: 1 after ESC, 2 after ESC [.
	escape int
	// afterCR says that a line feed is the second half of a line end.
	afterCR bool

	history []string
	// at is the history line shown; len(history) for the new line.
	at int
}

func (e *editor) print(s string) { io.WriteString(e.echo, s) }

// prompt starts a new line.
func (e *editor) prompt() {
	e.line, e.tooLong, e.escape = e.line[:0], false, 0
	e.at = len(e.history)
	e.print(Prompt)
}

// key takes one byte from the console. ready says that the line is complete.
func (e *editor) key(b byte) (line string, ready bool) {
	crlf := e.afterCR && b == '\n'
	e.afterCR = b == '\r'
	if crlf {
		return "", false
	}
	if e.escape > 0 {
		e.sequence(b)
		return "", false
	}
	switch {
	case b == '\r' || b == '\n':
		return e.enter()
	case b == keyInterrupt:
		e.print("^C\r\n")
		e.prompt()
	case b == keyKill:
		e.replace("")
	case b == keyBackspace || b == keyDelete:
		if n := len(e.line); n > 0 {
			e.line = e.line[:n-1]
			e.print("\b \b")
		}
	case b == keyEscape:
		e.escape = 1
	case b == '\t':
		e.insert(' ')
	case b >= ' ' && b < keyDelete:
		e.insert(b)
	}
	return "", false
}

func (e *editor) insert(b byte) {
	if len(e.line) == lineMax {
		e.tooLong = true
		return
	}
	e.line = append(e.line, b)
	e.print(string(rune(b)))
}

// enter ends the line.
func (e *editor) enter() (string, bool) {
	e.print("\r\n")
	if e.tooLong {
		e.print("line too long, want 256 characters at most\r\n")
		e.prompt()
		return "", false
	}
	line := string(e.line)
	if line != "" && (len(e.history) == 0 || e.history[len(e.history)-1] != line) {
		if len(e.history) == historyMax {
			e.history = append(e.history[:0], e.history[1:]...)
		}
		e.history = append(e.history, line)
	}
	return line, true
}

// sequence takes a byte of an escape sequence: ESC [ parameters final
// (ECMA-48, 5.4). Arrow up and down walk the history, others do nothing.
func (e *editor) sequence(b byte) {
	switch {
	case e.escape == 1 && (b == '[' || b == 'O'):
		e.escape = 2
	case e.escape == 1:
		e.escape = 0
	case b >= 0x40 && b <= 0x7e:
		e.escape = 0
		switch {
		case b == 'A' && e.at > 0:
			e.at--
			e.replace(e.history[e.at])
		case b == 'B' && e.at < len(e.history):
			e.at++
			if e.at == len(e.history) {
				e.replace("")
			} else {
				e.replace(e.history[e.at])
			}
		}
	case b < 0x20 || b > 0x3f:
		e.escape = 0 // not a sequence
	}
}

// replace shows another line in the place of this one.
func (e *editor) replace(s string) {
	for range e.line {
		e.print("\b \b")
	}
	e.line, e.tooLong = append(e.line[:0], s...), false
	e.print(s)
}

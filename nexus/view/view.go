// Package view has tables of what goes on, for people and for programs.
package view

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Column is one of a table's.
type Column struct {
	Name   string // as people read it; programs get it in small letters, with _ for blanks
	Number bool   // its cells are decimal numbers
	JSON   bool   // its cells are values of JSON, for programs alone
}

// Table is a list of things that are alike.
type Table struct {
	Columns []Column
	Rows    [][]string
}

// New makes a table with columns for words and, where a name ends in #, numbers; where it
// ends in {}, values of JSON.
func New(names ...string) *Table {
	t := &Table{}
	for _, n := range names {
		name, number := strings.CutSuffix(n, "#")
		name, value := strings.CutSuffix(name, "{}")
		t.Columns = append(t.Columns, Column{name, number, value})
	}
	return t
}

// Add adds a row: a cell for each column.
func (t *Table) Add(cells ...any) {
	row := make([]string, 0, len(cells))
	for _, c := range cells {
		row = append(row, fmt.Sprint(c))
	}
	t.Rows = append(t.Rows, row)
}

// WriteText writes the table in columns, numbers to the right.
func (t *Table) WriteText(w io.Writer) {
	width := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		width[i] = len(c.Name)
		for _, r := range t.Rows {
			width[i] = max(width[i], len(r[i]))
		}
	}
	line := func(cell func(int) string) {
		var b strings.Builder
		for i, c := range t.Columns {
			if c.JSON {
				continue
			}
			pad := strings.Repeat(" ", width[i]-len(cell(i)))
			if i > 0 {
				b.WriteString("  ")
			}
			if c.Number {
				b.WriteString(pad + cell(i))
			} else {
				b.WriteString(cell(i) + pad)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	line(func(i int) string { return t.Columns[i].Name })
	for _, r := range t.Rows {
		line(func(i int) string { return r[i] })
	}
}

// AppendJSON appends the table as a list of objects (RFC 8259).
func (t *Table) AppendJSON(b []byte) []byte {
	b = append(b, '[')
	for n, r := range t.Rows {
		if n > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		for i, c := range t.Columns {
			if i > 0 {
				b = append(b, ',')
			}
			b = AppendString(b, strings.ReplaceAll(strings.ToLower(c.Name), " ", "_"))
			b = append(b, ':')
			if c.Number || c.JSON {
				b = append(b, r[i]...)
			} else {
				b = AppendString(b, r[i])
			}
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// AppendString appends a quoted string (RFC 8259, section 7).
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range strings.ToValidUTF8(s, "\ufffd") {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			b = append(b, `\u00`...)
			if r < 16 {
				b = append(b, '0')
			}
			b = strconv.AppendInt(b, int64(r), 16)
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}

package view

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	x := New("NAME", "LIST{}", "RX BYTES#")
	x.Add("a", "[]", 7)
	x.Add("longer", "[1,2]", 1234567)
	var text strings.Builder
	x.WriteText(&text)
	want := "NAME    RX BYTES\na              7\nlonger   1234567\n"
	if text.String() != want {
		t.Errorf("%q", text.String())
	}
	var rows []struct {
		Name    string `json:"name"`
		List    []int
		RxBytes int `json:"rx_bytes"`
	}
	if err := json.Unmarshal(x.AppendJSON(nil), &rows); err != nil || len(rows) != 2 || rows[1].RxBytes != 1234567 || rows[1].Name != "longer" || len(rows[1].List) != 2 {
		t.Errorf("%v %v", rows, err)
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\"b\\c\n\x01\xff\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(AppendString(nil, s), &got); err != nil || got != strings.ToValidUTF8(s, "\ufffd") {
			t.Errorf("%q became %q: %v", s, got, err)
		}
	})
}

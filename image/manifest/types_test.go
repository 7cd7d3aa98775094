package manifest

import (
	"fmt"
	"testing"
)

// inA is a manifest with one domain and a line more.
func inA(line string) string { return "[domain.a]\npackage = \"./a\"\n" + line }

func TestWrongTypes(t *testing.T) {
	const list, inline = `want a list of strings, as ["a", "b"]`, `want a table, as { KEY = "VALUE" }`
	for _, c := range []struct{ text, want string }{
		{"board = 3", `1: "board" is of the wrong type: want a string in quotes`},
		{"memory = 128", `1: "memory" is of the wrong type: want a string in quotes`},
		{"host = 1", `1: "host" is of the wrong type: want a table: [host]`},
		{"[host.ip]\nx = 1", `1: "host.ip" is of the wrong type: want a string in quotes`},
		{"domain = 3", `1: "domain" is of the wrong type: want a table: [domain.NAME]`},
		{"\n[domain]\na = 3", `3: "domain.a" is of the wrong type: want a table: [domain.NAME]`},
		{"\n[[domain]]", `2: "domain" is of the wrong type: want a table: [domain.NAME]`},
		{"[[domain.a]]", `1: "domain.a" is of the wrong type: want a table: [domain.NAME]`},
		{inA("weight = \"x\""), `3: "domain.a.weight" is of the wrong type: want a whole number`},
		{inA("weight = 1.5"), `3: "domain.a.weight" is of the wrong type: want a whole number`},
		{inA("start = 1"), `3: "domain.a.start" is of the wrong type: want true or false`},
		{inA("args = \"x\""), `3: "domain.a.args" is of the wrong type: ` + list},
		{inA("args = [\"x\", 1]"), `3: "domain.a.args" is of the wrong type: ` + list},
		{inA("env = [\"A=b\"]"), `3: "domain.a.env" is of the wrong type: ` + inline},
		{inA("env = { A = 1 }"), `3: "domain.a.env.A" is of the wrong type: want a string in quotes`},
		{inA("[domain.a.files.x]\ny = 1"), `3: "domain.a.files.x" is of the wrong type: want a string in quotes`},
		{inA("weight.x = 1"), `3: "domain.a.weight" is of the wrong type: want a whole number`},
		{"board = 1\nmemory = 2", "1: \"board\" is of the wrong type: want a string in quotes\n" + FileName + ":2: \"memory\" is of the wrong type: want a string in quotes"},
	} {
		if _, err := Parse([]byte(c.text), FileName); err == nil || err.Error() != FileName+":"+c.want {
			t.Errorf("%q:\n got %v\nwant %s:%s", c.text, err, FileName, c.want)
		}
	}
}

func TestMoreMistakes(t *testing.T) {
	const caps = `want a part of one processor from "0.1%" to "100%", with one digit behind the point at most`
	for _, c := range []struct{ text, want string }{
		{"[foo.bar]\nx = 1", `1: unknown key "foo.bar": want one of board, memory, host, nic, domain, router`},
		{"[hots]\nx = 1", `1: unknown key "hots": did you mean host?`},
		{"board = \"pc\"\nboard = \"pc\"", `2: key board is already defined: want each key and each table once`},
		{inA("cap = \"NaN%\""), `3: the cap "NaN%": ` + caps},
		{inA("cap = \"0x1p3%\""), `3: the cap "0x1p3%": ` + caps},
		{inA("cap = \"0.15%\""), `3: the cap "0.15%": ` + caps},
		{inA("cap = \"0.0%\""), `3: the cap "0.0%": ` + caps},
		{inA("cap = \"100.1%\""), `3: the cap "100.1%": ` + caps},
		{inA("cap = \"5.%\""), `3: the cap "5.%": ` + caps},
		{inA("cap = \"25\""), `3: the cap "25": ` + caps},
		{inA("listen = [\"tcp/80\", \"tcp/80\"]"), `3: domain a listens on tcp/80 twice: want it once`},
		{inA("env = { \"A=B\" = \"c\" }"), `3: the variable "A=B": want a name without =`},
		{inA("files = { \"/x\" = \"a/../../x\" }"), `3: the file "a/../../x": want a path below the manifest's folder`},
	} {
		if _, err := Parse([]byte(c.text), FileName); err == nil || err.Error() != FileName+":"+c.want {
			t.Errorf("%q:\n got %v\nwant %s:%s", c.text, err, FileName, c.want)
		}
	}
	if _, err := Parse([]byte("[domain.\"a\\nb\"]\npackage = \"./a\""), FileName); err == nil || !oneMistake.MatchString(err.Error()) || len(err.Error()) > 200 {
		t.Errorf("a name with a line in it: %v", err)
	}
	if _, err := Parse([]byte(inA("files = { \"/x\" = \"..x\" }")), FileName); err != nil {
		t.Error(err)
	}
}

// TestWaysToWriteATable: TOML has several, and all mean the same.
func TestWaysToWriteATable(t *testing.T) {
	for _, text := range []string{
		inA("weight = 5\nstart = false"),
		"domain.a.package = \"./a\"\ndomain.a.weight = 5\ndomain.a.start = false",
		"[domain]\na.package = \"./a\"\na.weight = 5\na.start = false",
		"[domain]\na = { package = \"./a\", weight = 5, start = false }",
		"domain = { a = { package = \"./a\", weight = 5, start = false } }",
	} {
		m, err := Parse([]byte(text), FileName)
		if err != nil || len(m.Domains) != 1 || m.Domains[0].Weight != 5 || m.Domains[0].Start {
			t.Errorf("%q: %+v (%v)", text, m, err)
		}
	}
}

func TestCaps(t *testing.T) {
	for n := 1; n <= 1000; n++ {
		m, err := Parse([]byte(inA(fmt.Sprintf("cap = \"%d.%d%%\"", n/10, n%10))), FileName)
		if err != nil || m.Domains[0].Cap != n {
			t.Fatalf("%d thousandths: %+v (%v)", n, m, err)
		}
	}
}

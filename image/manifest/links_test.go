package manifest

import (
	"strings"
	"testing"
)

func TestLinks(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"[domain.a]\npackage = \"./a\"\nlink = [\"88cc\", \"88b5\"]\n[domain.b]\npackage = \"./b\"\nlink = [\"88b6\"]\n", ""},
		{"[domain.a]\npackage = \"./a\"\nlink = [\"88cc\", \"88cc\"]\n", "domain a has the link 88cc twice"},
		{"[domain.a]\npackage = \"./a\"\nlink = [\"88cc\"]\n[domain.b]\npackage = \"./b\"\nlink = [\"88cc\"]\n", "domains a and b both have the link 88cc"},
		{"[domain.a]\npackage = \"./a\"\nlink = [\"0800\"]\n", `link "0800": want an EtherType`},
		{"[domain.a]\npackage = \"./a\"\nlink = [\"lldp\"]\n", `link "lldp": want an EtherType`},
		{"[domain.a]\npackage = \"./a\"\nlink = \"88cc\"\n", "a list of strings"},
	} {
		_, err := Parse([]byte(c.text), FileName)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}

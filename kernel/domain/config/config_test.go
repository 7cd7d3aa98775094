package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/domain/restart"
)

func good() Domain {
	return Domain{Name: "web-1", Args: []string{"-v"}, Env: []string{"A=b"}, Quota: 8 << 20, Weight: 100,
		Cap: 250, Start: true, NIC: "wan", Policy: restart.OnFailure, Backoff: time.Second, BackoffMax: time.Minute,
		Listen: []string{"tcp/80"}, Pipes: []string{"log", "other"}, Link: []string{"88cc"}, Rate: 10e6, Pinned: true}
}

func TestDecodeReadsWhatEncodeWrote(t *testing.T) {
	second := good()
	second.Name = "b"
	want := []Domain{good(), second}
	got, err := Decode(Encode(want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%v)", got, err)
	}
}

func TestMayLink(t *testing.T) {
	d := Domain{Link: []string{"88cc", "0800", "nothing"}}
	for etherType, want := range map[uint32]bool{0x88cc: true, 0x88cd: false, 0x0800: false, 0: false, 0x188cc: false} {
		if d.MayLink(etherType) != want {
			t.Errorf("%#x: %v", etherType, !want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		change func(*Domain)
		want   string
	}{
		{func(d *Domain) { d.Name = "" }, "the name"},
		{func(d *Domain) { d.Name = "1a" }, "the name"},
		{func(d *Domain) { d.Name = "A" }, "the name"},
		{func(d *Domain) { d.Name = "a/b" }, "the name"},
		{func(d *Domain) { d.Name = "domains" }, "the name"},
		{func(d *Domain) { d.Name = strings.Repeat("a", NameMax+1) }, "the name"},
		{func(d *Domain) { d.Quota = QuotaMin - 1 }, "memory"},
		{func(d *Domain) { d.Quota = QuotaMax + 1 }, "memory"},
		{func(d *Domain) { d.Weight = 0 }, "weight"},
		{func(d *Domain) { d.Cap = 1001 }, "cap"},
		{func(d *Domain) { d.Cap = -1 }, "cap"},
		{func(d *Domain) { d.NIC = "Wan" }, "network card"},
		{func(d *Domain) { d.Policy = 3 }, "restart policy"},
		{func(d *Domain) { d.Backoff = -1 }, "back-off"},
		{func(d *Domain) { d.BackoffMax = 0 }, "back-off"},
		{func(d *Domain) { d.Args = []string{"a\x00"} }, "zero byte"},
		{func(d *Domain) { d.Env = []string{"A"} }, "KEY=VALUE"},
		{func(d *Domain) { d.Env = []string{"=A"} }, "KEY=VALUE"},
		{func(d *Domain) { d.Args = []string{strings.Repeat("x", StringsMax)} }, "arguments and environment"},
		{func(d *Domain) { d.Args = make([]string, StringsMax/9) }, "arguments and environment"},
	} {
		d := good()
		c.change(&d)
		if err := d.Check(); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want %q", d, err, c.want)
		}
		if got, err := Decode(Encode([]Domain{d})); err != nil || got[0].Check() == nil {
			t.Errorf("%+v was decoded to %+v (%v)", d, got, err)
		}
	}
	d := good()
	if err := d.Check(); err != nil {
		t.Error(err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	many := make([]Domain, Max+1)
	for i := range many {
		many[i] = good()
		many[i].Name = "d" + strings.Repeat("x", i%NameMax)
	}
	for text, want := range map[string]string{
		"quota 1":                  "before the first domain",
		"domain":                   "not a key and a value",
		"domain a":                 "invalid syntax",
		"domain \"a\"\ncolour 1":   "unknown key",
		"domain \"a\"\nquota many": "invalid syntax",
		"domain 'a'":               "line 1: domain: not as the builder writes it",
		"domain `a`":               "not as the builder writes it",
		"domain \"a\"\nquota -5":   "line 2: quota: not as the builder writes it",
		"domain \"a\"\nweight +5":  "not as the builder writes it",
		"domain \"a\"\nweight 007": "not as the builder writes it",
		"domain \"a\"\nstart 7":    "not as the builder writes it",
		"domain \"a\"\nobserve 2":  "not as the builder writes it",
		"domain \"a\"\npinned 0":   "not as the builder writes it",
		string(Encode(many)):       "more than 64 domains",
	} {
		if _, err := Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode([]Domain{good()}))
	f.Add([]byte("domain \"a\"\nquota 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		domains, err := Decode(text)
		if err != nil {
			return
		}
		if again, err := Decode(Encode(domains)); err != nil || !reflect.DeepEqual(again, domains) {
			t.Errorf("what was decoded encodes as %+v (%v)", again, err)
		}
	})
}

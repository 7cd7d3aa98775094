package config

import (
	"github.com/sluice-os/sluice/kernel/domain/restart"
	"strings"
	"time"
)

type Domain struct {
	Name        string
	Args, Env   []string
	Quota       uint64
	Weight, Cap int
	Restart     restart.Policy
	Backoff     restart.Backoff
	Start       bool
}

func Decode(b []byte) (out []Domain, err error) {
	for _, name := range strings.Fields(string(b)) {
		out = append(out, Domain{Name: name, Quota: 16 << 20, Weight: 100, Start: true, Backoff: restart.Backoff{First: time.Second, Most: time.Minute}, Restart: restart.Never})
	}
	return
}

package config

import (
	"encoding/json"

	"github.com/sluice-os/sluice/kernel/domain/restart"
)

const (
	EntryName   = "domains"
	FilesSuffix = ".files"
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

func Encode(d []Domain) []byte { b, _ := json.Marshal(d); return b }

func Decode(b []byte) (out []Domain, err error) { err = json.Unmarshal(b, &out); return }

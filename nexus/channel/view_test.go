package channel_test

import (
	"encoding/json"
	"testing"

	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
)

// TestTableOfAPipe: what a pipe has dropped shows with its channel, for people and programs.
func TestTableOfAPipe(t *testing.T) {
	x := newPair(t, arena.Params{})
	var rows []map[string]any
	b := channel.Table([]channel.Listed{{Channel: x.Channel, Nexus: "pipe log", TooLong: 3, Lost: 5}}).AppendJSON(nil)
	if err := json.Unmarshal(b, &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 || rows[0]["nexus"] != "pipe log" || rows[0]["too_long"] != 3.0 || rows[0]["lost"] != 5.0 {
		t.Errorf("%s", b)
	}
}

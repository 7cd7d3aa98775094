package suites

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest"
)

// channelMemory is what the command pools says of a domain's channel.
type channelMemory struct {
	id    int
	bytes int // in all
	sets  map[string]poolRow
}

type poolRow struct {
	Channel    int
	Domain, Of string
	Limit      int
	Backed     int
	Free, Lent int
	WorkingSet int `json:"working_set"`
	AskedBack  int `json:"asked_back"`
	Segments   int
	Bytes      int
}

// idle says whether a channel has given back all that load has had it take.
func (m channelMemory) idle() bool {
	for of, r := range m.sets {
		if r.AskedBack != 0 || of != "rings, metadata" && r.Segments != 1 {
			return false
		}
	}
	return m.bytes <= idleMost
}

func poolsOf(t *testing.T, vm *qemutest.VM, domain string) channelMemory {
	t.Helper()
	text := vm.Command(t, "pools -j")
	var rows []poolRow
	if err := json.Unmarshal([]byte(jsonLine(text)), &rows); err != nil {
		t.Fatalf("pools -j printed %q: %v", text, err)
	}
	m := channelMemory{sets: map[string]poolRow{}}
	for _, r := range rows {
		if r.Domain == domain {
			m.id = r.Channel
			m.bytes += r.Bytes
			m.sets[r.Of] = r
		}
	}
	for _, of := range []string{"packets", "buffers", "large buffers"} {
		r := m.sets[of]
		// One packet may be in the kernel's hands, neither free nor lent.
		passing := r.Backed - r.Free - r.Lent
		if r.Segments == 0 || passing < 0 || passing > abi.BufletsMax || r.Backed > r.Limit || r.Bytes == 0 {
			t.Errorf("the %s of %s: %+v", of, domain, r)
		}
	}
	return m
}

// idleMost is what an idle domain's channel may hold, in bytes.
const idleMost = 256 << 10

// TestPoolsFollowLoad has an ordinary server's channel grow while it serves, and be small
// before and after; it serves on afterwards, on the same channel.
func TestPoolsFollowLoad(t *testing.T) {
	server := serverDomain(t, "server", []string{"tcp/80"}, nil, "http/80")
	clock := serverDomain(t, "clock", nil, nil)
	vm := start(t, qemutest.Config{
		Memory: 160, Image: imageWith(t, "microvm", server, clock), Append: "log=warn",
		Net: qemutest.UserNet, Forward: []string{"tcp/80"},
	})
	vm.Seen(t, "server: serving")
	vm.Seen(t, "clock: serving")
	url := "http://" + vm.Forwarded(t, "tcp/80")
	if got := fetch(t, url+"/hello"); string(got) != "hello\n" {
		t.Fatalf("/hello is %q", got)
	}
	before := poolsOf(t, vm, "server")
	if before.bytes > idleMost {
		t.Errorf("a channel that has served one request has %d bytes", before.bytes)
	}
	waited := 0
	wait := func(span string) { // by the machine's clock
		t.Helper()
		vm.Command(t, "domain send clock wait "+span)
		waited++
		vm.Times(t, 0, "clock: wait: ok", waited)
	}
	for round := range 2 {
		// Two downloads at a time, one of which stops in the middle.
		r, err := client.Get(url + "/bytes/40000000")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, r.Body, 1_000_000); err != nil {
			t.Fatal(err)
		}
		if n := len(fetch(t, url+"/bytes/20000000")); n != 20_000_000 {
			t.Errorf("%d bytes came", n)
		}
		load := poolsOf(t, vm, "server")
		if load.bytes < 2*before.bytes || load.sets["packets"].WorkingSet <= before.sets["packets"].WorkingSet {
			t.Errorf("round %d: %d bytes under load, %d before: %+v", round, load.bytes, before.bytes, load.sets)
		}
		n, err := io.Copy(io.Discard, r.Body)
		if r.Body.Close(); err != nil || n != 39_000_000 {
			t.Errorf("%d bytes came, %v", n, err)
		}
		client.CloseIdleConnections() // or the server looks after them, 15 s after what each has carried
		// 10 s after the looks, one a second, that have seen the last of the load.
		after := poolsOf(t, vm, "server")
		for n := 0; n < 25 && !after.idle(); n++ {
			wait("1s")
			after = poolsOf(t, vm, "server")
		}
		if after.bytes > idleMost || after.id != before.id {
			t.Errorf("round %d: channel %d has %d bytes after the load, channel %d %d before it: %+v",
				round, after.id, after.bytes, before.id, before.bytes, after.sets)
		}
		for of, r := range after.sets {
			if r.AskedBack != 0 || of != "rings, metadata" && r.Segments != 1 {
				t.Errorf("round %d: %s after the load: %+v", round, of, r)
			}
		}
		t.Logf("round %d: %d KiB before, %d KiB under load, %d KiB after", round, before.bytes>>10, load.bytes>>10, after.bytes>>10)
	}
	if text := vm.Command(t, "pools"); !strings.Contains(text, "WORKING SET") || !strings.Contains(text, "rings, metadata") {
		t.Errorf("pools printed %q", text)
	}
	if got := string(fetch(t, url+"/hello")); got != "hello\n" {
		t.Errorf("/hello is %q", got)
	}
	powerOff(t, vm)
}

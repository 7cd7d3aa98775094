package inet

import (
	"sync"
	_ "unsafe" // go:linkname

	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// delayAck and sendAck are in the copy of gVisor that the builder makes for domains
// (image/overlay/external.go): see there.

//go:linkname delayAck internal/sluice/mod/gvisor.dev/gvisor/pkg/tcpip/transport/tcp.sluiceDelayAck
var delayAck func(*tcp.Endpoint) bool

//go:linkname sendAck internal/sluice/mod/gvisor.dev/gvisor/pkg/tcpip/transport/tcp.sluiceSendAck
func sendAck(*tcp.Endpoint)

// delayedMax is how many connections may owe an acknowledgement at a time; further
// ones acknowledge at once.
const delayedMax = 512

// delayed holds the connections that have received something since the last flush
// of the link. Before the next one they acknowledge what the program's own
// answers have not acknowledged by then, within one turn of the scheduler.
type delayed struct {
	mu        sync.Mutex
	endpoints []*tcp.Endpoint
	spare     []*tcp.Endpoint // what the last flush used
	signal    func()          // brings the flush about
}

// add takes over to acknowledge for e; see delayAck.
func (d *delayed) add(e *tcp.Endpoint) bool {
	d.mu.Lock()
	n := len(d.endpoints)
	if n < delayedMax && (n == 0 || d.endpoints[n-1] != e) {
		d.endpoints = append(d.endpoints, e)
	}
	d.mu.Unlock()
	d.signal()
	return n < delayedMax
}

// send acknowledges for all.
func (d *delayed) send() {
	d.mu.Lock()
	list := d.endpoints
	d.endpoints, d.spare = d.spare[:0], nil
	d.mu.Unlock()
	for i, e := range list {
		sendAck(e)
		list[i] = nil
	}
	d.mu.Lock()
	d.spare = list[:0]
	d.mu.Unlock()
}

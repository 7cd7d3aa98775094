package host

// How much of the machine's memory peers may make the stack hold. gVisor bounds
// its queues by the bytes that they carry, or by a number of packets; what
// that costs in memory is written down here, and measured by the tests.

import (
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// MemoryBudgetMin is the least Config.MemoryBudget, in bytes: what a
	// machine of 64 MiB can spare of a heap of 36 MiB.
	MemoryBudgetMin = 51 << 19
	// MemoryBudgetMax is the most that is made use of.
	MemoryBudgetMax = 256 << 20
)

// What things cost, in bytes.
const (
	// chunkMax is the largest piece of memory behind a packet, and so the most
	// by which a queue can exceed its bound: the packet that fills it up.
	chunkMax = 64 << 10
	// packetBytes is what a packet costs beside its data, wherever it waits:
	// its description, its views, and a chunk for headers.
	packetBytes = 1 << 10
	// segmentBytes is the same for a segment in a send queue, whose data is in
	// a chunk that other segments share.
	segmentBytes = 720
	// segmentMin is the least data in a segment that is cut from a longer one:
	// mssMin without the longest options.
	segmentMin = mssMin - header.TCPOptionsMaximumSize
	// endpointBytes is a TCP connection without its queues: endpoint, sender,
	// receiver, timers, its places in tables, and a timer's goroutine.
	endpointBytes = 7 << 10
	// stackBytes is the stack of a goroutine that serves a connection.
	stackBytes = 16 << 10
	// httpBytes is net/http's part of a connection: two goroutines, buffers of
	// 4 KiB each way, and either the headers as they come in (6 KiB of the
	// shortest ones are 2000 strings in a map) or what a handler works with.
	httpBytes = 168 << 10
	// sackBytes is what a peer may acknowledge out of order: a hundred ranges.
	sackBytes = 4 << 10
	// neighbourBytes is an entry of gVisor's neighbour caches and of ours.
	neighbourBytes = 768
)

// What does not depend on the budget.
const (
	// wideConnections is how many connections have a large send buffer at a
	// time. One connection alone has one; many share the line anyway.
	wideConnections = 4
	listeners       = 3
	// neighbourEntries is the size of gVisor's caches for IPv4 and IPv6
	// (stack.NeighborCacheSize).
	neighbourEntries = 2 * stack.NeighborCacheSize
	// udpReceive is the receive buffer of a UDP socket, bytes: the echo's slow
	// path, and the two of a lookup.
	udpReceive = 32 << 10
	udpSockets = 3
	// pingReceive is the receive buffer of a Pinger, bytes. What arrives
	// between two requests stays in it.
	pingReceive = 1 << 10
	// lookupConnections is how many TCP connections a lookup may have open, to
	// name servers whose answers are long. One lookup runs at a time.
	lookupConnections = 2
	// unresolvedBytes is what waits for link addresses, with the answers of two
	// turns that came before the poller knew: to TCP, and of the UDP echo.
	unresolvedBytes = unresolvedMax + 2*pollBudget*packetBytes + 2*udpReceive + chunkMax
	// passing is how many packets without data may wait for a goroutine. No
	// buffer bounds them; the poller gives way after each batch.
	passing = 4 * pollBudget
	// routerBytes bounds what routers announce: gVisor keeps ten routers, ten
	// prefixes and their addresses, we keep routerRoutesMax routes of a kind.
	routerBytes = 128 << 10
	// txQueuePackets is the number of packets of the stack's own that wait for room in
	// the ring.
	txQueuePackets = 1024
)

// limits bounds what peers can make the stack hold.
type limits struct {
	// receiveMax bounds what a TCP connection has received and nobody has read,
	// as gVisor counts it, bytes. It begins with receiveFirst, which grows when
	// the reader keeps up.
	receiveFirst, receiveMax int
	// sendMax bounds the data that waits for acknowledgements on one of the
	// wideConnections, sendMin on the others, bytes.
	sendMin, sendMax int
	// Connections accepted at a time, by service.
	httpConnections, echoConnections, discardConnections int
	// backlog is the number of connections a listener keeps unaccepted.
	backlog int
	// closedMax is the most closed connections that gVisor keeps for one
	// listener, in TIME-WAIT for the most part, which holds no buffers.
	closedMax int
	// txQueue bounds what waits of the stack's own for room in the ring, bytes, and
	// txChunks what waits of domains.
	txQueue, txChunks int
	// bursts bounds what waits for the echo's socket, bytes.
	bursts int
	// fragments bounds what waits for missing fragments, bytes.
	fragments int
}

// limitsFor divides a budget so that worst() stays within it.
func limitsFor(budget int) limits {
	budget = min(max(budget, MemoryBudgetMin), MemoryBudgetMax)
	chunks := min(max(budget/(128<<10), chunksMin), chunksMax)
	bursts := min(max(budget/128, 192<<10), 4<<20)
	left := budget - queueMemory(chunks) - burstMemory(bursts)
	lim := limits{
		receiveFirst:       min(max(left/768, 32<<10), 64<<10),
		receiveMax:         min(max(left/192, 128<<10), 1<<20),
		discardConnections: 2,
		backlog:            min(max(left/(8<<20), 4), 8),
		closedMax:          min(max(left/(192<<10), 128), 512),
		txQueue:            min(left/24, 8<<20),
		txChunks:           chunks,
		bursts:             bursts,
		fragments:          min(left/32, 4<<20),
	}
	lim.sendMax, lim.sendMin = lim.receiveMax, lim.receiveMax/4
	// What is left when everything else is paid goes to HTTP and echo, four to
	// one.
	rest := budget - lim.worst()
	five := 4*lim.httpConnection() + lim.echoConnection()
	lim.echoConnections = rest / five
	lim.httpConnections = 4*lim.echoConnections + rest%five/lim.httpConnection()
	return lim
}

// holding is one thing that peers can make the stack hold.
type holding struct {
	name  string
	bytes int
}

// holdings lists what there can be at most.
func (l limits) holdings() []holding {
	// A listener has fewer handshakes than its backlog, and takes no SYN when
	// that many connections wait.
	unaccepted := listeners * (2*l.backlog - 1)
	return []holding{
		{"HTTP connections", l.httpConnections * l.httpConnection()},
		{"echo connections", l.echoConnections * l.echoConnection()},
		{"discard connections", l.discardConnections * l.discardConnection()},
		{"large send buffers", wideConnections * (sendBytes(l.sendMax) - sendBytes(l.sendMin))},
		{"unaccepted connections", unaccepted * (endpointBytes + receiveBytes(l.receiveFirst))},
		{"closed connections", listeners * l.closedMax * endpointBytes},
		{"listeners", listeners * (endpointBytes + receiveBytes(l.receiveFirst))},
		{"lookups", lookupConnections * (endpointBytes + stackBytes + receiveBytes(l.receiveFirst))},
		{"UDP sockets", udpSockets * receiveBytes(udpReceive)},
		{"ping", receiveBytes(pingReceive) + pingReceive/pingHeader*packetBytes},
		{"transmit queue", l.txQueue},
		{"class queue", queueMemory(l.txChunks)},
		{"bursts", burstMemory(l.bursts)},
		{"fragments", l.fragments},
		{"neighbours", neighbourEntries * neighbourBytes},
		{"packets for unresolved neighbours", unresolvedBytes},
		{"packets without data", passing * packetBytes},
		{"DHCP", dhcpBacklog * 2 * dhcpMax},
		{"routers", routerBytes},
	}
}

// worst is the most memory that peers can make the stack hold, in bytes.
func (l limits) worst() int {
	sum := 0
	for _, h := range l.holdings() {
		sum += h.bytes
	}
	return sum
}

// discardConnection is the memory of a connection that never sends.
func (l limits) discardConnection() int {
	return endpointBytes + stackBytes + streamBuffer + receiveBytes(l.receiveMax)
}

// echoConnection is the memory of a connection that sends, too.
func (l limits) echoConnection() int { return l.discardConnection() + sendBytes(l.sendMin) }

// httpConnection is the memory of a connection of HTTP.
func (l limits) httpConnection() int {
	return endpointBytes + httpBytes + receiveBytes(l.receiveMax) + sendBytes(l.sendMin)
}

// receiveBytes is the memory of a receive buffer of n bytes. gVisor counts data and
// descriptions, but a chunk's size is a power of two: a packet of 1025 bytes,
// with 576 counted for its descriptions, takes 2784.
func receiveBytes(n int) int { return n*7/4 + chunkMax + packetBytes }

// sendBytes is the memory of a send buffer of n bytes. Data is in chunks whose size
// is a power of two, and the first one stays until all of it is acknowledged.
func sendBytes(n int) int {
	segments := n/segmentMin + n/smallWrite + smallWrites + 1
	return 2*n + min(n, chunkMax) + segments*segmentBytes + sackBytes
}

// fragmentBytes is the memory of a fragment of n bytes that waits for others,
// and of what the first one of a datagram brings with it.
func fragmentBytes(n int) int { return 2*n + 1792 }

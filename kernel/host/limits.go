package host

// How much of the machine's memory the stack may use, and what follows from it.

const (
	// MemoryBudgetMin is the least Config.MemoryBudget, in bytes: what a
	// machine of 64 MiB can spare.
	MemoryBudgetMin = 24 << 20
	// MemoryBudgetMax is the most that is made use of.
	MemoryBudgetMax = 256 << 20

	// reassemblyBytes is what gVisor keeps of unfinished fragments at most, for
	// IPv4 and IPv6 (fragmentation.HighFragThreshold, each).
	reassemblyBytes = 2 * (4 << 20)
)

// limits bounds what remote peers can make the stack hold.
type limits struct {
	// receiveMax and sendMax bound the buffers of one TCP connection, bytes.
	receiveMax, sendMax int
	// Connections accepted at a time, by service.
	httpConnections, echoConnections, discardConnections int
	// backlog is the number of connections a listener keeps unaccepted.
	backlog int
	// txQueuePackets and txQueueBytes bound what waits for room in the ring.
	txQueuePackets, txQueueBytes int
	// udpReceive is the receive buffer of the UDP echo's slow path, bytes.
	udpReceive int
}

// limitsFor divides a budget so that worst() stays within it.
func limitsFor(budget int) limits {
	budget = min(max(budget, MemoryBudgetMin), MemoryBudgetMax)
	lim := limits{
		discardConnections: 2,
		backlog:            8,
		txQueuePackets:     1024,
		txQueueBytes:       budget / 16,
		udpReceive:         64 << 10,
	}
	// Half of what is left when everything fixed is paid goes to receiving.
	rest := budget - reassemblyBytes - lim.txQueueBytes - lim.udpReceive
	buffer := min(max(rest/112, 128<<10), 1<<20)
	lim.receiveMax, lim.sendMax = buffer, buffer
	connections := min(rest/(2*buffer), 256) - 3*lim.backlog - lim.discardConnections
	lim.echoConnections = connections / 4
	lim.httpConnections = connections - lim.echoConnections
	return lim
}

// worst is the most memory that peers can make the stack hold, in bytes.
func (l limits) worst() int {
	connections := l.httpConnections + l.echoConnections + l.discardConnections + 3*l.backlog
	return connections*(l.receiveMax+l.sendMax) + l.txQueueBytes + l.udpReceive + reassemblyBytes
}

package overlay

// How packages of other modules are changed for domains, each with its reason.

// rule is how a package is changed. The overlay has no place for assembly, so Go
// for other processors takes its place.
type rule struct {
	omit  []string // files that are left out; each must be there
	add   []string // files that this platform does not use, without their constraint
	ours  []string // files of Sluice's own, from this package's folder goroot
	edits []edit   // file is its name
}

const gvisor = "gvisor.dev/gvisor/pkg/"

// lostIsNotInFlight: what RACK has found lost counts as in flight, as only the scoreboard of
// SACK is asked, which is empty after an outage. It fills the congestion window, so that each
// time the timer runs out two segments of hundreds are sent again (RFC 8985, section 6.2: a
// segment that is marked lost is not in flight).
var lostIsNotInFlight = edit{"snd.go",
	"\t\t\tif s.ep.scoreboard.IsSACKED(sb) {\n\t\t\t\tcontinue\n\t\t\t}\n\n\t\t\t// SetPipe():\n",
	"\t\t\tif s.ep.scoreboard.IsSACKED(sb) || s1.lost {\n\t\t\t\tcontinue\n\t\t\t}\n\n\t\t\t// SetPipe():\n"}

// noTrains: slow start ends when round trips become longer, and not by how long the acknowledgements of a
// round take to come (RFC 9406 has no more of HyStart than that): on a near network a round trip is
// shorter than those of a few long packets take, and a connection would begin with a window of two of them.
var noTrains = edit{"cubic.go",
	"\tif now.Sub(c.LastAck) < ackDelta && // ensures acks are part of the same \"train\"\n" +
		"\t\tc.LastRTT < effectivelyInfinity {\n\t\tc.LastAck = now\n" +
		"\t\tif thresh := c.LastRTT / 2; now.Sub(c.RoundStart) > thresh {\n\t\t\tc.s.Ssthresh = c.s.SndCwnd\n\t\t}\n\t}\n",
	"\tc.LastAck = now\n"}

// parsed is how both ways in of IPv4's packets begin.
const parsed = "e.protocol.parseAndValidate(pkt)\n\tif !ok {\n\t\tstats.MalformedPacketsReceived.Increment()\n\t\treturn\n\t}\n"

// rules are those of packages by their import paths.
var rules = map[string]rule{
	gvisor + "atomicbitops": {
		omit: []string{"atomicbitops.go"},
		add:  []string{"atomicbitops_noasm.go"},
	},
	// The generic way counts bit by bit, several times for each packet.
	gvisor + "bits": {
		omit: []string{"uint64_arch.go"},
		add:  []string{"uint64_arch_generic.go"},
		edits: []edit{
			{"uint64_arch_generic.go", "package bits\n", "package bits\n\nimport mathbits \"math/bits\"\n"},
			{"uint64_arch_generic.go",
				"\ti := 63\n\tfor ; x&(1<<63) == 0; i-- {\n\t\tx <<= 1\n\t}\n\treturn i\n",
				"\treturn mathbits.Len64(x) - 1\n"},
		},
	},
	// Headers are looked at dozens of times for each packet, and nearly always lie
	// in the first piece of memory.
	gvisor + "buffer": {
		edits: []edit{
			{"buffer.go",
				"\ttgt := Range{begin: offset, end: offset + length}\n",
				"\tif v := b.data.Front(); v != nil && offset >= 0 && length > 0 && length <= v.Size()-offset && !v.sharesChunk() {\n" +
					"\t\treturn View{read: v.read + offset, write: v.read + offset + length, chunk: v.chunk}, true\n\t}\n" +
					"\ttgt := Range{begin: offset, end: offset + length}\n"},
			{"buffer.go",
				"// PullUp makes the specified range contiguous",
				"// SluiceFront returns length bytes at offset when they lie in the first piece of\n" +
					"// memory and that is nobody else's too; else nil.\n" +
					"func (b *Buffer) SluiceFront(offset, length int) []byte {\n" +
					"\tv := b.data.Front()\n" +
					"\tif v == nil || offset < 0 || length <= 0 || length > v.Size()-offset || v.sharesChunk() {\n\t\treturn nil\n\t}\n" +
					"\treturn v.chunk.data[v.read+offset : v.read+offset+length]\n}\n\n" +
					"// PullUp makes the specified range contiguous"},
			// Room for payload is written before it is read; headers may count on
			// zeros.
			{"chunk.go", "\t\tclear(c.data)\n", "\t\tif size < 4096 {\n\t\t\tclear(c.data)\n\t\t}\n"},
		},
	},
	// Nothing looks for leaks of what is counted, several times for each packet.
	gvisor + "refs": {
		edits: []edit{
			{"refs_map.go", "func Register(obj CheckedObject) {\n\tif LeakCheckEnabled() {\n", "func Register(obj CheckedObject) {\n\tif sluiceLeakCheck {\n"},
			{"refs_map.go", "func Unregister(obj CheckedObject) {\n\tif LeakCheckEnabled() {\n", "func Unregister(obj CheckedObject) {\n\tif sluiceLeakCheck {\n"},
			{"refs_map.go", "// Register adds obj", "const sluiceLeakCheck = false\n\n// Register adds obj"},
		},
	},
	gvisor + "tcpip/stack": {
		ours: []string{"goroot/stack/sluice.go.in"},
		edits: []edit{
			// A domain has no packet filter. The names of interfaces are for its rules
			// alone, and are asked for with each packet.
			{"iptables.go",
				"\tit.mu.RLock()\n\tdefer it.mu.RUnlock()\n\n\tif !it.modified {\n",
				"\tif sluiceNoRules {\n\t\treturn true\n\t}\n\n\tit.mu.RLock()\n\tdefer it.mu.RUnlock()\n\n\tif !it.modified {\n"},
			{"stack.go",
				"func (s *Stack) FindNICNameFromID(id tcpip.NICID) string {\n",
				"func (s *Stack) FindNICNameFromID(id tcpip.NICID) string {\n\tif sluiceNoRules {\n\t\treturn \"\"\n\t}\n\n"},
			{"stack.go", "// FindNICNameFromID returns", "const sluiceNoRules = true\n\n// FindNICNameFromID returns"},
			// The counters are a struct of two kilobytes, which every count would copy.
			{"stack.go",
				"func (s *Stack) Stats() tcpip.Stats {\n\treturn s.stats\n}\n",
				"func (s *Stack) Stats() *tcpip.Stats {\n\treturn &s.stats\n}\n"},
			{"route.go", "func (r *Route) Stats() tcpip.Stats {\n", "func (r *Route) Stats() *tcpip.Stats {\n"},
			{"packet_buffer.go",
				"\tview := pk.headerView(typ)\n\treturn view.AsSlice(), true\n",
				"\treturn PacketHeader{pk: pk, typ: typ}.Slice(), true\n"},
			{"packet_buffer.go",
				"\tview := pk.headerView(typ)\n\treturn view.AsSlice()\n",
				"\treturn PacketHeader{pk: pk, typ: typ}.Slice()\n"},
			{"packet_buffer.go",
				"\tview, ok := d.pk.buf.PullUp(d.pk.dataOffset(), size)\n\treturn view.AsSlice(), ok\n",
				"\tif s := d.pk.buf.SluiceFront(d.pk.dataOffset(), size); s != nil {\n\t\treturn s, true\n\t}\n" +
					"\tview, ok := d.pk.buf.PullUp(d.pk.dataOffset(), size)\n\treturn view.AsSlice(), ok\n"},
			{"packet_buffer.go",
				"\tview := h.pk.headerView(h.typ)\n\treturn view.AsSlice()\n",
				"\tif s := h.pk.buf.SluiceFront(h.pk.headerOffsetOf(h.typ), h.pk.headers[h.typ].length); s != nil {\n\t\treturn s\n\t}\n" +
					"\tview := h.pk.headerView(h.typ)\n\treturn view.AsSlice()\n"},
			// How long a header is can be told without it.
			{"packet_buffer.go",
				"// Push pushes size bytes",
				"// SluiceLength is how long the header is, in bytes.\nfunc (h PacketHeader) SluiceLength() int { return h.pk.headers[h.typ].length }\n\n// Push pushes size bytes"},
			{"nic.go", "if len(pkt.TransportHeader().Slice()) == 0 {", "if pkt.TransportHeader().SluiceLength() == 0 {"},
			// A list of one packet is in the packet: it needs no memory.
			{"packet_buffer.go", "\ttuple *tuple\n\n\t// onRelease", "\ttuple *tuple\n\n\tsluiceAlone [1]*PacketBuffer\n\n\t// onRelease"},
			{"nic.go",
				"\tvar pkts PacketBufferList\n\tpkts.PushBack(pkt)\n\t_, err := qDisc.LinkWriter.WritePackets(pkts)\n",
				"\tpkt.sluiceAlone[0] = pkt\n\t_, err := qDisc.LinkWriter.WritePackets(PacketBufferList{pbs: pkt.sluiceAlone[:]})\n"},
			// The endpoints of a connection are not in a map of one element.
			{"transport_demuxer.go", "\tendpoints map[tcpip.NICID]*multiPortEndpoint\n", "\tendpoints sluiceByNIC\n"},
			{"transport_demuxer.go", "\t\t\tendpoints: make(map[tcpip.NICID]*multiPortEndpoint),\n", ""},
			{"transport_demuxer.go",
				"\tfor _, ep := range epsByNIC.endpoints {\n\t\teps = append(eps, ep.",
				"\tfor _, bound := range epsByNIC.endpoints {\n\t\teps = append(eps, bound.ep."},
			{"transport_demuxer.go",
				"epsByNIC.endpoints[pkt.NICID]\n\tif !ok {\n\t\tif mpep, ok = epsByNIC.endpoints[0]; !ok {",
				"epsByNIC.endpoints.get(pkt.NICID)\n\tif !ok {\n\t\tif mpep, ok = epsByNIC.endpoints.get(0); !ok {"},
			{"transport_demuxer.go",
				"epsByNIC.endpoints[n.ID()]\n\tif !ok {\n\t\tmpep, ok = epsByNIC.endpoints[0]\n",
				"epsByNIC.endpoints.get(n.ID())\n\tif !ok {\n\t\tmpep, ok = epsByNIC.endpoints.get(0)\n"},
			{"transport_demuxer.go",
				"epsByNIC.endpoints[nicID]\n\tif !ok {\n\t\tif mpep, ok = epsByNIC.endpoints[0]; !ok {",
				"epsByNIC.endpoints.get(nicID)\n\tif !ok {\n\t\tif mpep, ok = epsByNIC.endpoints.get(0); !ok {"},
			{"transport_demuxer.go", "epsByNIC.endpoints[bindToDevice]\n\tif !ok {\n\t\tmultiPortEp = ", "epsByNIC.endpoints.get(bindToDevice)\n\tif !ok {\n\t\tmultiPortEp = "},
			{"transport_demuxer.go", "epsByNIC.endpoints[bindToDevice]\n\tif !ok {\n\t\treturn nil\n", "epsByNIC.endpoints.get(bindToDevice)\n\tif !ok {\n\t\treturn nil\n"},
			{"transport_demuxer.go", "epsByNIC.endpoints[bindToDevice]\n\tif !ok {\n\t\treturn false\n", "epsByNIC.endpoints.get(bindToDevice)\n\tif !ok {\n\t\treturn false\n"},
			{"transport_demuxer.go", "\t\tepsByNIC.endpoints[bindToDevice] = multiPortEp\n", "\t\tepsByNIC.endpoints.add(bindToDevice, multiPortEp)\n"},
			{"transport_demuxer.go", "\t\tdelete(epsByNIC.endpoints, bindToDevice)\n", "\t\tepsByNIC.endpoints.remove(bindToDevice)\n"},
			// Few addresses match another one, and to ask whether one is assigned takes a lock.
			{"addressable_endpoint_state.go", "if addrState.IsAssigned(allowTemp) && f(addrState) {", "if f(addrState) && addrState.IsAssigned(allowTemp) {"},
		},
	},
	// What an address is for is asked ten times for each packet: that is inlined when nothing
	// has to be formatted for a panic.
	gvisor + "tcpip/header": {
		edits: []edit{
			{"ipv4.go",
				"\tif addr.BitLen() != IPv4AddressSizeBits {\n\t\treturn false\n\t}\n\taddrBytes := addr.As4()\n\treturn (addrBytes[0] & 0xf0) == 0xe0\n",
				"\treturn addr.Len() == IPv4AddressSize && addr.SluiceFirst()&0xf0 == 0xe0\n"},
			{"ipv4.go",
				"\tif addr.BitLen() != IPv4AddressSizeBits {\n\t\treturn false\n\t}\n\taddrBytes := addr.As4()\n\treturn addrBytes[0] == 0x7f\n",
				"\treturn addr.Len() == IPv4AddressSize && addr.SluiceFirst() == 0x7f\n"},
			{"ipv6.go",
				"\tif addr.BitLen() != IPv6AddressSizeBits {\n\t\treturn false\n\t}\n\treturn addr.As16()[0] == 0xff\n",
				"\treturn addr.Len() == IPv6AddressSize && addr.SluiceFirst() == 0xff\n"},
			// A word is added without being written to memory.
			{"checksum.go", "\tvar tmp [2]byte\n\tbinary.BigEndian.PutUint16(tmp[:], totalLen)\n\txsum = checksum.Checksum(tmp[:], xsum)\n", "\txsum = checksum.Combine(xsum, totalLen)\n"},
			{"checksum.go", "\treturn checksum.Checksum([]byte{0, uint8(protocol)}, xsum)\n", "\treturn checksum.Combine(xsum, uint16(uint8(protocol)))\n"},
			{"checksum.go", "\t\"encoding/binary\"\n", ""},
		},
	},
	// Counters of an endpoint are a struct that is copied, more than a kilobyte, unless it
	// is pointed at.
	gvisor + "tcpip/network/ipv4": {
		edits: []edit{
			{"ipv4.go", "\tstats := e.stats.ip\n\n\tstats.PacketsReceived", "\tstats := &e.stats.ip\n\n\tstats.PacketsReceived"},
			{"ipv4.go", "\tstats := e.stats.ip\n\n\tnetworkMTU,", "\tstats := &e.stats.ip\n\n\tnetworkMTU,"},
			{"ipv4.go", "\tstats := e.stats\n\tstats.ip.Valid", "\tstats := &e.stats\n\tstats.ip.Valid"},
			{"ipv4.go", "\tstats := e.stats\n\tstk := ", "\tstats := &e.stats\n\tstk := "},
			// The address keeps its subnet.
			{"ipv4.go", "addressEndpoint.AddressWithPrefix().Subnet()", "addressEndpoint.Subnet()"},
			// The header is looked at where it is. A second owner of the memory would have it
			// copied, with the payload, as soon as another header is looked at. No packet filter
			// changes it.
			{"ipv4.go", "\t\"gvisor.dev/gvisor/pkg/buffer\"\n", ""},
			{"ipv4.go", "parseAndValidate(pkt *stack.PacketBuffer) (*buffer.View, bool) {", "parseAndValidate(pkt *stack.PacketBuffer) (header.IPv4, bool) {"},
			{"ipv4.go", "\treturn pkt.NetworkHeader().View(), true\n", "\treturn header.IPv4(pkt.NetworkHeader().Slice()), true\n"},
			{"ipv4.go",
				"\thView, ok := " + parsed + "\th := header.IPv4(hView.AsSlice())\n\tdefer hView.Release()\n\n\tif !e.nic",
				"\th, ok := " + parsed + "\n\tif !e.nic"},
			{"ipv4.go",
				"\thView, ok := " + parsed + "\th := header.IPv4(hView.AsSlice())\n\tdefer hView.Release()\n\n\te.handleValidated",
				"\th, ok := " + parsed + "\n\te.handleValidated"},
			{"ipv4.go",
				"\t// CheckPrerouting can modify the backing storage of the packet, so refresh\n\t// the header.\n\th = header.IPv4(pkt.NetworkHeader().Slice())\n",
				""},
			{"ipv4.go", "if !h.IsValid(pkt.Size() - len(pkt.LinkHeader().Slice())) {", "if !h.IsValid(pkt.Size() - pkt.LinkHeader().SluiceLength()) {"},
			{"ipv4.go", "uint32(len(pkt.NetworkHeader().Slice())))", "uint32(pkt.NetworkHeader().SluiceLength()))"},
			{"ipv4.go", "\tpayload := len(pkt.TransportHeader().Slice()) + pkt", "\tpayload := pkt.TransportHeader().SluiceLength() + pkt"},
			// The broadcast address of a subnet ends with ones, at least two (RFC 3021): that of
			// most senders needs no comparison with those of the interface's subnets.
			{"ipv4.go",
				"\tif addressEndpoint := e.AcquireAssignedAddress(srcAddr, false",
				"\tif a := srcAddr.As4(); a[3]&3 != 3 {\n\t\t// It is none.\n\t} else if addressEndpoint := e.AcquireAssignedAddress(srcAddr, false"},
			{"ipv4.go",
				"\tloopback := e.nic.IsLoopback()\n\treturn e.addr",
				"\treturn e.addr"},
			{"ipv4.go", "(loopback && subnet.Contains(localAddr))", "(e.nic.IsLoopback() && subnet.Contains(localAddr))"},
		},
	},
	gvisor + "tcpip/network/ipv6": {
		edits: []edit{
			{"ipv6.go", "\tstats := e.stats.ip\n\n\tstats.PacketsReceived", "\tstats := &e.stats.ip\n\n\tstats.PacketsReceived"},
			{"ipv6.go", "\tstats := e.stats.ip\n\tstats.PacketsReceived", "\tstats := &e.stats.ip\n\tstats.PacketsReceived"},
			{"ipv6.go", "func checkV4Mapped(h header.IPv6, stats ip.MultiCounterIPStats)", "func checkV4Mapped(h header.IPv6, stats *ip.MultiCounterIPStats)"},
			{"ipv6.go", "\tstats := e.stats.ip\n\tnetworkMTU,", "\tstats := &e.stats.ip\n\tnetworkMTU,"},
			{"ipv6.go", "\tstats := e.stats.ip\n\tstats.Valid", "\tstats := &e.stats.ip\n\tstats.Valid"},
			{"ipv6.go", "\tstats := e.stats.ip\n\tstk := e.protocol.stack\n\tif ok := stk.IPTables().CheckInput", "\tstats := &e.stats.ip\n\tstk := e.protocol.stack\n\tif ok := stk.IPTables().CheckInput"},
		},
	},
	// What has arrived is acknowledged when the link asks for it, and not at all
	// when the program's answer has done that by then (RFC 5681, section 4.2).
	gvisor + "tcpip/transport/tcp": {
		ours: []string{"goroot/tcp/sluice.go.in"},
		edits: []edit{
			{"connect.go",
				"\tif e.rcv.RcvNxt != e.snd.MaxSentAck {\n\t\te.snd.sendAck()\n\t}\n\n\te.resetKeepaliveTimer",
				"\tif e.rcv.RcvNxt != e.snd.MaxSentAck && (sluiceDelayAck == nil || !sluiceDelayAck(e)) {\n\t\te.snd.sendAck()\n\t}\n\n\te.resetKeepaliveTimer"},
			// A connection's first sequence number and time stamp are made by a hash with
			// a key: one for short inputs takes a tenth of the time.
			{"connect.go", "\t\"crypto/sha256\"\n", ""},
			{"connect.go", "\t\"encoding/binary\"\n", ""},
			{"connect.go",
				"\tisnHasher := sha256.New()\n\n\t// Per hash.Hash.Writer:\n\t//\n\t// It never returns an error.\n" +
					"\t_, _ = isnHasher.Write(seed[:])\n\t_, _ = isnHasher.Write(id.LocalAddress.AsSlice())\n" +
					"\t_, _ = isnHasher.Write(id.RemoteAddress.AsSlice())\n\tportBuf := make([]byte, 2)\n" +
					"\tbinary.LittleEndian.PutUint16(portBuf, id.LocalPort)\n\t_, _ = isnHasher.Write(portBuf)\n" +
					"\tbinary.LittleEndian.PutUint16(portBuf, id.RemotePort)\n\t_, _ = isnHasher.Write(portBuf)\n",
				""},
			{"connect.go",
				"binary.LittleEndian.Uint32(isnHasher.Sum(nil)[:4])",
				"sluiceHash(&seed, id.LocalAddress, id.RemoteAddress, uint32(id.LocalPort)<<16|uint32(id.RemotePort))"},
			{"protocol.go", "\t\"crypto/sha256\"\n", ""},
			{"protocol.go", "\t\"encoding/binary\"\n", ""},
			{"protocol.go",
				"\th := sha256.New()\n\n\t// Per hash.Hash.Writer:\n\t//\n\t// It never returns an error.\n" +
					"\t_, _ = h.Write(p.tsOffsetSecret[:])\n\t_, _ = h.Write(src.AsSlice())\n\t_, _ = h.Write(dst.AsSlice())\n",
				""},
			{"protocol.go",
				"tcp.NewTSOffset(binary.LittleEndian.Uint32(h.Sum(nil)[:4]))",
				"tcp.NewTSOffset(sluiceHash(&p.tsOffsetSecret, src, dst, 0))"},
			// Connections that wait for late segments are bounded.
			{"dispatcher.go",
				"\ttimeWaitDuration := ep.getTimeWaitDuration()\n",
				"\ttimeWaitDuration := sluiceTimeWait(ep.getTimeWaitDuration())\n"},
			{"endpoint.go",
				"\t\te.timeWaitTimer.Stop()\n",
				"\t\te.timeWaitTimer.Stop()\n\t\te.timeWaitTimer = nil\n\t\tsluiceTimeWaits.Add(-1)\n"},
			// So are segments without data that wait for the goroutine that handles them:
			// no buffer counts them.
			{"segment_queue.go",
				"\tallow := (used <= int(bufSz) || s.payloadSize() == 0) && !q.frozen\n",
				"\tallow := !q.frozen && (s.payloadSize() > 0 && used <= int(bufSz) || s.payloadSize() == 0 && sluiceMayWait())\n"},
			{"segment_queue.go",
				"\tif s != nil {\n\t\tq.list.Remove(s)\n\t}\n",
				"\tif s != nil {\n\t\tq.list.Remove(s)\n\t\tif s.payloadSize() == 0 {\n\t\t\tsluiceWaiting.Add(-1)\n\t\t}\n\t}\n"},
			// Options of the protocol, asked for without an interface and a map, need no memory.
			{"endpoint.go", ":= s.TransportProtocolOption(ProtocolNumber, &ss)", ":= protocol.Option(&ss)"},
			{"endpoint.go", ":= s.TransportProtocolOption(ProtocolNumber, &rs)", ":= protocol.Option(&rs)"},
			{"endpoint.go", ":= s.TransportProtocolOption(ProtocolNumber, &cs)", ":= protocol.Option(&cs)"},
			{"endpoint.go", ":= s.TransportProtocolOption(ProtocolNumber, &mrb)", ":= protocol.Option(&mrb)"},
			{"endpoint.go", ":= s.TransportProtocolOption(ProtocolNumber, &de)", ":= protocol.Option(&de)"},
			{"endpoint.go", ":= s.TransportProtocolOption(ProtocolNumber, &tcpLT)", ":= protocol.Option(&tcpLT)"},
			{"endpoint.go", ":= s.TransportProtocolOption(ProtocolNumber, &synRetries)", ":= protocol.Option(&synRetries)"},
			{"endpoint.go", "e.stack.TransportProtocolOption(ProtocolNumber, &rs); err != nil", "e.protocol.Option(&rs); err != nil"},
			{"endpoint.go", "e.stack.TransportProtocolOption(ProtocolNumber, &v)", "e.protocol.Option(&v)"},
			{"endpoint.go", "e.stack.TransportProtocolOption(ProtocolNumber, &e.tcpRecovery)", "e.protocol.Option(&e.tcpRecovery)"},
			{"snd.go", "ep.snd.ep.stack.TransportProtocolOption(ProtocolNumber, &minRTO)", "ep.protocol.Option(&minRTO)"},
			{"snd.go", "ep.snd.ep.stack.TransportProtocolOption(ProtocolNumber, &maxRTO)", "ep.protocol.Option(&maxRTO)"},
			{"snd.go", "ep.snd.ep.stack.TransportProtocolOption(ProtocolNumber, &maxRetries)", "ep.protocol.Option(&maxRetries)"},
			{"connect.go", "h.ep.stack.TransportProtocolOption(ProtocolNumber, &sackEnabled)", "h.ep.protocol.Option(&sackEnabled)"},
			{"connect.go", "e.stack.TransportProtocolOption(ProtocolNumber, &tcpTW)", "e.protocol.Option(&tcpTW)"},
			{"accept.go", "e.stack.TransportProtocolOption(header.TCPProtocolNumber, &alwaysUseSynCookies)", "e.protocol.Option(&alwaysUseSynCookies)"},
			// Who has delivered a packet leaves it alone: TCP takes it as it is.
			{"segment.go", "\ts.pkt = pkt.Clone()\n", "\ts.pkt = pkt.IncRef()\n"},
			// One goroutine for all connections needs no hash to be found.
			{"dispatcher.go",
				"\treturn &d.processors[d.hasher.hash(id)%uint32(len(d.processors))]\n",
				"\tif len(d.processors) == 1 {\n\t\treturn &d.processors[0]\n\t}\n" +
					"\treturn &d.processors[d.hasher.hash(id)%uint32(len(d.processors))]\n"},
			// A segment's addresses are known without memory for the interface that has them.
			{"accept.go", "s.pkt.Network().DestinationAddress(), s.pkt.Network().SourceAddress(), s.pkt.Net", "s.id.LocalAddress, s.id.RemoteAddress, s.pkt.Net"},
			// A first sequence number is made once: that of a connection that comes in is known.
			{"connect.go", "\th.resetState()\n\t// Store reference", "\t// Store reference"},
			{"endpoint.go", "\th := e.newHandshake()\n\te.setEndpointState(StateSynSent)\n", "\th := e.newHandshake()\n\th.resetState()\n\te.setEndpointState(StateSynSent)\n"},
			// Most timers of a connection never run: what they call is made when one starts.
			{"timer.go",
				"\tcallback func()\n}\n",
				"\tcallback func()\n\n\t// Without it, expired is called with the endpoint.\n\tendpoint *Endpoint\n\texpired  func(*Endpoint) tcpip.Error\n}\n"},
			{"timer.go", "t.clock.AfterFunc(d, t.callback)", "t.clock.AfterFunc(d, t.sluiceCallback())"},
			{"endpoint.go",
				"e.keepalive.timer.init(e.stack.Clock(), timerHandler(e, e.keepaliveTimerExpired))",
				"e.keepalive.timer.sluiceInit(e, (*Endpoint).keepaliveTimerExpired)"},
			{"snd.go",
				"ep.snd.resendTimer.init(ep.snd.ep.stack.Clock(), timerHandler(ep.snd.ep, ep.snd.retransmitTimerExpired))",
				"ep.snd.resendTimer.sluiceInit(ep, func(e *Endpoint) tcpip.Error { return e.snd.retransmitTimerExpired() })"},
			{"snd.go",
				"ep.snd.reorderTimer.init(ep.snd.ep.stack.Clock(), timerHandler(ep.snd.ep, ep.snd.rc.reorderTimerExpired))",
				"ep.snd.reorderTimer.sluiceInit(ep, func(e *Endpoint) tcpip.Error { return e.snd.rc.reorderTimerExpired() })"},
			{"snd.go",
				"ep.snd.probeTimer.init(ep.snd.ep.stack.Clock(), timerHandler(ep.snd.ep, ep.snd.probeTimerExpired))",
				"ep.snd.probeTimer.sluiceInit(ep, func(e *Endpoint) tcpip.Error { return e.snd.probeTimerExpired() })"},
			{"snd.go",
				"ep.snd.corkTimer.init(ep.snd.ep.stack.Clock(), timerHandler(ep.snd.ep, ep.snd.corkTimerExpired))",
				"ep.snd.corkTimer.sluiceInit(ep, func(e *Endpoint) tcpip.Error { return e.snd.corkTimerExpired() })"},
			// A segment knows whether it is in a list of what is to be sent, without a map.
			{"segment.go", "\tpkt *stack.PacketBuffer\n\n\tsequenceNumber", "\tpkt *stack.PacketBuffer\n\n\tsluiceListed bool\n\n\tsequenceNumber"},
			{"snd.go", "\t\twriteList: protectedWriteList{\n\t\t\tset: make(map[*segment]struct{}),\n\t\t},\n", ""},
			{"snd.go", "\tif _, ok := wl.set[seg]; !ok {\n", "\tif !seg.sluiceListed {\n"},
			{"snd.go", "\tdelete(wl.set, seg)\n", "\tseg.sluiceListed = false\n"},
			{"snd.go",
				"\tif _, ok := wl.set[seg]; ok {\n\t\tpanic(\"segment already in write list\")\n\t}\n\twl.writeList.PushBack(seg)\n\twl.set[seg] = struct{}{}\n",
				"\tif seg.sluiceListed {\n\t\tpanic(\"segment already in write list\")\n\t}\n\twl.writeList.PushBack(seg)\n\tseg.sluiceListed = true\n"},
			{"snd.go",
				"\tif _, ok := wl.set[seg]; ok {\n\t\tpanic(\"segment already in write list\")\n\t}\n\twl.writeList.InsertAfter(before, seg)\n\twl.set[seg] = struct{}{}\n",
				"\tif seg.sluiceListed {\n\t\tpanic(\"segment already in write list\")\n\t}\n\twl.writeList.InsertAfter(before, seg)\n\tseg.sluiceListed = true\n"},
			{"snd.go", "if _, ok := s.writeList.set[seg]; !ok {", "if !seg.sluiceListed {"},
			// Few connections need their tree, which is made then. Its nodes are kept for all of
			// them.
			{"sack_scoreboard.go",
				"\t\tranges:    btree.NewG[header.SACKBlock](defaultBtreeDegree, sackBlockLess),\n",
				""},
			{"sack_scoreboard.go",
				"\ts.ranges = btree.NewG[header.SACKBlock](defaultBtreeDegree, sackBlockLess)\n",
				"\ts.ranges = nil\n"},
			{"sack_scoreboard.go",
				"\tif s.ranges.Len() >= maxSACKBlocks {\n",
				"\tif s.ranges == nil {\n\t\ts.ranges = btree.NewWithFreeListG(defaultBtreeDegree, sackBlockLess, sluiceSACKNodes)\n\t}\n" +
					"\tif s.ranges.Len() >= maxSACKBlocks {\n"},
			{"sack_scoreboard.go", "\treturn s.ranges.Len() == 0\n", "\treturn s.ranges == nil || s.ranges.Len() == 0\n"},
			{"sack_scoreboard.go",
				"\tvar str strings.Builder\n",
				"\tif s.Empty() {\n\t\treturn \"SACKScoreboard: {}\\n\"\n\t}\n\tvar str strings.Builder\n"},
			{"sack_scoreboard.go",
				"\ts.ranges.Ascend(func(sb header.SACKBlock) bool {\n\t\tsackBlocks = ",
				"\tif s.Empty() {\n\t\treturn nil, s.maxSACKED\n\t}\n\ts.ranges.Ascend(func(sb header.SACKBlock) bool {\n\t\tsackBlocks = "},
			{"sack_scoreboard.go",
				"// sackBlockLess is",
				"var sluiceSACKNodes = btree.NewFreeListG[header.SACKBlock](btree.DefaultFreeListSize)\n\n// sackBlockLess is"},
			// A window is told in units of 1<<RcvWndScale, rounded down, which
			// moves its right edge back by less than one. What the peer has sent
			// up to the edge it was told before stays acceptable (RFC 7323, section
			// 2.4): else two endpoints that are both full refuse each other's
			// acknowledgements for ever.
			{"rcv.go",
				"\treturn header.Acceptable(segSeq, segLen, r.RcvNxt, r.RcvNxt.Add(advertisedWindowSize))\n",
				"\tedge := r.RcvNxt.Add(advertisedWindowSize)\n" +
					"\tif edge.LessThan(r.RcvAcc) && edge.Size(r.RcvAcc) < 1<<r.RcvWndScale {\n\t\tedge = r.RcvAcc\n\t}\n" +
					"\treturn header.Acceptable(segSeq, segLen, r.RcvNxt, edge)\n"},
			// A probe goes out when nothing was acknowledged for two round trips (RFC
			// 8985, section 7.2). On a near network these are less than a
			// millisecond, and less than either side may be late because something
			// else is running. Linux adds two ticks.
			{"rack.go",
				"\t\tpto = s.rtt.TCPRTTState.SRTT * 2\n",
				"\t\tpto = s.rtt.TCPRTTState.SRTT*2 + 10*time.Millisecond\n"},
			noTrains,
			lostIsNotInFlight,
		},
	},
	// Tests of encoding/json and regexp import net, which must not need them.
	gvisor + "log": {
		omit: []string{"json.go", "json_k8s.go"},
		edits: []edit{
			{"log.go", "\t\"regexp\"\n", ""},
			{"log.go",
				"var stackRegexp = regexp.MustCompile(`(?m)^\\S+\\(.*\\)$\\r?\\n^\\t\\S+:\\d+.*$\\r?\\n`)\n",
				"var stackRegexp sluiceStack\n\n// sluiceStack leaves a stack as it is.\ntype sluiceStack struct{}\n\nfunc (sluiceStack) ReplaceAllFunc(b []byte, _ func([]byte) []byte) []byte { return b }\n"},
		},
	},
	gvisor + "sync": {
		omit: []string{"runtime_amd64.go"},
		add:  []string{"runtime_other.go"},
		// amd64 needs no instruction; a call that is not inlined keeps the
		// compiler from moving loads across it.
		edits: []edit{{"fence.go", "func MemoryFenceReads()\n", "//\n//go:noinline\nfunc MemoryFenceReads() {}\n"}},
	},
	// The rest is package golang.org/x/sys/unix, for which there is no use.
	gvisor + "rand": {
		omit: []string{"rand_linux.go", "rand_linux_state_autogen.go"},
		add:  []string{"rand.go"},
	},
	// Package net imports this one.
	gvisor + "tcpip": {
		omit: []string{"errors_linux.go"},
		edits: []edit{
			{"tcpip.go", "\t\"net\"\n", ""},
			{"tcpip.go", "make(net.HardwareAddr, LinkAddressSize)", "make([]byte, LinkAddressSize)"},
			// Only who saves a stack, or ends it, asks for endpoints that their program has closed.
			{"tcpip.go", "\tdanglingEndpointsMu.Lock()\n\tdanglingEndpoints[e] = struct{}{}\n\tdanglingEndpointsMu.Unlock()\n", ""},
			{"tcpip.go", "\tdanglingEndpointsMu.Lock()\n\tdelete(danglingEndpoints, e)\n\tdanglingEndpointsMu.Unlock()\n", ""},
			{"tcpip.go",
				"// WithPrefix returns the address",
				"// SluiceFirst is the first byte of an address.\nfunc (a Address) SluiceFirst() byte { return a.addr[0] }\n\n// WithPrefix returns the address"},
			// An address is asked several times for each packet, and is nearly always
			// another one.
			{"tcpip.go",
				"\treturn s.Prefix() <= 30 && s.Broadcast() == address\n",
				"\tfor i := range ipv4AddressSize {\n\t\tif address.addr[i]|s.mask.mask[i] != 0xff || (address.addr[i]^s.address.addr[i])&s.mask.mask[i] != 0 {\n" +
					"\t\t\treturn false\n\t\t}\n\t}\n\treturn s.Prefix() <= 30 && s.Broadcast() == address\n"},
			// The same sums without the calendar.
			{"tcpip.go",
				"\t\tnanoseconds: time.Unix(0, mt.nanoseconds).Add(d).Sub(time.Unix(0, 0)).Nanoseconds(),\n",
				"\t\tnanoseconds: sluiceDifference(mt.nanoseconds, -max(int64(d), -math.MaxInt64)),\n"},
			{"tcpip.go",
				"\treturn time.Unix(0, mt.nanoseconds).Sub(time.Unix(0, u.nanoseconds))\n}\n",
				"\treturn time.Duration(sluiceDifference(mt.nanoseconds, u.nanoseconds))\n}\n\n" +
					"// sluiceDifference returns a-b, or the nearest number that there is.\n" +
					"func sluiceDifference(a, b int64) int64 {\n" +
					"\tswitch d := a - b; {\n\tcase d < a == (b > 0):\n\t\treturn d\n" +
					"\tcase b > 0:\n\t\treturn math.MinInt64\n\t}\n\treturn math.MaxInt64\n}\n"},
		},
	},
}

package host

// The counters of the link: what passed, and every reason for which a frame
// was dropped before gVisor saw it or after gVisor sent it.

import "sync/atomic"

type counter uint8

const (
	rxFrames counter = iota
	rxBytes
	rxMerged
	rxChecksumSoftware
	rxBadChecksum
	rxDropLength
	rxDropShort
	rxDropLong
	rxDropSource
	rxDropOtherHost
	rxDropToAll
	rxDropLLC
	rxDropEthertype
	rxDropARPLength
	rxDropIPVersion
	rxDropIPLength
	rxDropIPSum
	rxDropSmallMSS
	rxDropSmallMTU
	rxDropExtension
	rxDropFragmentKind
	rxDropFragmentsFull
	rxDropUnresolved
	rxDropBurst
	rxOSI
	dhcpReceived
	dhcpDropQueue
	dhcpDropMalformed
	txFrames
	txBytes
	txNotifies
	txSegmentedSoftware
	txFragmented
	txChecksumSoftware
	txQueued
	txUntimed
	txDropQueueFull
	txDropDelay
	txDropExpired
	txDropLinkDown
	txDropMalformed
	txDropNoBuffer
	txDropUnresolved
	txDropNoRoute
	txDropOSI
	udpEchoFast
	udpEchoSlow
	udpEchoDropPort
	udpEchoDropError
	connRefusedLimit
	linkChanges
	nameLookups
	nameFailures
	counterCount
)

var counterNames = [counterCount]string{
	rxFrames:            "host_rx_frames",
	rxBytes:             "host_rx_bytes",
	rxMerged:            "host_rx_merged",
	rxChecksumSoftware:  "host_rx_checksum_software",
	rxBadChecksum:       "host_rx_bad_checksum",
	rxDropLength:        "host_rx_drop_length",
	rxDropShort:         "host_rx_drop_short",
	rxDropLong:          "host_rx_drop_long",
	rxDropSource:        "host_rx_drop_source",
	rxDropOtherHost:     "host_rx_drop_other_host",
	rxDropToAll:         "host_rx_drop_to_all",
	rxDropLLC:           "host_rx_drop_llc",
	rxDropEthertype:     "host_rx_drop_ethertype",
	rxDropARPLength:     "host_rx_drop_arp_length",
	rxDropIPVersion:     "host_rx_drop_ip_version",
	rxDropIPLength:      "host_rx_drop_ip_length",
	rxDropIPSum:         "host_rx_drop_ip_checksum",
	rxDropSmallMSS:      "host_rx_drop_small_mss",
	rxDropSmallMTU:      "host_rx_drop_small_mtu",
	rxDropExtension:     "host_rx_drop_extension",
	rxDropFragmentKind:  "host_rx_drop_fragment_kind",
	rxDropFragmentsFull: "host_rx_drop_fragments_full",
	rxDropUnresolved:    "host_rx_drop_unresolved",
	rxDropBurst:         "host_rx_drop_burst",
	rxOSI:               "host_rx_osi",
	dhcpReceived:        "host_dhcp_received",
	dhcpDropQueue:       "host_dhcp_drop_queue",
	dhcpDropMalformed:   "host_dhcp_drop_malformed",
	txFrames:            "host_tx_frames",
	txBytes:             "host_tx_bytes",
	txNotifies:          "host_tx_notifies",
	txSegmentedSoftware: "host_tx_segmented_software",
	txFragmented:        "host_tx_fragmented",
	txChecksumSoftware:  "host_tx_checksum_software",
	txQueued:            "host_tx_queued",
	txUntimed:           "host_tx_untimed",
	txDropQueueFull:     "host_tx_drop_queue_full",
	txDropDelay:         "host_tx_drop_delay",
	txDropExpired:       "host_tx_drop_expired",
	txDropLinkDown:      "host_tx_drop_link_down",
	txDropMalformed:     "host_tx_drop_malformed",
	txDropNoBuffer:      "host_tx_drop_no_buffer",
	txDropUnresolved:    "host_tx_drop_unresolved",
	txDropNoRoute:       "host_tx_drop_no_route",
	txDropOSI:           "host_tx_drop_osi_long",
	udpEchoFast:         "host_udp_echo_fast",
	udpEchoSlow:         "host_udp_echo_slow",
	udpEchoDropPort:     "host_udp_echo_drop_port",
	udpEchoDropError:    "host_udp_echo_drop_error",
	connRefusedLimit:    "host_connections_refused",
	linkChanges:         "host_link_changes",
	nameLookups:         "host_name_lookups",
	nameFailures:        "host_name_failures",
}

// counters is safe for concurrent use.
type counters [counterCount]atomic.Uint64

func (c *counters) inc(i counter)           { c[i].Add(1) }
func (c *counters) add(i counter, n uint64) { c[i].Add(n) }
func (c *counters) get(i counter) uint64    { return c[i].Load() }

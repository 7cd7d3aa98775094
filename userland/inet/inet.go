// Package inet gives a program in a domain its network: gVisor's stack on a
// channel of the kernel's nexus. The builder puts it into the standard library as
// internal/sluice/inet, where package net imports it.
package inet

import "sync"

// network is the domain's, from its first socket on.
var network = sync.OnceValue(newNode)

// resolvers writes the file that names the machine's name servers.
func resolvers(text []byte) {}

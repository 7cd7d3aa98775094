// Command microvm is the kernel for QEMU's microvm board.
package main

import "github.com/sluice-os/sluice/kernel"

func main() { kernel.Main() }

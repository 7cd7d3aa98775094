// Package build says which build of the kernel this is.
package build

import "strings"

// Version is the project's version.
const Version = "0.1.0"

// stamp holds the place of the build id: image/elf writes it after linking.
var stamp = "sluice-build-id:0000000000000000"

// ID returns the build id: 16 hexadecimal digits, the same for equal images.
func ID() string {
	_, id, _ := strings.Cut(stamp, ":")
	return id
}

//go:build !isis

package kernel

// newRouting returns nothing: this image was built without routing protocols.
func (m *machine) newRouting() routing { return nil }

//go:build race

package isis

func init() { racing = true }

package host

import "sort"

// order sorts a list. It is for lists that are short and rarely sorted: slices.SortFunc
// is faster, and takes 16 KiB of the image for each type.
func order[T any](list []T, compare func(a, b T) int) {
	sort.Slice(list, func(i, j int) bool { return compare(list[i], list[j]) < 0 })
}

package qemu

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestReadmesShowTheLines: the QEMU lines that people are told to type are the
// ones that the builder and the tests use.
func TestReadmesShowTheLines(t *testing.T) {
	for _, c := range []struct {
		file, machine, append, card string
		iommu                       bool
	}{
		{"../../README.md", "microvm", "log=info", "", false},
		{"../../README.md", "q35", "log=info", "", false},
		{"../../boards/microvm/README.md", "microvm", "", "", false},
		{"../../boards/pc/README.md", "q35", "", "", false},
		{"../../boards/pc/README.md", "q35", "", "", true},
		{"../../boards/pc/README.md", "q35", "", "e1000e", false},
		{"../../boards/firecracker/README.md", "firecracker", "", "", false},
		{"../../boards/cloudhypervisor/README.md", "cloudhypervisor", "", "", false},
		{"../../boards/virt-arm64/README.md", "virt", "", "", false},
	} {
		want, err := Config{
			Machine: c.machine, Memory: MemoryMin, Append: c.append, Card: c.card, IOMMU: c.iommu,
			Image:  "build/sluice-" + Machines[c.machine] + ".elf",
			Netdev: "user,hostfwd=tcp:127.0.0.1:8080-:80",
		}.Args()
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		got := lines(string(text))
		if !slices.ContainsFunc(got, func(words []string) bool { return slices.Equal(words, want) }) {
			t.Errorf("%s has no line for %s with exactly these words:\n%s\nit has:\n%q", c.file, c.machine, strings.Join(want, " "), got)
		}
	}
}

// lines returns the arguments of each QEMU command in a text.
func lines(text string) (found [][]string) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		if words := strings.Fields(strings.ReplaceAll(line, `"`, "")); len(words) > 1 && strings.HasPrefix(words[0], "qemu-system-") {
			found = append(found, words[1:])
		}
	}
	return found
}

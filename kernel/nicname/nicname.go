// Package nicname gives network cards their names: those that the command line gives to
// places, and eth0, eth1 and so on to the others, in the order of their places. A place
// stays what it is from boot to boot, whatever order cards are found in.
package nicname

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/sluice-os/sluice/kernel/options"
)

// Card is a card with its name.
type Card struct {
	Name string
	At   int // in the places that Assign was given
}

// Assign names the cards at places, which are as drivers say them ("pci 00:03.0",
// "mmio@feb02e00"). They come back in the order of their places. A name that the command
// line gives to a place without a card is nobody's. Each problem is one line: a named card
// that is not there.
func Assign(places []string, nics []options.NIC) (cards []Card, problems []string) {
	for i := range places {
		cards = append(cards, Card{At: i})
	}
	sort.Slice(cards, func(i, j int) bool { return places[cards[i].At] < places[cards[j].At] })
	taken := map[string]bool{}
	for _, n := range nics {
		if n.Path == "" {
			continue
		}
		taken[n.Name] = true
		i := slices.IndexFunc(cards, func(c Card) bool { return path(places[c.At]) == n.Path })
		if i < 0 {
			problems = append(problems, fmt.Sprintf("no network card at %s, which is to be %s: the cards are at %s", n.Path, n.Name, paths(cards, places)))
			continue
		}
		cards[i].Name = n.Name
	}
	next := 0
	for i := range cards {
		if cards[i].Name != "" {
			continue
		}
		for ; cards[i].Name == ""; next++ {
			if name := fmt.Sprintf("eth%d", next); !taken[name] {
				cards[i].Name = name
			}
		}
	}
	for _, n := range nics {
		if n.Path == "" && !slices.ContainsFunc(cards, func(c Card) bool { return c.Name == n.Name }) {
			problems = append(problems, fmt.Sprintf("no network card is named %s: the cards are %s", n.Name, names(cards)))
		}
	}
	return cards, problems
}

// path is a place as the command line says it.
func path(place string) string {
	if i := strings.LastIndexAny(place, " @"); i >= 0 {
		return place[i+1:]
	}
	return place
}

func paths(cards []Card, places []string) string {
	var list []string
	for _, c := range cards {
		list = append(list, path(places[c.At]))
	}
	return orNone(list)
}

func names(cards []Card) string {
	var list []string
	for _, c := range cards {
		list = append(list, c.Name)
	}
	return orNone(list)
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

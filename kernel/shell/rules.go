package shell

import (
	"context"
	"fmt"

	"github.com/sluice-os/sluice/nexus/steer"
	"github.com/sluice-os/sluice/nexus/view"
)

// rules shows the rules of the cards, in the order in which they are looked at, or adds or
// deletes one.
func (s *Shell) rules(_ context.Context, args []string) error {
	switch {
	case s.sys.Rules == nil:
		return errAbsent
	case len(args) == 0 || len(args) == 1 && args[0] == "-j":
		return s.listRules(len(args) == 1)
	case args[0] != "add" && args[0] != "del":
		return errUsage
	}
	deletes, card := args[0] == "del", ""
	if args = args[1:]; len(args) >= 2 && args[0] == "dev" {
		card, args = args[1], args[2:]
	}
	r, err := steer.Parse(args, deletes)
	if err != nil {
		return err
	}
	return s.sys.Rules(card, func(_ string, rules *steer.Rules) error {
		if deletes {
			return rules.Delete(r)
		}
		return rules.Add(r)
	})
}

func (s *Shell) listRules(asJSON bool) error {
	t := view.New("DEV", "RULE")
	if err := s.sys.Rules("", func(card string, rules *steer.Rules) error {
		for _, r := range rules.List() {
			t.Add(card, r.String())
		}
		return nil
	}); err != nil {
		return err
	}
	if asJSON {
		fmt.Fprintf(s.out, "%s\n", t.AppendJSON(nil))
	} else {
		t.WriteText(s.out)
	}
	return nil
}

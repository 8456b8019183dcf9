package admin_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// keptShares are those of a node of one test: what is wrong of whom.
type keptShares struct {
	wrong map[string]int // keys by owner
	away  string         // the owner whose mail can't be opened
}

func (k *keptShares) SharedBy(_ context.Context, owner string) ([]admin.SharedBox, error) {
	return []admin.SharedBox{{Owner: owner, Mailbox: "Work", Entries: []mailbox.Entry{{Identifier: "user=bob", Rights: imap.RightLookup}}}}, nil
}

func (k *keptShares) SharedWith(_ context.Context, whom string) ([]admin.SharedBox, error) {
	return []admin.SharedBox{{Owner: "for " + whom}}, nil
}

func (k *keptShares) Verify(_ context.Context, only string, repair bool, tell func(admin.ShareDrift)) error {
	for owner, keys := range k.wrong {
		if only != "" && only != owner {
			continue
		}
		d := admin.ShareDrift{Owner: owner, Keys: keys, Repaired: repair && keys > 0}
		if owner == k.away {
			d = admin.ShareDrift{Owner: owner, Error: "locked"}
		}
		if tell(d); repair {
			k.wrong[owner] = 0
		}
	}
	return nil
}

// progressOfVerify is what who verifies all hears meanwhile.
func progressOfVerify(t *testing.T, a *admin.Admin) string {
	t.Helper()
	op, _ := admin.Find("share verify")
	var told []string
	_, err := a.Call(t.Context(), admin.Caller{Name: "looks"}, op, admin.Args{"all-users": "true"}, func(p admin.Progress) { told = append(told, p.String()) })
	if err != nil {
		t.Error(err)
	}
	return strings.Join(told, ", ")
}

// TestSharesOfACluster: a director has a backend list, and all of them verify; what is wrong,
// and who did not answer, is in the result.
func TestSharesOfACluster(t *testing.T) {
	director, p, c := aclCluster(t)
	shares := map[string]*keptShares{"b1": {wrong: map[string]int{}}, "b2": {wrong: map[string]int{}}}
	owners := map[string]string{} // by backend
	for i := range 100 {
		user := fmt.Sprintf("u%d", i)
		place, err := c.Shared.Place(t.Context(), user, "")
		if err != nil {
			t.Fatal(err)
		}
		owners[place.Current] = user
	}
	for name, s := range shares {
		s.wrong[owners[name]] = 2
		p[name+":8443"].Shares = s
	}
	two := owners["b2"]

	for _, row := range []struct{ line, want string }{
		{"share list: from=ALICE", "Owner  Mailbox  ID        Rights  May\nalice  Work     user=bob  lookup\n"},
		{"share list: to=ALICE", "Owner      Mailbox  ID  Rights  May\nfor alice  -        -   -\n"},
		{"share list: to=group=Team", "Owner      Mailbox  ID  Rights  May\nfor $Team  -        -   -\n"},
		{"share list: to=anyone", "Owner       Mailbox  ID  Rights  May\nfor anyone  -        -   -\n"},
		{"share list: to=alice, from=bob", "exit 64: share list: say --from USER, or --to USER or GROUP"},
		{"share verify: user=" + two, two + ": 2 keys wrong\n1 owner looked at, 2 keys wrong\n"},
		{"share verify: repair=true, user=" + two, two + ": 2 keys wrong, mended\n1 owner looked at, 2 keys wrong\n"},
		{"share verify: user=" + two, "1 owner looked at, no key is wrong\n"},
		{"share verify: all-users=true", owners["b1"] + ": 2 keys wrong\n2 owners looked at, 2 keys wrong\n"},
	} {
		if got := callACL(t, director, row.line); got != row.want {
			t.Errorf("%s: %q, want %q", row.line, got, row.want)
		}
	}

	if got, want := progressOfVerify(t, director), "b1 is asked, b2 is asked"; got != want {
		t.Errorf("progress %q, want %q", got, want)
	}
	for i := range 100 {
		shares["b2"].wrong[fmt.Sprintf("more%d", i)] = 0
	}
	if got, want := progressOfVerify(t, director), "b1 is asked, b2 is asked, b2: 100 owners looked at, "; !strings.HasPrefix(got, want) {
		t.Errorf("progress %q, want %q", got, want)
	}

	shares["b1"].away = owners["b1"]
	delete(p, "b2:8443")
	op, _ := admin.Find("share verify")
	res, err := director.Call(t.Context(), admin.Caller{Name: "looks"}, op, admin.Args{"all-users": "true"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if missing := fmt.Sprint(res.(admin.Partial).Missing()); !strings.Contains(missing, "{b2 ") || !strings.Contains(missing, "{"+owners["b1"]+" locked}") {
		t.Error(missing)
	}
	if res.(admin.Verdict).Wrong() {
		t.Error("who can't be looked at is called wrong")
	}
	if got := callACL(t, director, "share list: from=alice"); strings.HasPrefix(got, "exit") {
		t.Errorf("the other backend was not asked: %s", got)
	}
	if _, err := director.Call(t.Context(), admin.Caller{Name: "looks"}, op, admin.Args{"all-users": "true", "repair": "true"}, nil); admin.ExitCode(err) != admin.ExitNoPerm {
		t.Errorf("who may only look mended: %v", err)
	}
	delete(p, "b1:8443")
	if got := callACL(t, director, "share list: from=alice"); !strings.HasPrefix(got, "exit 75: no backend answers") {
		t.Error(got)
	}
}

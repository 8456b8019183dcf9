package share

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/dict"
)

// shown are lines: owner, mailbox, entries, and rights if there are any.
func shown(list []Shared) string {
	var lines []string
	for _, s := range list {
		text := fmt.Sprintf("%s %s: %s", s.Owner, s.Mailbox, strings.ReplaceAll(acl.FormatShared(s.Entries), "\n", ";"))
		if s.Rights != 0 {
			text += " " + s.Rights.String()
		}
		lines = append(lines, text)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestWhatIsShared asks the index from the owner's side and from the reader's.
func TestWhatIsShared(t *testing.T) {
	ctx := t.Context()
	d := dict.NewMemory()
	p := NewPublisher(PublisherConfig{Dict: d, Log: quiet})
	defer p.Close()
	for _, box := range []struct{ owner, name, grants string }{
		{"alice", "Work", "user=bob lr, group=team lrs, user=alice lr, user=eve r"},
		{"alice", "Own", "owner lr"},
		{"carol", "a/b", "anyone l, group-override=team lr, group=teams l"},
	} {
		a := NewPublishing(p, box.owner, openHome(t, box.owner))
		if err := a.Create(ctx, box.name); err != nil {
			t.Fatal(err)
		}
		for grant := range strings.SplitSeq(box.grants, ", ") {
			id, rights, _ := strings.Cut(grant, " ")
			if err := a.UpdateEntries(ctx, box.name, allow(id, rights)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := d.Commit(ctx, []dict.Change{
		dict.Set("shared/shared-boxes/user/bob/dovecot", "1"),
		dict.Set("shared/shared-boxes/group/team/dovecot", "1"),
		dict.Set("shared/shared-boxes/anyone/dovecot", "1"),
	}); err != nil {
		t.Fatal(err)
	}
	x := NewIndex(d, quiet)
	for _, row := range []struct {
		name string
		ask  func() ([]Shared, error)
		want string
	}{
		{"from an owner", func() ([]Shared, error) { return x.From(ctx, "alice") }, "alice Work: group=team lrs;user=bob lr;user=eve r;"},
		{"from another server's", func() ([]Shared, error) { return x.From(ctx, "dovecot") }, "dovecot : anyone l;group=team l;user=bob l;"},
		{"from nobody", func() ([]Shared, error) { return x.From(ctx, "bob") }, ""},
		{"to a user", func() ([]Shared, error) { return x.To(ctx, "bob", nil) }, "alice Work: user=bob lr; lr\ncarol a/b: anyone l; l\ndovecot :"},
		{
			"to a user in a group", func() ([]Shared, error) { return x.To(ctx, "bob", []string{"team"}) },
			"alice Work: group=team lrs;user=bob lr; lr\ncarol a/b: anyone l;group-override=team lr; lr\ndovecot :",
		},
		{"to an owner", func() ([]Shared, error) { return x.To(ctx, "carol", nil) }, "dovecot :"},
		{"to a group", func() ([]Shared, error) { return x.ToGroup(ctx, "team") }, "alice Work: group=team lrs;\ncarol a/b: group-override=team lr;\ndovecot :"},
		{"to no group", func() ([]Shared, error) { return x.ToGroup(ctx, "nobodys") }, ""},
		{"to anyone", func() ([]Shared, error) { return x.ToAnyone(ctx) }, "carol a/b: anyone l;\ndovecot :"},
	} {
		list, err := row.ask()
		got := strings.ReplaceAll(shown(list), ": \n", ":\n")
		if err != nil || strings.TrimSpace(got) != row.want {
			t.Errorf("%s:\n%s\nwant\n%s (%v)", row.name, got, row.want, err)
		}
	}
	broken := NewIndex(silentSource{}, quiet)
	for _, ask := range []func(context.Context, string) ([]Shared, error){broken.From, broken.ToGroup} {
		if list, err := ask(ctx, "alice"); err == nil {
			t.Errorf("a source that fails gave %v", list)
		}
	}
}

// silentSource is a dict whose server is away.
type silentSource struct{}

var errAway = errors.New("away")

func (silentSource) Get(context.Context, string) (string, bool, error) { return "", false, errAway }

func (silentSource) Iterate(context.Context, string, func(key, value string) error) error {
	return errAway
}

// TestUnreadableIsToldOnce: an ACL that can't be read is a line in the log, whatever is in it.
func TestUnreadableIsToldOnce(t *testing.T) {
	var log strings.Builder
	x := NewIndex(dict.NewMemory(), slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		x.parse("shared/roost/box/alice/Work", "user=bob l\n"+strings.Repeat("nonsense\n", 10))
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines: %s", n, log.String())
	}
}

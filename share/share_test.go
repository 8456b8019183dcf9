package share

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

var quiet = slog.New(slog.DiscardHandler)

func allow(identifier, rights string) func(mailbox.Standing) ([]mailbox.Entry, error) {
	r, err := imap.ParseRights(rights)
	return func(old mailbox.Standing) ([]mailbox.Entry, error) {
		return append(slices.Clone(old.Own), mailbox.Entry{Identifier: identifier, Rights: r}), err
	}
}

// keys is the dict as lines, for comparing.
func keys(t *testing.T, d dict.Dict) string {
	return regexp.MustCompile(`(owner/\w+) = \d+ \d+`).ReplaceAllString(stampedKeys(t, d), "$1 = STAMP")
}

// stampedKeys is keys with the stamps as they are.
func stampedKeys(t *testing.T, d dict.Dict) string {
	t.Helper()
	var b strings.Builder
	err := d.Iterate(context.Background(), "shared/", func(key, value string) error {
		fmt.Fprintf(&b, "%s = %s\n", key, strings.ReplaceAll(value, "\n", ";"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func openHome(t *testing.T, owner string) Home {
	t.Helper()
	home, ok := mailboxmem.New(owner).As(owner, false).(Home)
	if !ok {
		t.Fatal("mailboxmem is no share.Home")
	}
	return home
}

func TestChangesReachTheIndexBeforeTheyAreAnswered(t *testing.T) {
	ctx := context.Background()
	d := dict.NewMemory()
	if err := d.Commit(ctx, []dict.Change{
		dict.Set("shared/shared-boxes/user/eve/alice", "1"), // stale
		dict.Set("shared/shared-boxes/user/bob/carol", "1"), // of another owner
	}); err != nil {
		t.Fatal(err)
	}
	p := NewPublisher(PublisherConfig{Dict: d, Log: quiet})
	defer p.Close()
	a := NewPublishing(p, "alice", openHome(t, "alice"))
	steps := []struct {
		name string
		do   func() error
		want string
	}{
		{"grants", func() error {
			return errors.Join(a.Create(ctx, "Work"), a.UpdateEntries(ctx, "Work", allow("user=bob", "lr")),
				a.UpdateEntries(ctx, "Work", allow("group=team", "l")), a.UpdateEntries(ctx, "Work", allow("user=dan", "r")))
		}, `shared/roost/box/alice/Work = user=bob lr;group=team l;user=dan r;
shared/roost/owner/alice = STAMP
shared/shared-boxes/group/team/alice = 1
shared/shared-boxes/user/bob/alice = 1
shared/shared-boxes/user/bob/carol = 1
`},
		{"a name with a slash", func() error { return a.Rename(ctx, "Work", "Old/Work") }, `shared/roost/box/alice/Old%2FWork = user=bob lr;group=team l;user=dan r;
shared/roost/owner/alice = STAMP
shared/shared-boxes/group/team/alice = 1
shared/shared-boxes/user/bob/alice = 1
shared/shared-boxes/user/bob/carol = 1
`},
		{"deletion", func() error { return a.Delete(ctx, "Old/Work") }, `shared/roost/owner/alice = STAMP
shared/shared-boxes/user/bob/carol = 1
`},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := keys(t, d); got != step.want {
			t.Errorf("after %s:\n%s\nwant:\n%s", step.name, got, step.want)
		}
		if s := a.ShareState(); s.Version != s.Published {
			t.Errorf("after %s: %+v", step.name, s)
		}
	}
}

// TestRulesOfTheOwner: rules may be one owner's own.
func TestRulesOfTheOwner(t *testing.T) {
	d := dict.NewMemory()
	p := NewPublisher(PublisherConfig{Dict: d, Log: quiet, Rules: func(_ context.Context, owner string) (acl.Rules, error) {
		return acl.Rules{DefaultsFromInbox: owner == "alice"}, nil
	}})
	defer p.Close()
	for _, owner := range []string{"alice", "carol"} {
		a := NewPublishing(p, owner, openHome(t, owner))
		if err := errors.Join(a.Create(t.Context(), "Work"), a.UpdateEntries(t.Context(), imap.Inbox, allow("user=bob", "lr"))); err != nil {
			t.Fatal(err)
		}
	}
	got := keys(t, d)
	if !strings.Contains(got, "box/alice/Work") || strings.Contains(got, "box/carol/Work") || !strings.Contains(got, "box/carol/INBOX") {
		t.Errorf("published:\n%s", got)
	}
}

func TestVisible(t *testing.T) {
	ctx := context.Background()
	d := dict.NewMemory()
	p := NewPublisher(PublisherConfig{Dict: d, Log: quiet})
	defer p.Close()
	a := NewPublishing(p, "alice", openHome(t, "alice"))
	for _, box := range []struct{ name, id, rights string }{
		{"A", "user=bob", "lr"}, {"B", "group=team", "l"}, {"C", "anyone", "lr"}, {"D", "user=bob", "r"}, {"E", "user=eve", "lr"},
	} {
		if err := errors.Join(a.Create(ctx, box.name), a.UpdateEntries(ctx, box.name, allow(box.id, box.rights))); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Commit(ctx, []dict.Change{dict.Set("shared/shared-boxes/user/bob/elsewhere", "1")}); err != nil {
		t.Fatal(err)
	}
	x := NewIndex(d, quiet)
	for _, row := range []struct{ user, groups, boxes, vague string }{
		{"bob", "", "Alr Clr", "elsewhere"},
		{"bob", "team", "Alr Bl Clr", "elsewhere"},
		{"zoe", "", "Clr", ""},
		{"alice", "", "", ""},
	} {
		boxes, vague, err := x.Visible(ctx, row.user, strings.Fields(row.groups))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range boxes["alice"] {
			names = append(names, e.Name+e.Rights.Letters())
		}
		if got := strings.Join(names, " "); got != row.boxes || strings.Join(vague, " ") != row.vague {
			t.Errorf("%s in %q sees %q, vague %q; want %q, %q", row.user, row.groups, got, vague, row.boxes, row.vague)
		}
	}
}

func TestWhatTheIndexLostComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		mail := mailboxmem.New("alice")
		open := func(context.Context, string) (Home, error) { return mail.As("alice", false).(Home), nil }
		home, _ := open(ctx, "alice")
		before := NewPublisher(PublisherConfig{Dict: dict.NewMemory(), Log: quiet})
		a := NewPublishing(before, "alice", home)
		if err := errors.Join(a.Create(ctx, "Work"), a.UpdateEntries(ctx, "Work", allow("user=bob", "lr"))); err != nil {
			t.Fatal(err)
		}
		before.Close()
		d := dict.NewMemory() // the dictionary was lost, the server started anew
		after := NewPublisher(PublisherConfig{Dict: d, Log: quiet, Open: open})
		defer after.Close()
		after.Opened("alice", home)
		synctest.Wait()
		if got := keys(t, d); !strings.Contains(got, "user/bob/alice = 1") || !strings.Contains(got, "box/alice/Work") {
			t.Errorf("the index holds %s", got)
		}
	})
}

// A dictionary that is as it was some time ago says what is no more.
func TestWhatCameBackGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		mail := mailboxmem.New("alice")
		open := func(context.Context, string) (Home, error) { return mail.As("alice", false).(Home), nil }
		home, _ := open(ctx, "alice")
		d := dict.NewMemory()
		before := NewPublisher(PublisherConfig{Dict: d, Log: quiet})
		a := NewPublishing(before, "alice", home)
		if err := errors.Join(a.Create(ctx, "Work"), a.UpdateEntries(ctx, "Work", allow("user=bob", "lr")),
			a.Create(ctx, "Old"), a.UpdateEntries(ctx, "Old", allow("user=eve", "lr"))); err != nil {
			t.Fatal(err)
		}
		restored := dict.NewMemory()
		var changes []dict.Change
		if err := d.Iterate(ctx, dict.Root, func(key, value string) error {
			changes = append(changes, dict.Set(key, value))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(restored.Commit(ctx, changes), a.Delete(ctx, "Old")); err != nil {
			t.Fatal(err)
		}
		before.Close()
		after := NewPublisher(PublisherConfig{Dict: restored, Log: quiet, Open: open})
		defer after.Close()
		after.Opened("alice", home)
		synctest.Wait()
		if got, want := keys(t, restored), keys(t, d); got != want || strings.Contains(got, "eve") {
			t.Errorf("the index holds\n%s\nwant\n%s", got, want)
		}
	})
}

// failing is a dict whose commits fail until it is mended.
type failing struct {
	dict.Dict
	broken atomic.Bool
}

func (f *failing) Commit(ctx context.Context, changes []dict.Change, conditions ...dict.Condition) error {
	if f.broken.Load() {
		return errors.New("dict server is gone")
	}
	return f.Dict.Commit(ctx, changes, conditions...)
}

func TestDictAwayIsMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		d := &failing{Dict: dict.NewMemory()}
		mail := mailboxmem.New("alice")
		open := func(context.Context, string) (Home, error) { return mail.As("alice", false).(Home), nil }
		p := NewPublisher(PublisherConfig{Dict: d, Log: quiet, Open: open})
		defer p.Close()
		home, _ := open(ctx, "alice")
		a := NewPublishing(p, "alice", home)
		d.broken.Store(true)
		if err := errors.Join(a.Create(ctx, "Work"), a.UpdateEntries(ctx, "Work", allow("user=bob", "lr"))); err != nil {
			t.Fatalf("the change itself must succeed: %v", err)
		}
		time.Sleep(10 * time.Minute)
		if got := keys(t, d); got != "" {
			t.Fatalf("a broken dict holds %s", got)
		}
		d.broken.Store(false)
		time.Sleep(2 * time.Minute)
		if got := keys(t, d); !strings.Contains(got, "user/bob/alice") {
			t.Errorf("not made up for: %q", got)
		}
	})
}

// TestMadeUpForInTheSameEpoch has a change not be published because the right to the mail
// lapsed, which comes back without anybody else having had it.
func TestMadeUpForInTheSameEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dict.NewMemory()
		home := openHome(t, "alice")
		p := NewPublisher(PublisherConfig{Dict: d, Log: quiet, Open: func(context.Context, string) (Home, error) { return home, nil }})
		defer p.Close()
		p.Opened("alice", home)
		synctest.Wait()
		if err := home.UpdateEntries(t.Context(), "INBOX", allow("user=bob", "lr")); err != nil {
			t.Fatal(err)
		}
		p.Opened("alice", home)
		synctest.Wait()
		if got := keys(t, d); !strings.Contains(got, "user/bob/alice") {
			t.Errorf("not made up for: %q", got)
		}
	})
}

// BenchmarkVisible is what a LIST costs a user with whom 500 owners share 3 mailboxes each.
func BenchmarkVisible(b *testing.B) {
	ctx := b.Context()
	d := dict.NewMemory()
	var changes []dict.Change
	for i := range 500 {
		owner := fmt.Sprintf("owner%03d", i)
		changes = append(changes, dict.Set(ownerKey(owner), "1 1"), dict.Set(userPrefix("bob")+owner, "1"))
		for _, name := range []string{"INBOX", "Projects", "Projects/Roost"} {
			changes = append(changes, dict.Set(boxesOf(owner)+dict.Escape(name), "user=bob lrs\nuser=someone lrswipkxte\n"))
		}
	}
	if err := d.Commit(ctx, changes); err != nil {
		b.Fatal(err)
	}
	x := NewIndex(d, quiet)
	b.ReportAllocs()
	for b.Loop() {
		boxes, vague, err := x.Visible(ctx, "bob", nil)
		if err != nil || len(boxes) != 500 || len(vague) != 0 {
			b.Fatal(len(boxes), vague, err)
		}
	}
}

package share

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// TestWatchAnything has bob hear of a change in a dict that tells of none.
func TestWatchAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dict.NewMemory()
		x := NewIndex(reader{d}, quiet)
		heard := make(chan struct{}, 9)
		stop := x.Watch("bob", in(), func() { heard <- struct{}{} })
		defer stop()
		time.Sleep(10 * time.Second)
		for len(heard) > 0 {
			<-heard
		}
		if err := d.Commit(t.Context(), []dict.Change{dict.Set("shared/shared-boxes/user/bob/alice", "1")}); err != nil {
			t.Fatal(err)
		}
		<-heard
	})
}

func in(groups ...string) func() []string { return func() []string { return groups } }

// reader is a Source and nothing else.
type reader struct{ Source }

// TestIndexHeedsDates: what has expired is not listed, though nobody has taken it out.
func TestIndexHeedsDates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dict.NewMemory()
		home := openHome(t, "alice")
		p := NewPublisher(PublisherConfig{Dict: d, Log: quiet, Open: func(context.Context, string) (Home, error) { return home, nil }})
		defer p.Close()
		a := NewPublishing(p, "alice", home)
		until := time.Now().Add(time.Hour)
		err := a.UpdateEntries(t.Context(), imap.Inbox, func(mailbox.Standing) ([]mailbox.Entry, error) {
			return []mailbox.Entry{
				{Identifier: "user=bob", Rights: imap.RightLookup | imap.RightRead, Expires: until.Unix()},
				{Identifier: "user=eve", Rights: imap.RightLookup},
			}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		x := NewIndex(d, quiet)
		want := func(when string, boxes int) {
			t.Helper()
			visible, vague, err := x.Visible(t.Context(), "bob", nil)
			if err != nil || len(visible["alice"]) != boxes || len(vague) > 0 {
				t.Errorf("%s: bob sees %v, %v, %v", when, visible, vague, err)
			}
			from, err := x.From(t.Context(), "alice")
			if err != nil || len(from) != 1 || len(from[0].Entries) != 1+boxes {
				t.Errorf("%s: alice shares %v, %v", when, from, err)
			}
			if to, err := x.To(t.Context(), "bob", nil); err != nil || len(to) != boxes {
				t.Errorf("%s: shared with bob is %v, %v", when, to, err)
			}
			if wrong, err := p.Verify(t.Context(), []string{"alice"}, false, func(Drift) {}); wrong > 0 || err != nil {
				t.Errorf("%s: drift %d, %v", when, wrong, err)
			}
		}
		want("before", 1)
		time.Sleep(time.Until(until))
		want("after", 0)
	})
}

// TestWatch has bob hear of what concerns him, and of nothing else.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := dict.NewMirror(dict.NewMemory(), dict.MirrorOptions{})
		defer m.Close()
		x := NewIndex(m, quiet)
		heard := 0
		stop := x.Watch("bob", in("team"), func() { heard++ })
		for _, step := range []struct {
			change dict.Change
			hears  bool
		}{
			{dict.Set("shared/shared-boxes/user/bob/alice", "1"), true}, // alice shares something
			{dict.Set("shared/shared-boxes/user/eve/alice", "1"), false},
			{dict.Set("shared/roost/owner/alice", "1 1"), true}, // or rather nothing
			{dict.Set("shared/roost/owner/alice", "1 2"), false},
			{dict.Set("shared/roost/box/alice/Work", "user=bob lr\n"), true},
			{dict.Set("shared/roost/box/alice/Work", "user=bob lr\nuser=eve lr\n"), false},
			{dict.Set("shared/roost/box/alice/Work", "user=bob lrs\n"), true},
			{dict.Set("shared/shared-boxes/group/team/carl", "1"), true},
			{dict.Set("shared/shared-boxes/group/others/carl", "1"), false},
			{dict.Set("shared/shared-boxes/anyone/dora", "1"), true},
			{dict.Unset("shared/shared-boxes/user/bob/alice"), true},
		} {
			before := heard
			if err := m.Writer().Commit(t.Context(), []dict.Change{step.change}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if (heard > before) != step.hears {
				t.Errorf("%+v: bob heard %d times", step.change, heard-before)
			}
		}
		stop()
		before := heard
		if err := m.Writer().Commit(t.Context(), []dict.Change{dict.Set("shared/shared-boxes/user/bob/zoe", "1")}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if heard != before {
			t.Error("bob heard of something after the end")
		}
	})
}

package share

import (
	"context"
	"errors"
	"fmt"
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

// ofEpoch is a home that another process has opened.
type ofEpoch struct {
	Home
	epoch uint64
}

func (h ofEpoch) ShareState() mailbox.ShareState {
	s := h.Home.ShareState()
	s.Epoch = h.epoch
	return s
}

// TestNobodyHoldsUpASweep: an owner whose mail does not open costs a bounded time.
func TestNobodyHoldsUpASweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPublisher(PublisherConfig{Dict: dict.NewMemory(), Log: quiet, Open: func(ctx context.Context, owner string) (Home, error) {
			if owner == "stuck" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return openHome(t, owner), nil
		}})
		defer p.Close()
		found := map[string]error{}
		_, err := p.Verify(t.Context(), []string{"stuck", "ann"}, true, func(d Drift) { found[d.Owner] = d.Err })
		if err != nil || len(found) != 2 || found["stuck"] == nil || found["ann"] != nil {
			t.Errorf("%v, %v", found, err)
		}
	})
}

// TestWhoIsGoneIsNotTriedAgain: nothing is published for an owner who is no user any more, before
// there is one again.
func TestWhoIsGoneIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		var opened atomic.Int64
		d := dict.NewMemory()
		home := openHome(t, "ann")
		if err := errors.Join(home.Create(t.Context(), "Work"), home.UpdateEntries(t.Context(), "Work", allow("user=bob", "lr"))); err != nil {
			t.Fatal(err)
		}
		p := NewPublisher(PublisherConfig{Dict: d, Log: quiet, Open: func(context.Context, string) (Home, error) {
			opened.Add(1)
			if gone.Load() {
				return nil, imap.Errorf(imap.CodeNonExistent, "no such user")
			}
			return home, nil
		}})
		defer p.Close()
		gone.Store(true)
		p.Opened("ann", home)
		time.Sleep(time.Hour)
		if n := opened.Load(); n != 1 {
			t.Errorf("opened %d times", n)
		}
		gone.Store(false)
		p.Opened("ann", home)
		synctest.Wait()
		if got := keys(t, d); !strings.Contains(got, "shared/shared-boxes/user/bob/ann") {
			t.Errorf("not published: %s", got)
		}
	})
}

// TestLatePublication has a backend that lost an owner publish late: what the one that
// has the owner now has published stays.
func TestLatePublication(t *testing.T) {
	ctx := t.Context()
	d := dict.NewMemory()
	mail := mailboxmem.New("alice")
	home := mail.As("alice", false).(Home)
	old := NewPublisher(PublisherConfig{Dict: d, Log: quiet})
	defer old.Close()
	if err := errors.Join(home.Create(ctx, "Work"), home.UpdateEntries(ctx, "Work", allow("user=bob", "lr"))); err != nil {
		t.Fatal(err)
	}
	late := ofEpoch{home, 1}
	state := late.ShareState()
	want, err := old.wantedBy(ctx, "alice", late)
	if err != nil {
		t.Fatal(err)
	}

	now := NewPublisher(PublisherConfig{Dict: d, Log: quiet})
	defer now.Close()
	a := NewPublishing(now, "alice", ofEpoch{home, 2})
	revoke := func(mailbox.Standing) ([]mailbox.Entry, error) { return nil, nil }
	if err := a.UpdateEntries(ctx, "Work", allow("user=dan", "lr")); err != nil {
		t.Fatal(err)
	}
	if err := a.UpdateEntries(ctx, "Work", revoke); err != nil {
		t.Fatal(err)
	}
	if err := old.write(ctx, "alice", late, state, want, true); err != nil {
		t.Fatal(err)
	}
	if got, want := stampedKeys(t, d), "shared/roost/owner/alice = 2 4\n"; got != want {
		t.Errorf("the index holds %q, want %q", got, want)
	}
}

// cutting is a dict to which another commits just before a commit.
type cutting struct {
	dict.Dict
	before func()
}

func (c *cutting) Commit(ctx context.Context, changes []dict.Change, conditions ...dict.Condition) error {
	if f := c.before; f != nil {
		c.before = nil
		f()
	}
	return c.Dict.Commit(ctx, changes, conditions...)
}

// TestPublicationsCross has a later state come between the reading and the writing of
// an earlier one.
func TestPublicationsCross(t *testing.T) {
	ctx := t.Context()
	memory := dict.NewMemory()
	d := &cutting{Dict: memory}
	p := NewPublisher(PublisherConfig{Dict: d, Log: quiet})
	defer p.Close()
	a := NewPublishing(p, "alice", openHome(t, "alice"))
	if err := a.Create(ctx, "Work"); err != nil {
		t.Fatal(err)
	}
	d.before = func() {
		if err := memory.Commit(ctx, []dict.Change{dict.Set(ownerKey("alice"), "7 1")}); err != nil {
			t.Error(err)
		}
	}
	if err := a.UpdateEntries(ctx, "Work", allow("user=bob", "lr")); err != nil {
		t.Fatal(err)
	}
	if got, want := stampedKeys(t, d), "shared/roost/owner/alice = 7 1\n"; got != want {
		t.Errorf("the index holds %q, want %q", got, want)
	}
}

// TestSweep spoils the index in every way, and finds it mended; owners who are not this
// backend's are left alone.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		d := dict.NewMemory()
		homes := map[string]*mailboxmem.Mail{"alice": mailboxmem.New("alice"), "bea": mailboxmem.New("bea"), "far": mailboxmem.New("far")}
		open := func(_ context.Context, owner string) (Home, error) {
			if homes[owner] == nil || owner == "far" {
				return nil, fmt.Errorf("%s is not here", owner)
			}
			return homes[owner].As(owner, false).(Home), nil
		}
		p := NewPublisher(PublisherConfig{
			Dict: d, Log: quiet, Open: open, Sweep: time.Hour,
			Mine:   func(owner string) bool { return owner != "far" },
			Exists: func(_ context.Context, owner string) (bool, error) { return owner != "gone", nil },
		})
		defer p.Close()
		for _, owner := range []string{"alice", "bea"} {
			home, err := open(ctx, owner)
			if err != nil {
				t.Fatal(err)
			}
			a := NewPublishing(p, owner, home)
			if err := errors.Join(a.Create(ctx, "Work"), a.UpdateEntries(ctx, "Work", allow("user=bob", "lr"))); err != nil {
				t.Fatal(err)
			}
		}
		right := keys(t, d)
		strangers := "shared/shared-boxes/user/bob/far = 1\n"
		if err := d.Commit(ctx, []dict.Change{
			dict.Unset("shared/shared-boxes/user/bob/alice"),             // lost
			dict.Set("shared/shared-boxes/group/team/alice", "1"),        // never granted
			dict.Set("shared/roost/box/alice/Old", "user=bob lr\n"),      // deleted long ago
			dict.Set("shared/roost/box/bea/Work", "user=bob lrswipkx\n"), // other rights
			dict.Set("shared/roost/owner/gone", "3 9"),
			dict.Set("shared/roost/box/gone/INBOX", "user=bob lr\n"),
			dict.Set("shared/shared-boxes/user/bob/gone", "1"),
			dict.Set("shared/shared-boxes/user/bob/far", "1"),
		}); err != nil {
			t.Fatal(err)
		}

		var told []string
		wrong, err := p.Verify(ctx, nil, false, func(d Drift) {
			told = append(told, fmt.Sprintf("%s %d %v", d.Owner, len(d.Changes), d.Gone))
		})
		if err != nil || wrong != 7 || strings.Join(told, ", ") != "alice 3 false, bea 1 false, gone 3 true" {
			t.Errorf("%d keys are wrong: %v; %v", wrong, told, err)
		}
		time.Sleep(time.Hour + time.Minute)
		want := strings.Split(strings.TrimSpace(right+strangers), "\n")
		slices.Sort(want)
		if got := strings.TrimSpace(keys(t, d)); got != strings.Join(want, "\n") {
			t.Errorf("the index holds\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
		if p.Drifted() != 7 {
			t.Errorf("drift %d", p.Drifted())
		}
		time.Sleep(time.Hour)
		if p.Drifted() != 0 {
			t.Errorf("drift %d after it was mended", p.Drifted())
		}
	})
}

// TestRulesChange has the rules give somebody else rights: the index follows for who is open
// and for whom it speaks of at once, for others when they are opened.
func TestRulesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		homes := map[string]Home{"alice": openHome(t, "alice"), "bob": openHome(t, "bob"), "dan": openHome(t, "dan")}
		if err := homes["alice"].UpdateEntries(ctx, "INBOX", allow("user=eve", "lr")); err != nil {
			t.Fatal(err)
		}
		globals := func(text string) *acl.Globals {
			g, err := acl.ParseGlobals(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		var now atomic.Pointer[acl.Globals]
		d := dict.NewMemory()
		p := NewPublisher(PublisherConfig{
			Dict: d, Log: quiet, Rules: func(context.Context, string) (acl.Rules, error) { return acl.Rules{Globals: now.Load}, nil },
			Open: func(_ context.Context, owner string) (Home, error) { return homes[owner], nil },
		})
		defer p.Close()
		for owner, home := range homes {
			p.Opened(owner, home)
		}
		synctest.Wait()
		spoken := func() (owners []string) {
			for owner := range homes {
				if strings.Contains(keys(t, d), "shared-boxes/user/auditor/"+owner+" ") {
					owners = append(owners, owner)
				}
			}
			slices.Sort(owners)
			return owners
		}
		for _, step := range []struct {
			what string
			do   func()
			want []string
		}{
			{"nothing", func() {}, nil},
			{"rights come", func() { now.Store(globals("* user=auditor lr\n")); p.RulesChanged([]string{"bob"}) }, []string{"alice", "bob"}},
			{"another is opened", func() { p.Opened("dan", homes["dan"]) }, []string{"alice", "bob", "dan"}},
			{"rights go", func() { now.Store(nil); p.RulesChanged(nil) }, nil},
		} {
			step.do()
			synctest.Wait()
			if got := spoken(); !slices.Equal(got, step.want) {
				t.Errorf("%s: the auditor is told of %q, want %q; the index is\n%s", step.what, got, step.want, keys(t, d))
			}
		}
		if p.Drifted() != 0 {
			t.Errorf("drift is %d", p.Drifted())
		}
	})
}

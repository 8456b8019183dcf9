package namespace_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/namespace"
)

// statuses asks for the messages of names, and shows the answers in order.
func statuses(ctx context.Context, tree *namespace.Tree, names ...string) string {
	var lines []string
	tree.Statuses(ctx, names, imap.StatusMessages, func(name string, s imap.Status, err error) {
		lines = append(lines, strings.TrimSpace(fmt.Sprint(name, " ", s.Messages, " ", imap.CodeOf(err))))
	})
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

func TestStatusesOfSeveralOwners(t *testing.T) {
	s := newSite("bob", "alice", "carol")
	s.grant(t, "alice", "Work", "bob", "lr")
	s.grant(t, "alice", "INBOX", "bob", "lr")
	s.grant(t, "alice", "Listed", "bob", "l")
	s.grant(t, "alice", "Hidden", "bob", "i")
	s.grant(t, "carol", "Play", "bob", "lr")
	put(t, s.open("alice", "alice"), "Work", "Subject: a\r\n\r\none")
	put(t, s.open("alice", "alice"), "INBOX", "Subject: a\r\n\r\none")
	put(t, s.open("carol", "carol"), "Play", "Subject: a\r\n\r\none")
	put(t, s.open("bob", "bob"), "INBOX", "Subject: a\r\n\r\none")
	tree := s.tree(t, "bob", namespace.ListChildren)
	got := statuses(t.Context(), tree, "INBOX", "shared/bob", "shared/alice/Work", "shared/alice", "shared/alice/INBOX", "shared/alice/Listed",
		"shared/alice/Hidden", "shared/alice/Nope", "shared/carol/Play", "shared", "Nope")
	const want = "INBOX 1, Nope 0 NONEXISTENT, shared 0 NONEXISTENT, shared/alice 1, shared/alice/Hidden 0 NONEXISTENT, shared/alice/INBOX 1, " +
		"shared/alice/Listed 0 NOPERM, shared/alice/Nope 0 NONEXISTENT, shared/alice/Work 1, shared/bob 1, shared/carol/Play 1"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// slow is an owner who answers after a time, or never.
type slow struct {
	mailbox.Complete
	after time.Duration
}

func (*slow) Close() error { return nil }

func (a *slow) Statuses(ctx context.Context, names []string, _ imap.StatusItems, emit func(string, imap.Status, error)) {
	var err error
	select {
	case <-time.After(a.after):
	case <-ctx.Done():
		err = imap.Errorf(imap.CodeUnavailable, "away")
	}
	for _, name := range names {
		emit(name, imap.Status{Messages: 7}, err)
	}
}

// Owners are asked at once: fifty that take a second each take a second, and a hundred, of
// which one never answers, no longer than their turns and the one deadline.
func TestStatusesWaitForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := newSite("bob").open("bob", "bob")
		tree := namespace.New(namespace.Config{
			User: "bob", Own: own, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Shared: []namespace.Shared{{
				Root: "shared/",
				Match: func(name string) (owner, rest string, ok bool) {
					owner, rest, _ = strings.Cut(strings.TrimPrefix(name, "shared/"), "/")
					return owner, rest, true
				},
				Open: func(owner string) mailbox.Complete {
					if owner == "o50" {
						return &slow{after: time.Hour}
					}
					return &slow{after: time.Second}
				},
			}},
		})
		defer tree.Close()
		var names []string
		for i := range 100 {
			names = append(names, fmt.Sprintf("shared/o%d/Work", i))
		}
		begun := time.Now()
		if got := statuses(t.Context(), tree, names[:50]...); strings.Count(got, " 7") != 50 || time.Since(begun) != time.Second {
			t.Errorf("fifty took %v: %s", time.Since(begun), got)
		}
		begun = time.Now()
		got := statuses(t.Context(), tree, names...)
		if n := strings.Count(got, "UNAVAILABLE"); n != 1 || strings.Count(got, " 7") != 100 || !strings.Contains(got, "shared/o50/Work 7 UNAVAILABLE") {
			t.Errorf("%d unavailable: %s", n, got)
		}
		if took := time.Since(begun); took > 7*time.Second { // 2 turns and 5 seconds
			t.Errorf("took %v", took)
		}
	})
}

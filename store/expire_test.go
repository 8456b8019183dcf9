package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
)

// What lies in a mailbox for long goes, by the time it came there and not by its
// date; and the oldest of too many.
func TestExpire(t *testing.T) {
	ctx := context.Background()
	fs, s, a := keeping(t)
	if err := a.Create(ctx, "Trash"); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		mustAppend(t, a, "INBOX", n)
	}
	m, err := a.Open(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	fs.pass(48 * time.Hour)
	if _, err := m.Move(ctx, imap.UIDRange(1, 2), "Trash"); err != nil {
		t.Fatal(err)
	}
	fs.pass(48 * time.Hour)
	for n := 3; n < 8; n++ {
		mustAppend(t, a, "Trash", n)
	}
	ago := func(d time.Duration) time.Time { return a.store.now().Add(-d) }
	for _, c := range []struct {
		before time.Time
		most   int
		want   int
	}{
		{ago(72 * time.Hour), 0, 0}, // they are younger there
		{ago(24 * time.Hour), 0, 2}, // the two that were moved
		{time.Time{}, 5, 0},         // no more than that
		{time.Time{}, 3, 2},         // the oldest of five
		{ago(-time.Second), 100, 3}, // all
		{ago(-time.Second), 0, 0},   // none are left
	} {
		if n, err := a.Expire(ctx, "Trash", c.before, c.most); err != nil || n != c.want {
			t.Errorf("%v, %d: %d went, %v; want %d", c.before, c.most, n, err, c.want)
		}
	}
	if _, err := a.Expire(ctx, "Nowhere", ago(0), 0); imap.CodeOf(err) != imap.CodeNonExistent {
		t.Errorf("of a mailbox that is not there: %v", err)
	}
	if kept, err := a.Kept(KeptFilter{Mailbox: "Trash"}); err != nil || len(kept) != 7 {
		t.Errorf("kept are %d, %v", len(kept), err)
	}
	if err := errors.Join(s.Close(), check(fs, "/mail", t.Output())); err != nil {
		t.Error(err)
	}
}

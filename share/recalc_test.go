package share

import (
	"context"
	"errors"
	"testing"

	"github.com/roost-mail/roost/dict"
)

// TestRecalc: what was lost from the dict comes back, and what is too much goes, though
// nothing has changed in the owner's home.
func TestRecalc(t *testing.T) {
	ctx := context.Background()
	d := dict.NewMemory()
	p := NewPublisher(PublisherConfig{Dict: d, Log: quiet})
	defer p.Close()
	home := openHome(t, "alice")
	a := NewPublishing(p, "alice", home)
	if err := errors.Join(a.Create(ctx, "Work"), a.UpdateEntries(ctx, "Work", allow("user=bob", "lr"))); err != nil {
		t.Fatal(err)
	}
	want := keys(t, d)
	err := d.Commit(ctx, []dict.Change{
		dict.Unset("shared/roost/box/alice/Work"),
		dict.Set("shared/roost/box/alice/Gone", "user=bob lr\n"),
		dict.Set("shared/shared-boxes/user/eve/alice", "1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if keys(t, d) == want {
		t.Fatal("nothing was spoilt")
	}
	if err := p.Recalc(ctx, "alice", home); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, d); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

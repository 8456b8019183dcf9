package simworld

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/scenario"
)

// TestStatusesOfManyOwners asks for two mailboxes of each of 50 owners on 4 backends at once, as
// LIST with STATUS does. It takes hardly longer than asking the slowest of them alone for one,
// and no more round trips than asking each for one.
func TestStatusesOfManyOwners(t *testing.T) {
	const owners = 50
	s, err := scenario.Parse("statuses", fmt.Sprintf("backends b1 b2 b3 b4\ndirectors d1\nusers %d\nstart all\nsettled within 30s\n", owners+1))
	if err != nil {
		t.Fatal(err)
	}
	marker := newMarker(t)
	synctest.Test(t, func(t *testing.T) {
		w, end := startWorld(t, s, config{seed: 1, marker: marker, rules: acl.Rules{}})
		run := scenario.Runner{World: w, Seed: 1}
		if err := run.Run(t.Context(), s); err != nil {
			t.Error(err)
		}
		reader := w.users[owners]
		var names []string
		for _, owner := range w.users[:owners] {
			o, err := w.open(t.Context(), owner)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range scenario.Mailboxes {
				if err := o.Grant(t.Context(), name, reader, true); err != nil {
					t.Fatal(err)
				}
				names = append(names, called(reader, owner, name))
			}
			_ = o.Close()
		}
		var slowest time.Duration
		var trips int64
		for i := 0; i < len(names); i += len(scenario.Mailboxes) {
			took, n := askStatuses(t, w, reader, names[i:i+1])
			slowest = max(slowest, took)
			trips += n
		}
		took, n := askStatuses(t, w, reader, names)
		t.Logf("all together %v and %d round trips, each alone at most %v and together %d", took, n, slowest, trips)
		if took > 3*slowest {
			t.Errorf("all together took %v, and the slowest alone %v", took, slowest)
		}
		if n > trips || trips == 0 {
			t.Errorf("%d round trips, and %d for one mailbox of each", n, trips)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// askStatuses has a new session ask for the messages of names.
func askStatuses(t *testing.T, w *world, reader string, names []string) (took time.Duration, trips int64) {
	s, err := w.open(t.Context(), reader)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // never fails
	begun, before, answers := time.Now(), w.hops.RoundTrips.Load(), 0
	s.mail.Statuses(context.WithoutCancel(t.Context()), names, imap.StatusMessages, func(name string, _ imap.Status, err error) {
		if answers++; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	if answers != len(names) {
		t.Errorf("%d answers for %d mailboxes", answers, len(names))
	}
	return time.Since(begun), w.hops.RoundTrips.Load() - before
}

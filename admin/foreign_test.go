package admin_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
)

// TestTwoKinds: backends that are no Roost do not come into a tag of others; where they are
// in one all the same, and where a pin leads to one, the status says what is wrong.
func TestTwoKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Start("be1", cluster.Registration{Volumes: []string{"v"}})
		w.Settle(1 << 20)
		if _, err := call(t, w.admin, operator, nil, "director add", "old1", "foreign=true", "timeout=0"); imap.CodeOf(err) != imap.CodeCannot || !strings.Contains(err.Error(), "another tag") {
			t.Errorf("into a tag of Roost backends: %v", err)
		}
		if _, err := call(t, w.admin, operator, nil, "director add", "old1", "foreign=true", "tag=old", "timeout=0"); err != nil {
			t.Error(err)
		}
		w.Start("be2", cluster.Registration{Tag: "old", Volumes: []string{"v"}})
		w.Put("pins/alice", cluster.Pin{Backend: "old1"}, 0)
		st, err := w.Shared.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(st.Problems, "\n")
		for _, want := range []string{"are of two kinds", "be2, and old1, no Roost", "user alice was moved to old1, which is no Roost"} {
			if !strings.Contains(all, want) {
				t.Errorf("no %q in\n%s", want, all)
			}
		}
	})
}

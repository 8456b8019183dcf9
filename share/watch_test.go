package share

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/dict"
)

// TestWatchAnything has bob hear of a change in a dict that tells of none.
func TestWatchAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dict.NewMemory()
		x := NewIndex(reader{d}, quiet)
		heard := make(chan struct{}, 9)
		stop := x.Watch("bob", nil, func() { heard <- struct{}{} })
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

// reader is a Source and nothing else.
type reader struct{ Source }

// TestWatch has bob hear of what concerns him, and of nothing else.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := dict.NewMirror(dict.NewMemory(), dict.MirrorOptions{})
		defer m.Close()
		x := NewIndex(m, quiet)
		heard := 0
		stop := x.Watch("bob", []string{"team"}, func() { heard++ })
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

package store

import "testing"

// A mailbox without rights of its own follows what comes above it by a RENAME, and whoever
// has it open hears so.
func TestRenameAboveIsHeard(t *testing.T) {
	o := testOptions(t)
	o.FS = newMemFS()
	s := New(o)
	defer s.Close()
	a := mustOpen(t, s, "/mail", owner)
	defer a.Close()
	for _, name := range []string{"New", "Team/Work/Open"} {
		if err := a.Create(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Delete(t.Context(), "Team/Work"); err != nil {
		t.Fatal(err)
	}
	m, err := a.Open(t.Context(), "Team/Work/Open", false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	heard := make(chan struct{}, 1)
	defer m.Watch(func() {
		select {
		case heard <- struct{}{}:
		default:
		}
	})()
	if err := a.Rename(t.Context(), "New", "Team/Work"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-heard:
	default:
		t.Error("nothing is heard")
	}
}

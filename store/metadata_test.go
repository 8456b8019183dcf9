package store

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// shownMetadata is all that a session sees of the annotations and sums of names.
func shownMetadata(t *testing.T, s *Session, names ...string) string {
	t.Helper()
	var out strings.Builder
	q := &imap.MetadataQuery{Names: []string{"/private", "/shared"}, Depth: imap.MetadataDepthAll, MaxSize: -1}
	for _, name := range names {
		found, err := s.GetMetadata(t.Context(), name, q)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%q:", name)
		for _, e := range found.Entries {
			fmt.Fprintf(&out, " %s=%q", e.Name, e.Value)
		}
		if name != "" {
			status, err := s.Status(t.Context(), name, imap.StatusSize|imap.StatusDeleted)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, " %d/%d/%d", status.Size, status.Deleted, status.DeletedStorage)
		}
		out.WriteString("\n")
	}
	return out.String()
}

// Annotations and sums are the same from memory, from the log and from a fold.
func TestMetadataAndSumsSurvive(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	reader := View{Acting: "bob", PrivateSeen: true}
	set := func(s *Session, name, entry, value string) {
		t.Helper()
		e := imap.MetadataEntry{Name: entry, Value: []byte(value)}
		if value == "NIL" {
			e.Value = nil
		}
		if err := s.SetMetadata(ctx, name, []imap.MetadataEntry{e}); err != nil {
			t.Fatal(err)
		}
	}
	var want, wantReader string
	for step := range 4 {
		s := New(testOptions(t))
		a, b := mustOpen(t, s, dir, owner), mustOpen(t, s, dir, reader)
		if step > 0 {
			if got := shownMetadata(t, a, "", "INBOX", "Work") + shownMetadata(t, b, "Work"); got != want+wantReader {
				t.Errorf("step %d: got\n%swant\n%s", step, got, want+wantReader)
			}
		}
		if step == 0 {
			if err := a.Create(ctx, "Work", `\Archive`); err != nil {
				t.Fatal(err)
			}
			set(a, "", "/private/vendor/x/y", "mine")
			set(a, "INBOX", "/shared/comment", "\x00 and \r\n")
		}
		set(a, "Work", "/shared/comment", fmt.Sprint("step ", step))
		set(a, "Work", fmt.Sprint("/private/n", step), "")
		set(a, "Work", fmt.Sprint("/private/n", step-1), "NIL")
		set(b, "Work", "/private/comment", fmt.Sprint("bob's ", step))
		mustAppend(t, a, "Work", step, imap.FlagDeleted)
		mustAppend(t, a, "Work", step)
		if step%2 == 1 {
			if err := a.fold(ctx); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, a, "INBOX", step) // behind the fold
		}
		want, wantReader = shownMetadata(t, a, "", "INBOX", "Work"), shownMetadata(t, b, "Work")
		a.Close() //nolint:errcheck // never fails
		b.Close() //nolint:errcheck // never fails
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		checkDir(t, dir)
	}
}

// One reader can't use up the room of others, nor all readers the owner's.
func TestMetadataRoom(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	s := New(testOptions(t))
	defer s.Close() //nolint:errcheck // only a helper
	a, b := mustOpen(t, s, dir, owner), mustOpen(t, s, dir, View{Acting: "bob"})
	value := make([]byte, imap.MaxMetadataValue)
	fill := func(s *Session) (n int) {
		for ; ; n++ {
			err := s.SetMetadata(ctx, "INBOX", []imap.MetadataEntry{{Name: fmt.Sprint("/private/n", n), Value: value}})
			if imap.CodeOf(err) == imap.CodeMetadataTooMany {
				return n
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := fill(b); n != maxReaderMetadata/imap.MaxMetadataValue-1 {
		t.Errorf("a reader has %d values", n)
	}
	if n := fill(a); n != imap.MaxMetadataEntries {
		t.Errorf("the owner has %d values", n)
	}
	// Replacing and removing always works.
	for _, session := range []*Session{a, b} {
		if err := session.SetMetadata(ctx, "INBOX", []imap.MetadataEntry{{Name: "/private/n1", Value: value[1:]}, {Name: "/private/n2"}}); err != nil {
			t.Error(err)
		}
	}
}

// Appends that share a sync count each other.
func TestQuotaOfAGroup(t *testing.T) {
	dir := t.TempDir()
	s := New(testOptions(t))
	defer s.Close() //nolint:errcheck // only a helper
	v := View{Acting: "alice", Quota: &mailbox.QuotaPolicy{Root: "q", Messages: 10}}
	const writers = 16
	outcomes := make(chan error)
	for n := range writers {
		session := mustOpen(t, s, dir, v)
		go func() {
			var err error
			for err == nil {
				_, err = session.Append(context.Background(), "INBOX", newMail(n))
			}
			outcomes <- err
		}()
	}
	for range writers {
		if err := <-outcomes; imap.CodeOf(err) != imap.CodeOverQuota {
			t.Errorf("a writer ended with %v", err)
		}
	}
	status, err := mustOpen(t, s, dir, v).Status(t.Context(), "INBOX", imap.StatusMessages)
	if err != nil || status.Messages != 10 {
		t.Errorf("%d messages, %v", status.Messages, err)
	}
}

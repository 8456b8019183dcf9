package store

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// bulk is alice's mail on a memFS with n messages of 8 kB in small segments.
func bulk(t *testing.T, n int) (*memFS, *Store, *Session) {
	t.Helper()
	fs := newMemFS()
	o := testOptions(t)
	o.FS, o.limits = fs, limits{segment: 100 << 10, foldBytes: 1 << 40, foldRecords: 1 << 30}
	s := New(o)
	a := mustOpen(t, s, "/mail", owner)
	for i := range n {
		text := mail(i) + strings.Repeat("y", 8<<10)
		_, err := a.Append(context.Background(), "INBOX", mailbox.One(&mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}))
		if err != nil {
			t.Fatal(err)
		}
	}
	return fs, s, a
}

// logBytes is what the log takes.
func (m *memFS) logBytes() (n int) {
	for _, name := range m.files(func(name string) bool { return strings.HasSuffix(name, "."+kindLog) }) {
		n += len(m.names[name].data)
	}
	return n
}

// expungeMost leaves each fifth message.
func expungeMost(t *testing.T, m mailbox.Mailbox) {
	t.Helper()
	ctx := context.Background()
	for uid := range m.Info().UIDs.All() {
		if uid%5 == 0 {
			continue
		}
		deleted := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}
		if _, err := m.Store(ctx, imap.UIDRange(uid, uid), deleted, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Expunge(ctx, nil, true); err != nil {
		t.Fatal(err)
	}
}

// Space of expunged messages is given back, and what is left stays readable,
// also for a FETCH that began before.
func TestRewrite(t *testing.T) {
	ctx := context.Background()
	fs, s, a := bulk(t, 100)
	m, err := a.Open(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	expungeMost(t, m)
	a.background.Wait() // one maintenance at a time
	want := contentsOf(t, a, "INBOX")
	first, read := true, 0
	err = m.Fetch(ctx, imap.UIDRange(1, 100), &imap.FetchItems{Sections: []imap.Section{{}}}, func(msg *mailbox.Message) error {
		if first {
			first = false
			for range 2 {
				if err := a.maintain(ctx); err != nil {
					return err
				}
				fs.pass(2 * sweepAge)
			}
			if err := a.maintain(ctx); err != nil {
				return err
			}
		}
		text, err := io.ReadAll(msg.Sections[0].Body)
		if !strings.HasSuffix(string(text), "yyy") {
			t.Errorf("UID %d: read %d bytes", msg.UID, len(text))
		}
		read++
		return err
	})
	if err != nil || read != 20 {
		t.Fatalf("fetched %d messages: %v", read, err)
	}
	if n := fs.logBytes(); n > 400<<10 { // 160 kB live; nearly a segment may be dead
		t.Errorf("the log has %d bytes", n)
	}
	if got := contentsOf(t, a, "INBOX"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := check(fs, "/mail", t.Output()); err != nil {
		t.Error(err)
	}
}

// A damaged message keeps its segment; the other messages stay readable.
func TestRewriteKeepsDamaged(t *testing.T) {
	ctx := context.Background()
	fs, _, a := bulk(t, 30)
	m, err := a.Open(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	a.mu.RLock()
	at := a.st.blobs.list[4].place() // of UID 5, which stays
	name := a.segs[at.seg]
	a.mu.RUnlock()
	fs.names["/mail/"+name.String()].data[at.off+3000] ^= 1
	expungeMost(t, m)
	a.background.Wait()
	for range 4 {
		if err := a.maintain(ctx); err != nil {
			t.Fatal(err)
		}
		fs.pass(2 * sweepAge)
	}
	if fs.names["/mail/"+name.String()] == nil {
		t.Error("the damaged segment was removed")
	}
	status, err := a.Status(ctx, "INBOX", imap.StatusMessages)
	if err != nil || status.Messages != 6 {
		t.Errorf("status: %+v, %v", status, err)
	}
}

// An account that is opened often for one message does not gather files.
func TestFewFiles(t *testing.T) {
	fs := newMemFS()
	o := testOptions(t)
	o.FS = fs
	for i := range 60 {
		fs.pass(sweepAge)
		s := New(o)
		a := mustOpen(t, s, "/mail", owner)
		mustAppend(t, a, "INBOX", i)
		a.background.Wait()
		a.Close() //nolint:errcheck // never fails
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(fs.files(func(string) bool { return true })); n > 30 {
		t.Errorf("%d files", n)
	}
	if err := check(fs, "/mail", t.Output()); err != nil {
		t.Error(err)
	}
}

// A segment stays while a message is in it, though it has no bytes.
func TestEmptyMessageStays(t *testing.T) {
	ctx := context.Background()
	_, s, a := bulk(t, 0)
	if _, err := a.Append(ctx, "INBOX", mailbox.One(&mailbox.NewMessage{Body: strings.NewReader("")})); err != nil {
		t.Fatal(err)
	}
	want := contentsOf(t, a, "INBOX")
	if err := a.submit(ctx, &txn{alone: true, run: a.rollOver}); err != nil {
		t.Fatal(err)
	}
	if err := a.fold(ctx); err != nil {
		t.Fatal(err)
	}
	if got := contentsOf(t, a, "INBOX"); got != want {
		t.Errorf("after a fold: %s\nbefore: %s", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

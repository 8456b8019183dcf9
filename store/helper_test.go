package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// mustOpen opens alice's mail in dir as v sees it, and closes it with the test.
func mustOpen(t testing.TB, s *Store, dir string, v View) *Session {
	t.Helper()
	a, err := s.Open(context.Background(), "alice", dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close() //nolint:errcheck // the session has its own reference
	session := a.As(v)
	t.Cleanup(func() { session.Close() }) //nolint:errcheck // never fails
	return session
}

var owner = View{Acting: "alice"}

// checkDir fails the test if the account in dir is not sound.
func checkDir(t testing.TB, dir string) {
	t.Helper()
	var out bytes.Buffer
	if err := Check(dir, &out); err != nil {
		t.Errorf("check: %v\n%s", err, out.String())
	}
}

// mail makes a message that can be told from others by n.
func mail(n int) string {
	return fmt.Sprintf("From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: message %d\r\nDate: Mon, 1 Jan 2024 10:00:00 +0100\r\n\r\nThis is number %d.\r\n%s", n, n, strings.Repeat("x", n%50))
}

func newMail(n int, flags ...imap.Flag) mailbox.NextMessage {
	text := mail(n)
	return mailbox.One(&mailbox.NewMessage{Flags: flags, Size: int64(len(text)), Body: strings.NewReader(text)})
}

func mustAppend(t testing.TB, a mailbox.Account, name string, n int, flags ...imap.Flag) imap.UID {
	t.Helper()
	data, err := a.Append(context.Background(), name, newMail(n, flags...))
	if err != nil {
		t.Fatal(err)
	}
	return data.UIDs.Min()
}

// contentsOf describes all that a session can see of a mailbox.
func contentsOf(t testing.TB, a mailbox.Account, name string) string {
	t.Helper()
	ctx := context.Background()
	m, err := a.Open(ctx, name, true)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close() //nolint:errcheck // never fails
	var out strings.Builder
	info := m.Info()
	fmt.Fprintf(&out, "%s uidvalidity=%d uidnext=%d uids=%s\n", name, info.UIDValidity, info.UIDNext, info.UIDs)
	items := &imap.FetchItems{Flags: true, Size: true, InternalDate: true, Envelope: true, Sections: []imap.Section{{}}}
	err = m.Fetch(ctx, imap.UIDRange(1, 1<<32-1), items, func(m *mailbox.Message) error {
		body, err := io.ReadAll(m.Sections[0].Body)
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%d %v %d %s %08x %08x\n", m.UID, m.Flags, m.Size, m.InternalDate.UTC(), checksum(body), checksum(m.Envelope))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// standstill has the leader of a's changes wait: what comes meanwhile queues up, as
// queued waits for, and is done together after release.
func standstill(t testing.TB, a *Session) (queued func(n int), release func()) {
	t.Helper()
	leads, released := make(chan struct{}), make(chan struct{})
	go a.submit(context.Background(), &txn{alone: true, run: func() error { close(leads); <-released; return nil }}) //nolint:errcheck // returns nil
	<-leads
	queued = func(n int) {
		for waiting := 0; waiting < n; {
			runtime.Gosched()
			a.queueMu.Lock()
			waiting = len(a.queue)
			a.queueMu.Unlock()
		}
	}
	return queued, func() { close(released) }
}

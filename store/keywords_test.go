package store

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

func keywords(from, n int) (flags []imap.Flag) {
	for i := range n {
		flags = append(flags, imap.Flag(fmt.Sprint("k", from+i)))
	}
	return flags
}

// A message with more keywords than records may hold would make its mailbox
// unreadable. Deliveries that are written together don't see each other's.
func TestKeywordsOfDeliveriesAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := New(testOptions(t))
	a := mustOpen(t, s, dir, owner)
	queued, release := standstill(t, a)
	var codes [3]imap.Code
	var all sync.WaitGroup
	for n := range codes {
		all.Go(func() {
			_, err := a.Append(t.Context(), "INBOX", newMail(n, keywords(100*n, 100)...))
			codes[n] = imap.CodeOf(err)
		})
		queued(n + 1) // in this order
	}
	release()
	all.Wait()
	if codes != [...]imap.Code{imap.CodeNone, imap.CodeNone, imap.CodeLimit} {
		t.Errorf("answers %q", codes)
	}
	m, err := a.Open(t.Context(), "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		_, _ = m.Store(t.Context(), imap.UIDRange(1, 1), mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: keywords(100*n, 100), Silent: true}, nil)
	}
	before := contentsOf(t, a, "INBOX")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkDir(t, dir)
	s = New(testOptions(t))
	if after := contentsOf(t, mustOpen(t, s, dir, owner), "INBOX"); after != before {
		t.Errorf("before\n%safter\n%s", before, after)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// One keyword of many messages is one.
func TestKeywordOfManyMessages(t *testing.T) {
	s := New(testOptions(t))
	a := mustOpen(t, s, t.TempDir(), owner)
	left := maxKeywords + 1
	_, err := a.Append(t.Context(), "INBOX", func() (*mailbox.NewMessage, error) {
		if left--; left < 0 {
			return nil, io.EOF
		}
		return &mailbox.NewMessage{Flags: []imap.Flag{"$Label1"}, Size: 4, Body: strings.NewReader("a: b")}, nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

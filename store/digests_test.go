package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// folded is alice's mail on a memFS with n messages in INBOX, folded.
func folded(t *testing.T, n int) (*memFS, *Store, *Session) {
	t.Helper()
	fs := newMemFS()
	s := New(Options{FS: fs, Linger: -1})
	a := mustOpen(t, s, "/mail", owner)
	for i := range n {
		mustAppend(t, a, "INBOX", i+1)
	}
	if err := a.fold(context.Background()); err != nil {
		t.Fatal(err)
	}
	return fs, s, a
}

// envelopes fetches what digests hold of some messages.
func envelopes(a *Session, uids imap.UIDSet) (map[imap.UID]string, error) {
	m, err := a.Open(context.Background(), "INBOX", true)
	if err != nil {
		return nil, err
	}
	defer m.Close() //nolint:errcheck // never fails
	found := map[imap.UID]string{}
	items := &imap.FetchItems{Envelope: true, BodyStructure: true, Body: true}
	err = m.Fetch(context.Background(), uids, items, func(m *mailbox.Message) error {
		found[m.UID] = fmt.Sprintf("%s %s %s", m.Envelope, m.BodyStructure, m.Body)
		return nil
	})
	return found, err
}

var allUIDs = imap.UIDRange(1, 1<<32-1)

// ofMessage says that an envelope is that of mail(n).
func ofMessage(text string, n int) bool {
	return strings.Contains(text, fmt.Sprintf("\"message %d\"", n))
}

// After a fold FETCH of many messages does not read the log: here it can't.
func TestDigestFile(t *testing.T) {
	fs, _, a := folded(t, 300)
	for _, name := range filesWith(t, fs, "."+kindLog) {
		data := fs.names[name].data
		clear(data[headerLen:])
	}
	for _, uids := range []imap.UIDSet{allUIDs, imap.UIDRange(200, 250)} {
		got, err := envelopes(a, uids)
		if err != nil {
			t.Fatal(err)
		}
		for uid := range uids.Intersect(imap.UIDRange(1, 300)).All() {
			if !ofMessage(got[uid], int(uid)) {
				t.Errorf("UID %d: %q", uid, got[uid])
			}
		}
	}
	// A few messages are not worth it: what the log has of them is lost.
	if _, err := envelopes(a, imap.UIDRange(7, 8)); imap.CodeOf(err) != imap.CodeCorruption {
		t.Errorf("a few: %v", err)
	}
}

// Whatever happens to a digest file, FETCH gives the same, and Check is content.
// The next fold of the mailbox writes it anew.
func TestDigestFileSpoiled(t *testing.T) {
	fs, _, a := folded(t, 300)
	want, err := envelopes(a, allUIDs)
	if err != nil || len(want) != 300 {
		t.Fatal(len(want), err)
	}
	file := filesWith(t, fs, "."+kindDigest)[0]
	whole := bytes.Clone(fs.names[file].data)
	harms := map[string]func() []byte{
		"empty":  func() []byte { return nil },
		"zeros":  func() []byte { return make([]byte, len(whole)) },
		"header": func() []byte { return whole[:headerLen:headerLen] },
		"longer": func() []byte { return append(bytes.Clone(whole), whole...) },
	}
	for i := range 12 {
		at := i * len(whole) / 12
		harms[fmt.Sprint("cut at ", at)] = func() []byte { return whole[:at:at] }
		harms[fmt.Sprint("flip at ", at)] = func() []byte {
			data := bytes.Clone(whole)
			data[at] ^= 0x10
			return data
		}
	}
	for name, harm := range harms {
		fs.mu.Lock()
		fs.names[file].data = harm()
		fs.mu.Unlock()
		got, err := envelopes(a, allUIDs)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %d messages, %v", name, len(got), err)
		}
		if err := check(fs, "/mail", t.Output()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	fs.mu.Lock()
	delete(fs.names, file)
	fs.mu.Unlock()
	if got, err := envelopes(a, allUIDs); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("removed: %d messages, %v", len(got), err)
	}
	mustAppend(t, a, "INBOX", 301)
	if err := a.fold(context.Background()); err != nil {
		t.Fatal(err)
	}
	entry := a.man.Digests[0]
	if fs.names["/mail/"+entry.Name] == nil || entry.Count != 301 {
		t.Errorf("%+v after the fold", entry)
	}
}

// TestDigestFileModel delivers, expunges, folds, rewrites and opens anew at
// random, with power losses, and asks for parts of the mailbox each time.
func TestDigestFileModel(t *testing.T) {
	for seed := range 4 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(uint64(seed), 9))
			fs := newMemFS()
			o := Options{FS: fs, Linger: -1, limits: limits{segment: 16 << 10, foldBytes: 1 << 40, foldRecords: 1 << 30, digests: 40}}
			s := New(o)
			a := mustOpen(t, s, "/mail", owner)
			model := map[imap.UID]int{}
			next := 0
			for range 40 {
				switch rnd.IntN(6) {
				case 0, 1:
					for range rnd.IntN(80) {
						next++
						model[mustAppend(t, a, "INBOX", next)] = next
					}
				case 2:
					first := imap.UID(1 + rnd.IntN(next+1))
					gone := imap.UIDRange(first, first+imap.UID(rnd.IntN(60)))
					expunge(t, a, gone)
					for uid := range gone.All() {
						delete(model, uid)
					}
				case 3, 4:
					maintainNow(t, a)
				case 5:
					fs.mu.Lock()
					fs.freezeAt = 1
					fs.mu.Unlock()
					_ = s.Close()
					fs.crash(rnd, rnd.IntN(2) == 0)
					s = New(o)
					a = mustOpen(t, s, "/mail", owner)
				}
				uids := allUIDs
				if rnd.IntN(2) == 0 {
					first := imap.UID(1 + rnd.IntN(next+1))
					uids = imap.UIDRange(first, first+imap.UID(rnd.IntN(100)))
				}
				compareEnvelopes(t, a, model, uids)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := check(fs, "/mail", t.Output()); err != nil {
				t.Error(err)
			}
		})
	}
}

// maintainNow does what otherwise the log's growth asks for, as the only one.
func maintainNow(t *testing.T, a *Session) {
	t.Helper()
	ctx := context.Background()
	a.background.Wait()
	if err := a.submit(ctx, &txn{alone: true, run: func() error { a.folding = true; return nil }}); err != nil {
		t.Fatal(err)
	}
	if err := a.maintain(ctx); err != nil {
		t.Fatal(err)
	}
	a.maintained()
}

func expunge(t *testing.T, a *Session, uids imap.UIDSet) {
	t.Helper()
	ctx := context.Background()
	m, err := a.Open(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close() //nolint:errcheck // never fails
	deleted := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}
	if _, err := m.Store(ctx, uids, deleted, nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Expunge(ctx, uids, false); err != nil {
		t.Fatal(err)
	}
}

func compareEnvelopes(t *testing.T, a *Session, model map[imap.UID]int, uids imap.UIDSet) {
	t.Helper()
	got, err := envelopes(a, uids)
	if err != nil {
		t.Fatal(err)
	}
	for uid, n := range model {
		if uids.Contains(uid) && !ofMessage(got[uid], n) {
			t.Fatalf("UID %d: got %q, want message %d", uid, got[uid], n)
		}
		delete(got, uid)
	}
	if len(got) > 0 {
		t.Fatalf("expunged messages are there: %v", got)
	}
}

// A digest file that lacks a few new messages stays; one that lacks many is
// replaced, and one of a mailbox that is gone is removed.
func TestDigestFilesReplaced(t *testing.T) {
	ctx := context.Background()
	fs, s, a := folded(t, 200)
	first := a.man.Digests[0]
	fold := func(from, to int) {
		t.Helper()
		for n := from; n < to; n++ {
			mustAppend(t, a, "INBOX", n)
		}
		if err := a.fold(ctx); err != nil {
			t.Fatal(err)
		}
	}
	fold(201, 240)
	if now := a.man.Digests[0]; now != first {
		t.Errorf("%+v after 39 more messages, was %+v", now, first)
	}
	fold(240, 260)
	if now := a.man.Digests[0]; now == first || now.Count != 259 {
		t.Errorf("%+v after 59 more messages", now)
	}
	expunge(t, a, imap.UIDRange(1, 200))
	fold(0, 0)
	if len(a.man.Digests) != 0 {
		t.Errorf("%+v for 59 messages", a.man.Digests)
	}
	fs.pass(2 * sweepAge)
	fold(0, 0)
	if err := a.disk.sweep(a.epoch, a.incarnation); err != nil {
		t.Fatal(err)
	}
	if names := fs.files(func(name string) bool { return strings.HasSuffix(name, "."+kindDigest) }); len(names) > 0 {
		t.Errorf("left are %v", names)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A digest that verifies and is another message's is found by Check.
func TestCheckDigestFile(t *testing.T) {
	fs, s, a := folded(t, 200)
	job := &digestJob{box: a.st.names["INBOX"].id, name: a.newName(kindDigest)}
	for uid := uint32(1); uid <= 200; uid++ {
		job.rows = append(job.rows, digestRow{uid: uid, blob: a.st.names["INBOX"].rows[200-uid].blob})
	}
	entry, err := a.writeDigestFile(context.Background(), job)
	if err != nil {
		t.Fatal(err)
	}
	a.man.Digests = []digestEntry{entry}
	a.setSegments()
	if got, err := envelopes(a, allUIDs); err != nil || !ofMessage(got[1], 1) {
		t.Errorf("UID 1: %q, %v", got[1], err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := check(fs, "/mail", t.Output()); !errors.Is(err, errCheck) {
		t.Errorf("check: %v", err)
	}
}

package store

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// staleFS is a memFS whose files go away under those who have them open, as on
// a network file system.
type staleFS struct {
	*memFS
	age atomic.Int64 // files opened before are gone
}

type staleFile struct {
	File
	fs   *staleFS
	born int64
}

func (s *staleFS) Open(name string) (File, error) {
	f, err := s.memFS.Open(name)
	if err != nil {
		return nil, err
	}
	return &staleFile{f, s, s.age.Load()}, nil
}

func (f *staleFile) ReadAt(b []byte, off int64) (int, error) {
	if f.born < f.fs.age.Load() {
		return 0, syscall.ESTALE
	}
	return f.File.ReadAt(b, off)
}

// TestStaleFiles reads a large message slowly while its segment is rewritten and
// goes away. Reading goes on at the new place, once for a message.
func TestStaleFiles(t *testing.T) {
	ctx := context.Background()
	fs := &staleFS{memFS: newMemFS()}
	o := testOptions(t)
	o.FS, o.Log, o.limits = fs, nil, limits{segment: 100 << 10, foldBytes: 1 << 40, foldRecords: 1 << 30}
	s := New(o)
	a := mustOpen(t, s, "/mail", owner)
	text := mail(1) + strings.Repeat("All work and no play.\r\n", 20_000)
	for _, text := range []string{text, mail(2), text} {
		if _, err := a.Append(ctx, "INBOX", mailbox.One(&mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)})); err != nil {
			t.Fatal(err)
		}
	}
	m, err := a.Open(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	a.background.Wait()
	read := func(times int) (string, error) {
		var got strings.Builder
		err := m.Fetch(ctx, imap.UIDRange(1, 1), &imap.FetchItems{Sections: []imap.Section{{}}}, func(msg *mailbox.Message) error {
			for range times {
				if _, err := io.CopyN(&got, msg.Sections[0].Body, 150<<10); err != nil {
					return err
				}
				if err := a.moveAll(ctx); err != nil {
					return err
				}
				fs.age.Add(1)
			}
			_, err := io.Copy(&got, msg.Sections[0].Body)
			return err
		})
		return got.String(), err
	}
	before := a.placeOf(t, 1)
	got, err := read(1)
	if err != nil || got != text {
		t.Errorf("%d of %d bytes, %v", len(got), len(text), err)
	}
	if after := a.placeOf(t, 1); after.seg == before.seg {
		t.Errorf("the message was not moved: it is in segment %d", after.seg)
	}
	if _, err := read(2); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("a segment that goes away again and again: %v", err)
	}
	if got, err := read(0); err != nil || got != text {
		t.Errorf("after that: %d of %d bytes, %v", len(got), len(text), err)
	}
}

// moveAll rewrites every segment that the folded state covers, and has it go
// away at once, without the ten minutes.
func (a *account) moveAll(ctx context.Context) error {
	if err := a.fold(ctx); err != nil {
		return err
	}
	var all []victim
	err := a.submit(ctx, &txn{alone: true, run: func() error {
		for _, entry := range a.man.Segments[:a.man.covered()] {
			name, err := parseFileName(entry.Name)
			if err != nil {
				return err
			}
			all = append(all, victim{name: name, sealed: entry.Sealed})
		}
		return nil
	}})
	if err != nil {
		return err
	}
	for _, v := range all {
		if err := a.rewrite(ctx, v); err != nil {
			return err
		}
	}
	if err := a.fold(ctx); err != nil {
		return err
	}
	for _, v := range all {
		if err := a.disk.fs.Remove(a.disk.path(v.name.String())); err != nil {
			return err
		}
	}
	return nil
}

// placeOf is where the content of a message in INBOX lies.
func (a *account) placeOf(t *testing.T, uid uint32) place {
	t.Helper()
	a.mu.RLock()
	defer a.mu.RUnlock()
	b := a.st.names[imap.Inbox]
	i, found := b.find(uid)
	if !found {
		t.Fatalf("no message %d", uid)
	}
	return a.st.blobs.find(b.rows[i].blob).place()
}

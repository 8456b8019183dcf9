package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// copyFiles is the file system as it is now, for another process.
func (m *memFS) copyFiles() *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	to := newMemFS()
	for name, node := range m.names {
		to.names[name] = &memNode{data: bytes.Clone(node.data)}
	}
	return to
}

// filesWith are the files whose name ends in suffix, of which there is at least one.
func filesWith(t *testing.T, fs *memFS, suffix string) []string {
	t.Helper()
	names := fs.files(func(name string) bool { return strings.HasSuffix(name, suffix) })
	if len(names) == 0 {
		t.Fatal("no file ends in", suffix)
	}
	return names
}

// refused fails the test unless the account is UNAVAILABLE, the log names user
// and file, nothing is changed, and Check fails.
func refused(t *testing.T, fs *memFS, file string) {
	t.Helper()
	before := len(fs.files(func(string) bool { return true }))
	var text bytes.Buffer
	s := New(Options{FS: fs, Linger: -1, Log: slog.New(slog.NewTextHandler(&text, nil))})
	for range 2 {
		if _, err := s.Open(context.Background(), "alice", "/mail"); imap.CodeOf(err) != imap.CodeUnavailable {
			t.Fatalf("open: %v", err)
		}
	}
	name := strings.TrimPrefix(file, "/mail/")
	if got := text.String(); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, "user=alice") || !strings.Contains(got, name) {
		t.Errorf("log says %q", got)
	}
	if after := len(fs.files(func(string) bool { return true })); after > before+1 { // the lock is no change
		t.Errorf("%d files, there were %d", after, before)
	}
	var out bytes.Buffer
	if err := check(fs, "/mail", &out); !errors.Is(err, errCheck) || !strings.Contains(out.String(), name) {
		t.Errorf("check: %v\n%s", err, out.String())
	}
}

// Once a delivery was acknowledged, its segment is missed when it is gone, also
// if the process was killed before it wrote another manifest.
func TestOpenSegmentLost(t *testing.T) {
	fs := newMemFS()
	a := mustOpen(t, New(Options{FS: fs}), "/mail", owner)
	uid := mustAppend(t, a, "INBOX", 1)
	file := filesWith(t, fs, "."+kindLog)[0]
	whole := fs.copyFiles()
	for _, c := range []struct {
		name string
		harm func(*memFS)
	}{
		{"removed", func(fs *memFS) { delete(fs.names, file) }},
		{"empty", func(fs *memFS) { fs.names[file].data = nil }},
		{"half a header", func(fs *memFS) { fs.names[file].data = fs.names[file].data[:headerLen/2] }},
		{"only a header", func(fs *memFS) { fs.names[file].data = fs.names[file].data[:headerLen] }},
		{"zeros for a header", func(fs *memFS) { clear(fs.names[file].data[:headerLen]) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			harmed := whole.copyFiles()
			c.harm(harmed)
			refused(t, harmed, file)
			// With the file back in its place, all goes on.
			harmed.names[file] = &memNode{data: bytes.Clone(whole.names[file].data)}
			b := mustOpen(t, New(Options{FS: harmed}), "/mail", owner)
			if next := mustAppend(t, b, "INBOX", 2); next <= uid {
				t.Errorf("UID %d after %d", next, uid)
			}
		})
	}
}

// Zeros where synced records were are told of, and the bytes kept.
func TestOpenSegmentZeroed(t *testing.T) {
	fs := newMemFS()
	a := mustOpen(t, New(Options{FS: fs}), "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	if err := a.fold(context.Background()); err != nil {
		t.Fatal(err)
	}
	file := filesWith(t, fs, "."+kindLog)[0]
	killed := fs.copyFiles()
	killed.names[file].data = append(killed.names[file].data[:headerLen], make([]byte, len(fs.names[file].data)-headerLen)...)
	size := len(killed.names[file].data)
	if err := check(killed, "/mail", t.Output()); !errors.Is(err, errCheck) {
		t.Errorf("check: %v", err)
	}
	b := mustOpen(t, New(Options{FS: killed}), "/mail", owner)
	if uid := mustAppend(t, b, "INBOX", 2); uid != 2 {
		t.Errorf("next UID is %d", uid)
	}
	if len(killed.names[file].data) != size {
		t.Error("the segment was changed")
	}
}

// A segment into which nothing durable went may be missing: a process that only
// read, or was killed before its first sync.
func TestOpenSegmentNotBegun(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	s := New(Options{FS: fs, Linger: -1})
	a := mustOpen(t, s, "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	manifests := len(filesWith(t, fs, "")) // the lock apart
	logs := len(filesWith(t, fs, "."+kindLog))
	b := mustOpen(t, New(Options{FS: fs}), "/mail", owner)
	if n := len(filesWith(t, fs, "")); n != manifests+1 || len(filesWith(t, fs, "."+kindLog)) != logs {
		t.Errorf("reading made %d files", n-manifests)
	}
	if b.man.Segments[len(b.man.Segments)-1].Begun != 0 {
		t.Error("begun without a write")
	}
	m, err := b.Open(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	name := "/mail/" + b.writer.name.String()
	fs.mu.Lock()
	fs.failOp = func(op, _ string) (int, error) {
		if op == "sync" {
			return 0, syscall.EIO // it has not come to that when the process is killed
		}
		return 0, nil
	}
	fs.mu.Unlock()
	flag := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}, Silent: true}
	if _, err := m.Store(ctx, imap.UIDRange(1, 1), flag, nil); err != nil {
		t.Fatal(err)
	}
	killed := fs.copyFiles()
	if killed.names[name] == nil {
		t.Fatal("the flag change was not written")
	}
	delete(killed.names, name) // its name was not durable yet
	c := mustOpen(t, New(Options{FS: killed}), "/mail", owner)
	if uid := mustAppend(t, c, "INBOX", 2); uid != 2 {
		t.Errorf("next UID is %d", uid)
	}
	if err := check(killed, "/mail", t.Output()); err != nil {
		t.Error(err)
	}
}

// A sealed segment that a replay needs is missed as well; of one that is folded
// the messages are lost, which is told at every open, and the rest is served.
func TestSealedSegmentLost(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	s := New(Options{FS: fs, Linger: -1})
	a := mustOpen(t, s, "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file := filesWith(t, fs, "."+kindLog)[0]
	lost := fs.copyFiles()
	delete(lost.names, file)
	refused(t, lost, file)

	s = New(Options{FS: fs, Linger: -1})
	a = mustOpen(t, s, "/mail", owner)
	uid := mustAppend(t, a, "INBOX", 2)
	if err := a.fold(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	delete(fs.names, file)
	var text bytes.Buffer
	b := mustOpen(t, New(Options{FS: fs, Log: slog.New(slog.NewTextHandler(&text, nil))}), "/mail", owner)
	if !strings.Contains(text.String(), strings.TrimPrefix(file, "/mail/")+" is missing") {
		t.Errorf("log says %q", text.String())
	}
	if err := fetchBody(b, uid); err != nil {
		t.Error(err)
	}
	if err := fetchBody(b, 1); err == nil {
		t.Error("a lost message was fetched")
	}
	if next := mustAppend(t, b, "INBOX", 3); next <= uid {
		t.Errorf("UID %d after %d", next, uid)
	}
	if err := check(fs, "/mail", t.Output()); !errors.Is(err, errCheck) {
		t.Errorf("check: %v", err)
	}
}

// A commit mark whose transaction can't be where it says is damage.
func TestCommitMarkDoesNotFit(t *testing.T) {
	for _, start := range []int64{0, 1 << 40} {
		fs := newMemFS()
		a := mustOpen(t, New(Options{FS: fs}), "/mail", owner)
		mustAppend(t, a, "INBOX", 1)
		w := a.writer
		if err := w.appendRecord(&recCommit{durable: w.synced, start: start}, nil); err != nil {
			t.Fatal(err)
		}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
		killed := fs.copyFiles()
		var out bytes.Buffer
		if err := check(killed, "/mail", &out); !errors.Is(err, errCheck) || !strings.Contains(out.String(), "are damaged") {
			t.Errorf("start %d: check: %v\n%s", start, err, out.String())
		}
		var text bytes.Buffer
		b := mustOpen(t, New(Options{FS: killed, Log: slog.New(slog.NewTextHandler(&text, nil))}), "/mail", owner)
		if !strings.Contains(text.String(), "log is damaged") {
			t.Errorf("start %d: log says %q", start, text.String())
		}
		if err := fetchBody(b, 1); err != nil {
			t.Error(err)
		}
	}
}

// What a newer program wrote is refused, with a line that says so.
func TestNewerFormat(t *testing.T) {
	fs := newMemFS()
	s := New(Options{FS: fs, Linger: -1})
	a := mustOpen(t, s, "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	if err := a.fold(context.Background()); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, a, "INBOX", 2)
	header := func(data []byte) []byte {
		binary.LittleEndian.PutUint16(data[8:], formatVersion+1)
		binary.LittleEndian.PutUint32(data[60:], checksum(data[:60]))
		return data
	}
	newest := "/mail/" + manifestName(a.man.Number)
	for file, change := range map[string]func([]byte) []byte{
		filesWith(t, fs, "."+kindLog)[0]:   header,
		filesWith(t, fs, "."+kindTable)[0]: header,
		newest: func(data []byte) []byte {
			return bytes.Replace(data, []byte(manifestMagic+" 1 "), []byte(manifestMagic+" 2 "), 1)
		},
	} {
		newer := fs.copyFiles()
		newer.names[file].data = change(newer.names[file].data)
		_, err := openAccount(New(Options{FS: newer}), &slot{dir: "/mail"}, "alice", &fence{})
		if err == nil || !strings.Contains(err.Error(), "format version 2, this program knows up to 1: it was written by a newer Roost") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// An account that is made is told of: below an unmounted filesystem all look new.
func TestCreationIsTold(t *testing.T) {
	var text bytes.Buffer
	s := New(Options{FS: newMemFS(), Linger: -1, Log: slog.New(slog.NewTextHandler(&text, nil))})
	for range 2 {
		a := mustOpen(t, s, "/mail", owner)
		a.Close() //nolint:errcheck // never fails
	}
	if got := text.String(); strings.Count(got, `level=INFO msg="account created" user=alice dir=/mail`) != 1 {
		t.Errorf("log says %q", got)
	}
}

package store

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// fuzzAccount is a closed account with a folded table and a tail.
func fuzzAccount(t testing.TB) *memFS {
	t.Helper()
	fs := newMemFS()
	o := Options{FS: fs, Linger: -1, limits: limits{segment: 1 << 20, foldBytes: 1 << 30, foldRecords: 1 << 30}, ExpungeKeep: time.Hour}
	s := New(o)
	a, err := s.Open(context.Background(), "alice", "/mail")
	if err != nil {
		t.Fatal(err)
	}
	session := a.As(View{Acting: "bob", PrivateFlags: []imap.Flag{imap.FlagSeen, "key"}, PrivateSeen: true})
	for n := range 6 {
		mustAppend(t, session, "INBOX", n, imap.FlagSeen, imap.FlagDeleted, "key")
	}
	m, err := session.Open(context.Background(), "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	mustMark(t, session, partnerWork, mailbox.MarkChange{UIDValidity: 1, Set: marked(imap.FlagSeen, 1, 3, 4)})
	for uid := imap.UID(1); uid < 4; uid++ {
		if err := m.Expunge(context.Background(), imap.UIDSetOf(uid), false); err != nil {
			t.Fatal(err)
		}
		for _, mode := range []string{"shared", "private"} {
			entry := imap.MetadataEntry{Name: imap.MetadataPrivateFlags, Value: []byte(mode)}
			if err := session.SetMetadata(context.Background(), "INBOX", []imap.MetadataEntry{entry}); err != nil {
				t.Fatal(err)
			}
			mustStore(t, session, imap.UIDSetOf(5), mailbox.FlagsReplace, imap.FlagSeen, "key")
		}
		if uid == 2 {
			if err := a.fold(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.Close() //nolint:errcheck // never fails
	for range 2 {
		_, err := session.ForgetLost(context.Background(), 0, func(context.Context, mailbox.Standing, string) (bool, error) { return false, nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	mustMark(t, session, partnerWork, mailbox.MarkChange{UIDValidity: 1, Clear: marked(imap.FlagSeen, 4)})
	if err := session.MoveMarks(context.Background(), partnerWork, "Play"); err != nil {
		t.Fatal(err)
	}
	session.Close() //nolint:errcheck // never fails
	a.Close()       //nolint:errcheck // never fails
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return fs
}

// files are the names of the files of one kind.
func (m *memFS) files(match func(string) bool) []string {
	var names []string
	entries, _ := m.List("/mail")
	for _, e := range entries {
		if match(e.Name()) {
			names = append(names, "/mail/"+e.Name())
		}
	}
	return names
}

// FuzzReplay puts arbitrary bytes into a file of an account and opens it. Any
// answer will do, but for a panic.
func FuzzReplay(f *testing.F) {
	base := fuzzAccount(f)
	kinds := []func(string) bool{
		func(n string) bool { p, err := parseFileName(n); return err == nil && p.kind == kindLog },
		func(n string) bool { p, err := parseFileName(n); return err == nil && p.kind == kindTable },
		func(n string) bool { _, is := parseManifestName(n); return is },
	}
	for k, match := range kinds {
		for _, name := range base.files(match) {
			f.Add(uint8(k), uint16(headerLen), base.names[name].data)
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, at uint16, data []byte) {
		fs := newMemFS()
		for name, node := range base.names {
			fs.names[name] = &memNode{data: append([]byte(nil), node.data...)}
		}
		for _, name := range fs.files(kinds[int(kind)%len(kinds)]) {
			node := fs.names[name]
			node.data = append(node.data[:min(int(at), len(node.data))], data...)
		}
		s := New(Options{FS: fs, Linger: -1})
		a, err := s.Open(context.Background(), "alice", "/mail")
		if err == nil {
			session := a.As(owner)
			_, _ = session.Status(context.Background(), "INBOX", imap.StatusMessages|imap.StatusRecent)
			if m, err := session.Open(context.Background(), "INBOX", false); err == nil {
				_, _ = m.Vanished(context.Background(), imap.UIDRange(1, 1<<32-1), 1)
				_, _ = m.Search(context.Background(), &imap.SearchKey{Op: imap.SearchText, Text: "x"})
			}
		}
		_ = s.Close()
	})
}

// FuzzDecode reads arbitrary bytes as what has passed its checksum.
func FuzzDecode(f *testing.F) {
	base := fuzzAccount(f)
	m, err := (&disk{fs: base, dir: "/mail"}).newestManifest()
	if err != nil {
		f.Fatal(err)
	}
	text, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(100), text)
	var index encoder
	encodeDigestIndex(&index, 1, []digestMark{{uid: 1, off: headerLen}, {uid: 70, off: 9000}})
	f.Add(uint8(103), index.buf)
	l := &loader{disk: &disk{fs: base, dir: "/mail", pins: &pins{}}, log: slog.New(slog.DiscardHandler)}
	if err := l.load(m); err != nil {
		f.Fatal(err)
	}
	tables := &account{disk: *l.disk, id: l.id, names: l.names}
	state, err := tables.readTableRecord(*m.State, typeState)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(101), state)
	table, err := tables.readTableRecord(l.st.names["INBOX"].table, typeTable)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(102), table)
	for kind := range 100 {
		if r, err := newRecord(recordType(kind)); err == nil {
			var e encoder
			r.encode(&e)
			f.Add(uint8(kind), e.buf)
		}
	}
	f.Fuzz(func(_ *testing.T, kind uint8, data []byte) {
		switch kind {
		case 100:
			if m, err := decodeManifest(data); err == nil {
				_, _ = m.fileNames()
			}
		case 101:
			if s, err := decodeState(&decoder{buf: data}); err == nil {
				encodeState(&encoder{}, s, nil)
			}
		case 102:
			if t, err := decodeTable(&decoder{buf: data}, 1); err == nil {
				b := newBox(1, "x")
				b.adopt(t)
				encodeTable(&encoder{}, b)
			}
		case 103:
			if marks, err := decodeDigestIndex(&decoder{buf: data}, 1, 1<<40); err == nil {
				encodeDigestIndex(&encoder{}, 1, marks)
			}
		case 104:
			_ = (&recDigest{}).decode(&decoder{buf: data})
		default:
			r, err := decodeRecord(recordType(kind), data)
			if err != nil {
				return
			}
			s := newState()
			b := newBox(1, "x")
			b.loaded = true
			s.boxes[1], s.names["x"] = b, b
			_ = r.apply(s, place{seg: 1, off: 64})
		}
	})
}

package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
)

// A record that is whole but unknown was written by a newer program. At the end of the log it
// is no tear: nothing is cut off, dropped or repaired, and the error names the version.
func TestNewerRecords(t *testing.T) {
	const kind = recordType(200)
	commit := func(t *testing.T, w *logWriter, start int64) {
		if err := w.appendRecord(&recCommit{durable: w.synced, start: start}, nil); err != nil {
			t.Fatal(err)
		}
	}
	raw := func(t *testing.T, w *logWriter, kind recordType, head []byte) {
		if err := w.appendRaw(kind, head, nil); err != nil {
			t.Fatal(err)
		}
	}
	known := encoder{}
	(&recFlags{box: 1, modseq: 9}).encode(&known)
	for name, write := range map[string]func(t *testing.T, w *logWriter){
		"committed": func(t *testing.T, w *logWriter) {
			start := w.end
			raw(t, w, kind, []byte("of a version to come"))
			commit(t, w, start)
		},
		"not committed by a mark that is known": func(t *testing.T, w *logWriter) { raw(t, w, kind, nil) },
		"a known record with one field more": func(t *testing.T, w *logWriter) {
			start := w.end
			raw(t, w, typeFlags, append(known.buf, 1))
			commit(t, w, start)
		},
		"a commit mark with one field more": func(t *testing.T, w *logWriter) {
			mark := encoder{}
			(&recCommit{durable: w.synced, start: w.end}).encode(&mark)
			raw(t, w, typeCommit, append(mark.buf, 1))
		},
		"a known record with a flag": func(t *testing.T, w *logWriter) {
			start, at := w.end, len(w.buf)
			raw(t, w, typeFlags, known.buf)
			rec := w.buf[at:]
			rec[9] = 1
			binary.LittleEndian.PutUint32(rec[4:], frameSum(w.salt, start, rec, known.buf))
			commit(t, w, start)
		},
		"behind damage": func(t *testing.T, w *logWriter) {
			raw(t, w, typeFlags, known.buf)
			w.buf[len(w.buf)-10] ^= 1
			raw(t, w, kind, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := newMemFS()
			a := mustOpen(t, New(Options{FS: fs, Linger: -1, Version: "7.1"}), "/mail", owner)
			mustAppend(t, a, "INBOX", 1)
			if err := a.submit(context.Background(), &txn{alone: true, run: func() error {
				write(t, a.writer)
				return a.writer.sync()
			}}); err != nil {
				t.Fatal(err)
			}
			newer := fs.copyFiles()
			before := newer.copyFiles()
			refused(t, newer, a.man.Segments[len(a.man.Segments)-1].Name)
			_, err := openAccount(New(Options{FS: newer}), &slot{dir: "/mail"}, "alice", &fence{})
			if !errors.Is(err, errNewer) || !strings.Contains(err.Error(), "was last opened by version 7.1") {
				t.Errorf("open: %v", err)
			}
			if err := Repair(context.Background(), Options{FS: newer}, "alice", "/mail", io.Discard); err == nil {
				t.Error("repaired")
			}
			same := func(a, b *memNode) bool { return bytes.Equal(a.data, b.data) }
			if !maps.EqualFunc(before.names, newer.names, same) {
				t.Error("files have changed")
			}
		})
	}
}

// What stands in a folded state under a tag that is not known would be lost at the next fold.
func TestNewerState(t *testing.T) {
	e := encoder{}
	encodeExtras(&e, []extra{{tag: 99, content: encoder{buf: []byte{1}}}})
	for what, take := range map[string]func(uint64, *decoder){"account": newState().takeExtra, "mailbox": newBox(1, "x").takeExtra} {
		d := decoder{buf: e.buf}
		if decodeExtras(&d, take); !errors.Is(d.end(), errNewer) {
			t.Errorf("%s: %v", what, d.err)
		}
	}
}

// A manifest's field that is not known is passed over, and is gone with the next manifest.
func TestNewerManifest(t *testing.T) {
	fs := newMemFS()
	o := Options{FS: fs, Linger: -1}
	a := mustOpen(t, New(o), "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	want := contentsOf(t, a, "INBOX")
	a.Close() //nolint:errcheck // never fails
	m, err := (&disk{fs: fs, dir: "/mail"}).newestManifest()
	if err != nil {
		t.Fatal(err)
	}
	node := fs.names["/mail/"+manifestName(m.Number)]
	_, body, _ := bytes.Cut(node.data, []byte("\n"))
	body = append([]byte(`{"next": {"of": "a version to come"},`), bytes.TrimPrefix(body, []byte("{"))...)
	body = bytes.Replace(body, []byte(`"name":`), []byte(`"next": [1], "name":`), 1) // of a segment
	node.data = append(fmt.Appendf(nil, "%s %d %08x\n", manifestMagic, formatVersion, checksum(body)), body...)
	if got := contentsOf(t, mustOpen(t, New(o), "/mail", owner), "INBOX"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if m, err = (&disk{fs: fs, dir: "/mail"}).newestManifest(); err != nil {
		t.Fatal(err)
	}
	if got := fs.names["/mail/"+manifestName(m.Number)].data; bytes.Contains(got, []byte(`"next"`)) {
		t.Errorf("what is not understood is passed on: %s", got)
	}
}

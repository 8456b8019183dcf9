package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxtest"
)

func compressing(t testing.TB) Options {
	o := testOptions(t)
	o.CompressLevel = 3
	return o
}

func TestMailboxCompressed(t *testing.T) {
	if testing.Short() {
		t.Skip("TestConformance again")
	}
	mailboxtest.Test(t, func(t *testing.T) mailboxtest.Fixture { return fixture(t, compressing(t)) })
}

// letter is a message of about size bytes: text that gets smaller, or noise that does not.
func letter(n, size int, noise bool) string {
	var b strings.Builder
	b.WriteString(mail(n))
	rnd := rand.New(rand.NewPCG(uint64(n), 5))
	for b.Len() < size {
		if noise {
			b.WriteByte(byte(33 + rnd.IntN(94)))
			continue
		}
		fmt.Fprintf(&b, "Line %d of a letter about the %d. of May\r\n", rnd.IntN(1000), rnd.IntN(31))
	}
	return b.String()
}

func appendText(t testing.TB, a mailbox.Account, text string) {
	t.Helper()
	_, err := a.Append(context.Background(), "INBOX", mailbox.One(&mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}))
	if err != nil {
		t.Fatal(err)
	}
}

// section reads a section of one message.
func section(a *Session, uid imap.UID, s imap.Section) (text string, err error) {
	m, err := a.Open(context.Background(), "INBOX", true)
	if err != nil {
		return "", err
	}
	defer m.Close() //nolint:errcheck // never fails
	err = m.Fetch(context.Background(), imap.UIDRange(uid, uid), &imap.FetchItems{Sections: []imap.Section{s}}, func(m *mailbox.Message) error {
		b, err := io.ReadAll(m.Sections[0].Body)
		text = string(b)
		return err
	})
	return text, err
}

// Messages of all sizes read the same compressed and not: whole, in part, by
// header, in a search; the digests are the same; and a rewrite moves them as they are.
func TestCompressedReadsTheSame(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	o := compressing(t)
	o.FS = fs
	o.limits = limits{segment: 4 << 20, foldBytes: 1 << 40, foldRecords: 1 << 30}
	s := New(o)
	a := mustOpen(t, s, "/mail", owner)
	var texts []string
	plain := 0
	for _, size := range []int{0, 300, 5 << 10, 100 << 10, 128 << 10, 129 << 10, 900 << 10, 3 << 20} {
		for _, noise := range []bool{false, true} {
			text := letter(len(texts)+1, size, noise)
			texts = append(texts, text)
			plain += len(text)
			appendText(t, a, text)
		}
	}
	if n := fs.logBytes(); n > plain*3/4 {
		t.Errorf("%d bytes of mail take %d", plain, n)
	}
	verify := func() {
		t.Helper()
		for i, text := range texts {
			uid := imap.UID(i + 1)
			if got, err := section(a, uid, imap.Section{}); err != nil || got != text {
				t.Fatalf("UID %d: read %d bytes of %d, %v", uid, len(got), len(text), err)
			}
			n := len(text)
			for _, part := range [][2]int{{0, 10}, {n / 2, 5000}, {n - 7, 100}, {n, 5}} {
				want := text[part[0]:min(n, part[0]+part[1])]
				got, err := section(a, uid, imap.Section{Partial: true, Offset: uint64(part[0]), Count: uint64(part[1])})
				if err != nil || got != want {
					t.Fatalf("UID %d, <%d.%d>: %d bytes, %v", uid, part[0], part[1], len(got), err)
				}
			}
			got, err := section(a, uid, imap.Section{Kind: imap.SectionHeaderFields, Fields: []string{"Subject"}})
			if err != nil || got != fmt.Sprintf("Subject: message %d\r\n\r\n", i+1) {
				t.Fatalf("UID %d: header %q, %v", uid, got, err)
			}
		}
		m, err := a.Open(ctx, "INBOX", true)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close() //nolint:errcheck // never fails
		found, err := m.Search(ctx, &imap.SearchKey{Op: imap.SearchText, Text: texts[12][len(texts[12])-60:]})
		if err != nil || !found.UIDs.Contains(13) {
			t.Errorf("search found %s, %v", found.UIDs, err)
		}
	}
	verify()
	other := newMemFS()
	oo := testOptions(t)
	oo.FS = other
	b := mustOpen(t, New(oo), "/mail", owner)
	for _, text := range texts {
		appendText(t, b, text)
	}
	if got, want := mailOf(t, a, "INBOX"), mailOf(t, b, "INBOX"); len(got) != len(want) {
		t.Error("it looks different uncompressed")
	}
	// Moved by a rewrite, with another setting, and read by another process.
	seg := a.writer.name
	if err := a.submit(ctx, &txn{alone: true, run: a.rollOver}); err != nil {
		t.Fatal(err)
	}
	if err := a.rewrite(ctx, victim{name: seg}); err != nil {
		t.Fatal(err)
	}
	if err := a.fold(ctx); err != nil {
		t.Fatal(err)
	}
	verify()
	for seg, live := range a.st.live {
		if stored := a.st.storedLive(seg); stored >= int64(live) || stored < int64(live)/4 {
			t.Errorf("segment %d: %d bytes of messages count as %d", seg, live, stored)
		}
	}
	a.Close() //nolint:errcheck // never fails
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	oo.FS = fs
	s = New(oo)
	a = mustOpen(t, s, "/mail", owner)
	verify()
	if err := errors.Join(s.Close(), check(fs, "/mail", t.Output())); err != nil {
		t.Error(err)
	}
}

// A body that unpacks to something else than its record says is damaged, whoever
// made it, and costs no more memory than a window.
func TestCompressionBombs(t *testing.T) {
	zeros := make([]byte, 64<<20)
	pack := func(b []byte, options ...zstd.EOption) []byte {
		e, err := zstd.NewWriter(nil, options...)
		if err != nil {
			t.Fatal(err)
		}
		return e.EncodeAll(b, nil)
	}
	whole := pack(zeros[:300<<10])
	for _, c := range []struct {
		name string
		body []byte
		size uint32
	}{
		{"much more than it says", pack(zeros), 1000},
		{"a little more, large", pack(zeros[:300<<10]), 299 << 10},
		{"less, small", pack(zeros[:10]), 1000},
		{"less, large", pack(zeros[:200<<10]), 300 << 10},
		{"cut off", whole[:len(whole)-6], 300 << 10},
		{"no frame", []byte("hello"), 1000},
		{"a huge window", pack(zeros[:32<<20], zstd.WithWindowSize(16<<20), zstd.WithSingleSegment(false)), 32 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := newMemFS()
			o := compressing(t)
			o.FS, o.Log = fs, nil
			s := New(o)
			a := mustOpen(t, s, "/mail", owner)
			mustAppend(t, a, "INBOX", 1)
			err := a.submit(context.Background(), &txn{durable: true, build: func(b *builder) error {
				box := b.st.names["INBOX"]
				rec := &recMessage{box: box.id, modseq: b.modseq(), uid: box.nextUID, blob: b.account.next.blob, size: c.size, coding: codingZstd}
				box.nextUID++
				b.account.next.blob++
				digest, err := scanBody(&spool{mem: zeros[:c.size]})
				if err != nil {
					return err
				}
				rec.digest = digest.Append(nil)
				b.addBody(rec, &spool{mem: c.body, size: int64(len(c.body)), sum: checksum(c.body)})
				return nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			mustAppend(t, a, "INBOX", 3)
			m, err := a.Open(context.Background(), "INBOX", true)
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			read := 0
			err = m.Fetch(context.Background(), imap.UIDRange(1, 3), &imap.FetchItems{Sections: []imap.Section{{}}}, func(m *mailbox.Message) error {
				n, err := io.Copy(io.Discard, m.Sections[0].Body)
				if n > int64(c.size) {
					t.Errorf("read %d bytes", n)
				}
				if err == nil {
					read++
				}
				return err
			})
			runtime.ReadMemStats(&after)
			if imap.CodeOf(err) != imap.CodeCorruption {
				t.Errorf("fetch: %v", err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
				t.Errorf("allocated %d bytes", n)
			}
			if got, err := section(a, 3, imap.Section{}); err != nil || got != mail(3) {
				t.Errorf("the next message: %d bytes, %v", len(got), err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := check(fs, "/mail", &out); !errors.Is(err, errCheck) {
				t.Errorf("check: %v\n%s", err, out.String())
			}
		})
	}
}

// FuzzInflate reads arbitrary bytes as a compressed body.
func FuzzInflate(f *testing.F) {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(e.EncodeAll([]byte(letter(1, 2000, false)), nil), uint16(2000))
	f.Add([]byte{}, uint16(0))
	codec := newCodec(0)
	f.Fuzz(func(t *testing.T, stored []byte, size uint16) {
		files := contents{account: &account{disk: disk{codec: codec}}}
		defer files.close()
		mem, err := files.inflate(stored, int64(size))
		if err == nil && len(mem) != int(size) {
			t.Errorf("%d bytes, not %d", len(mem), size)
		}
	})
}

// A quota counts what messages are, not what they take on the disk.
func TestQuotaOfCompressed(t *testing.T) {
	a := mustOpen(t, New(compressing(t)), t.TempDir(), View{Acting: "alice", Quota: &mailbox.QuotaPolicy{Root: "User quota", Storage: 10_000}})
	text, left := letter(1, 6000, false), 2
	_, err := a.Append(context.Background(), "INBOX", func() (*mailbox.NewMessage, error) {
		if left--; left < 0 {
			return nil, io.EOF
		}
		return &mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}, nil
	})
	if imap.CodeOf(err) != imap.CodeOverQuota {
		t.Errorf("two messages of %d bytes: %v", len(text), err)
	}
}

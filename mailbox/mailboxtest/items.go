package mailboxtest

import (
	"io"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// binaryMessage has parts in all transfer encodings, oddMessage in an unknown one.
var binaryMessage = strings.ReplaceAll(`From: ann@example.org
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Zw=F6lf =
=DCbungen
--b
Content-Type: application/octet-stream
Content-Transfer-Encoding: BASE64

AAEC
/w==
--b
Content-Type: text/plain

as it is
--b--
`, "\n", "\r\n")

const oddMessage = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\r\n"

func itemTests() []test {
	return []test{
		{"Binary", fetchBinary},
		{"BinaryOfAnUnknownEncoding", func(h *home) {
			o := h.owner()
			o.add(imap.Inbox, []string{oddMessage, shortMessage})
			b := o.open(imap.Inbox)
			for _, items := range []*imap.FetchItems{
				{Sections: []imap.Section{{Part: []int{1}, Binary: true}}},
				{BinarySizes: [][]int{{1}}},
			} {
				err := b.Fetch(h.Context(), imap.UIDRange(1, 2), items, func(m *mailbox.Message) error {
					for _, s := range m.Sections {
						_, err := readSection(s)
						return err
					}
					return nil
				})
				h.wantCode(err, imap.CodeUnknownCTE, "fetch")
			}
			if got, _ := b.section(1, imap.Section{Part: []int{1}}); got != "begin 644 x\r\n" {
				h.Errorf("as it stands: got %q", got)
			}
		}},
		{"BigBinaryStreams", bigBinary},
		{"NULComesBack", func(h *home) {
			raw := "Subject: x\r\nContent-Transfer-Encoding: binary\r\n\r\na\x00b\r\n"
			o := h.owner()
			o.add(imap.Inbox, []string{raw})
			b := o.open(imap.Inbox)
			if got, _ := b.section(1, imap.Section{Part: []int{1}, Binary: true}); got != "a\x00b\r\n" {
				h.Errorf("got %q", got)
			}
		}},
		{"Preview", func(h *home) {
			o := h.owner()
			o.add(imap.Inbox, []string{nestedMessage, "Subject: x\r\nContent-Type: text/html\r\n\r\n<p>So<b>u</b>p &amp; salad</p>\r\n", "Subject: x\r\n\r\n" + strings.Repeat("word ", 200)})
			b := o.open(imap.Inbox)
			want := []string{"Zwölf Übungen", "Soup & salad", strings.TrimSuffix(strings.Repeat("word ", 40), " ")}
			for i, m := range b.fetch(imap.UIDRange(1, 3), &imap.FetchItems{Preview: true}) {
				if !m.HasPreview || m.Preview != want[i] {
					h.Errorf("UID %d: got %q", m.UID, m.Preview)
				}
			}
			for _, m := range b.fetch(imap.UIDRange(1, 3), &imap.FetchItems{Preview: true, PreviewLazy: true}) {
				if m.HasPreview && m.Preview != want[m.UID-1] {
					h.Errorf("lazy, UID %d: got %q", m.UID, m.Preview)
				}
			}
		}},
		{"SaveDate", func(h *home) {
			o, b := h.withMail(1)
			o.create("Old")
			now := time.Now()
			_, err := b.Copy(h.Context(), uids(1), "Old")
			h.must(err, "copy")
			got := o.open("Old").fetchOne(1, &imap.FetchItems{SaveDate: true})
			if got.SaveDate.Before(now.Add(-time.Minute)) || got.SaveDate.After(now.Add(time.Minute)) {
				h.Errorf("got %v at %v", got.SaveDate, now)
			}
		}},
		{"SearchSaveDate", func(h *home) {
			_, b := h.withMail(2)
			far := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
			key := func(op imap.SearchOp, d time.Time) imap.SearchKey { return imap.SearchKey{Op: op, Date: d} }
			h.wantUIDs(b.search(key(imap.SearchSavedBefore, far)), "", "saved before")
			h.wantUIDs(b.search(key(imap.SearchSavedOn, far)), "", "saved on")
			h.wantUIDs(b.search(key(imap.SearchSavedSince, far)), "1:2", "saved since")
			h.wantUIDs(b.search(key(imap.SearchSavedBefore, time.Now().AddDate(0, 0, 2))), "1:2", "saved before the day after tomorrow")
			h.wantUIDs(b.search(imap.SearchKey{Op: imap.SearchSaveDateSupported}), "1:2", "supported")
		}},
		{"EmailID", fetchEmailID},
		{"EmailIDOfACopy", func(h *home) {
			o := h.owner()
			m := newMessage(shortMessage)
			m.EmailID = o.someEmailID()
			copier := o // owners may not vouch for what they bring over the wire
			if h.Reader != nil {
				h.grant(imap.Inbox, "bob")
				copier = h.reader("bob")
			}
			_, err := copier.Append(h.Context(), imap.Inbox, mailbox.One(m))
			h.must(err, "append")
			inbox := o.open(imap.Inbox)
			if got := inbox.emailID(inbox.Info().UIDs.Max()); got != m.EmailID {
				h.Errorf("appended as %q: got %q", m.EmailID, got)
			}
		}},
		{"MailboxID", func(h *home) {
			o := h.owner()
			o.create("Work", "Old")
			id := o.mailboxID("Work")
			if !id.Valid() || id == o.mailboxID("Old") || id != o.open("Work").Info().MailboxID {
				h.Errorf("got %q", id)
			}
			h.must(o.Rename(h.Context(), "Work", "Play"), "rename")
			if got := o.mailboxID("Play"); got != id {
				h.Errorf("renamed: got %q, had %q", got, id)
			}
			o.create("Work")
			if got := o.mailboxID("Work"); got == id {
				h.Errorf("made anew: got %q again", got)
			}
		}},
	}
}

func fetchBinary(h *home) {
	o := h.owner()
	o.add(imap.Inbox, []string{binaryMessage, shortMessage})
	b := o.open(imap.Inbox)
	for _, c := range []struct {
		name    string
		section imap.Section
		want    string
	}{
		{"BINARY[1]", imap.Section{Part: []int{1}}, "Zw\xf6lf \xdcbungen"},
		{"BINARY[2]", imap.Section{Part: []int{2}}, "\x00\x01\x02\xff"},
		{"BINARY[3]", imap.Section{Part: []int{3}}, "as it is"},
		{"BINARY[2]<1.2>", imap.Section{Part: []int{2}, Partial: true, Offset: 1, Count: 2}, "\x01\x02"},
		{"BINARY[2]<3.9>", imap.Section{Part: []int{2}, Partial: true, Offset: 3, Count: 9}, "\xff"},
		{"BINARY[2]<7.9>", imap.Section{Part: []int{2}, Partial: true, Offset: 7, Count: 9}, ""},
		{"BINARY[2]<1.huge>", imap.Section{Part: []int{2}, Partial: true, Offset: 1, Count: 1<<63 - 1}, "\x01\x02\xff"},
		{"BINARY[2]<huge.huge>", imap.Section{Part: []int{2}, Partial: true, Offset: 1<<63 - 1, Count: 1<<63 - 1}, ""},
		{"BINARY[3]<3.2>", imap.Section{Part: []int{3}, Partial: true, Offset: 3, Count: 2}, "it"},
		{"BINARY[9]", imap.Section{Part: []int{9}}, ""},
	} {
		c.section.Binary = true
		if got, _ := b.section(1, c.section); got != c.want {
			h.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	if got, _ := b.section(2, imap.Section{Binary: true}); got != shortMessage {
		h.Errorf("BINARY[]: got %q", got)
	}
	got := b.fetchOne(1, &imap.FetchItems{
		BinarySizes: [][]int{{2}, {1}},
		Sections:    []imap.Section{{Part: []int{2}, Binary: true}, {Part: []int{2}}, {Part: []int{1}, Binary: true}},
	})
	if len(got.BinarySizes) != 2 || got.BinarySizes[0] != 4 || got.BinarySizes[1] != 13 {
		h.Errorf("sizes: got %v", got.BinarySizes)
	}
	if got.bodies[0] != "\x00\x01\x02\xff" || got.bodies[1] != "AAEC\r\n/w==" || got.bodies[2] != "Zw\xf6lf \xdcbungen" {
		h.Errorf("together: got %q", got.bodies)
	}
}

// bigBinary reads back a part that no one should hold in one piece.
func bigBinary(h *home) {
	const lines = 100_000
	head := "Subject: big\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	line := strings.Repeat("AAAA", 19) + "\r\n"
	o := h.owner()
	m := &mailbox.NewMessage{
		InternalDate: someDate, Size: int64(len(head) + lines*len(line)),
		Body: io.MultiReader(strings.NewReader(head), &repeated{line: line, left: lines}),
	}
	_, err := o.Append(h.Context(), imap.Inbox, mailbox.One(m))
	h.must(err, "append")
	b := o.open(imap.Inbox)
	items := &imap.FetchItems{BinarySizes: [][]int{{1}}, Sections: []imap.Section{{Part: []int{1}, Binary: true}}}
	h.must(b.Fetch(h.Context(), uids(1), items, func(got *mailbox.Message) error {
		n, err := io.Copy(io.Discard, got.Sections[0].Body)
		if want := int64(lines * 57); n != want || got.Sections[0].Size != want || got.BinarySizes[0] != want {
			h.Errorf("got %d bytes, told %d and %v, want %d", n, got.Sections[0].Size, got.BinarySizes, want)
		}
		return err
	}), "fetch")
}

// repeated yields a line again and again.
type repeated struct {
	line string
	at   int
	left int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.line[r.at:])
	if r.at += n; r.at == len(r.line) {
		r.at, r.left = 0, r.left-1
	}
	return n, nil
}

func fetchEmailID(h *home) {
	o, b := h.withMail(2)
	o.create("Old")
	first, second := b.emailID(1), b.emailID(2)
	if !first.Valid() || first == second {
		h.Fatalf("got %q and %q", first, second)
	}
	_, err := b.Copy(h.Context(), uids(2), "Old")
	h.must(err, "copy")
	_, err = b.Move(h.Context(), uids(1), "Old")
	h.must(err, "move")
	old := o.open("Old")
	if old.emailID(1) != second || old.emailID(2) != first {
		h.Errorf("the copies: got %q and %q", old.emailID(1), old.emailID(2))
	}
	key := imap.SearchKey{Op: imap.SearchEmailID, Text: string(first)}
	h.wantUIDs(old.search(key), "2", "search EMAILID")
	h.wantUIDs(old.search(key.Not()), "1", "search NOT EMAILID")
	key.Text = "M0"
	h.wantUIDs(old.search(key), "", "search of an unknown EMAILID")
	if got := b.fetchOne(2, &imap.FetchItems{ThreadID: true}); got.ThreadID != "" {
		key := imap.SearchKey{Op: imap.SearchThreadID, Text: string(got.ThreadID)}
		h.wantUIDs(b.search(key), "2", "search THREADID")
	}
}

func (b *box) emailID(uid imap.UID) imap.ObjectID {
	b.Helper()
	return b.fetchOne(uid, &imap.FetchItems{EmailID: true}).EmailID
}

// someEmailID is that of a message which was there and is gone.
func (u *user) someEmailID() imap.ObjectID {
	u.Helper()
	u.add(imap.Inbox, []string{nestedMessage}, imap.FlagDeleted)
	b := u.open(imap.Inbox)
	id := b.emailID(b.Info().UIDs.Max())
	b.expunge(nil, true)
	return id
}

func (u *user) mailboxID(name string) imap.ObjectID {
	u.Helper()
	status, err := u.Status(u.Context(), name, imap.StatusMailboxID)
	u.must(err, "status")
	return status.MailboxID
}

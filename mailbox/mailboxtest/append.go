package mailboxtest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

func appendTests() []test {
	return []test{
		{"TellsTheUID", func(h *home) {
			o := h.owner()
			o.create("Work")
			before := o.status("Work")
			data, err := o.Append(h.Context(), "Work", mailbox.One(newMessage(shortMessage)))
			h.must(err, "append")
			if data.UIDValidity != before.UIDValidity || data.UIDs.Len() != 1 || data.UIDs.Min() != before.UIDNext {
				h.Fatalf("got %+v, before it was %+v", data, before)
			}
		}},
		{"KeepsFlagsAndDate", func(h *home) {
			_, b := h.withMail(1, imap.FlagSeen, imap.FlagDraft, "$Label1")
			b.wantFlags(1, imap.FlagSeen, imap.FlagDraft, "$Label1")
			got := b.fetchOne(1, &imap.FetchItems{InternalDate: true}).InternalDate
			if !got.Equal(someDate) || got.Format(time.RFC3339) != someDate.Format(time.RFC3339) {
				h.Fatalf("internal date: got %v, want %v", got, someDate)
			}
		}},
		{"KeepsManyKeywords", func(h *home) {
			var flags []imap.Flag
			for n := range 250 {
				flags = append(flags, imap.Flag(fmt.Sprint("k", n)))
			}
			_, b := h.withMail(1, flags...)
			if got := b.fetchOne(1, &imap.FetchItems{Flags: true}).Flags; len(got) != len(flags) {
				h.Fatalf("got %d of %d: %v", len(got), len(flags), got)
			}
		}},
		{"WithoutDateIsNow", func(h *home) {
			o := h.owner()
			m := newMessage(shortMessage)
			m.InternalDate = time.Time{}
			before := time.Now().Add(-time.Minute)
			_, err := o.Append(h.Context(), imap.Inbox, mailbox.One(m))
			h.must(err, "append")
			got := o.open(imap.Inbox).fetchOne(1, &imap.FetchItems{InternalDate: true}).InternalDate
			if got.Before(before) || got.After(time.Now().Add(time.Minute)) {
				h.Fatalf("internal date: got %v", got)
			}
		}},
		{"Several", func(h *home) {
			o := h.owner()
			data, err := o.Append(h.Context(), imap.Inbox, messages(
				newMessage(shortMessage, imap.FlagSeen), newMessage(nestedMessage), newMessage(shortMessage, imap.FlagFlagged)))
			h.must(err, "append")
			h.wantUIDs(data.UIDs, "1:3", "append")
			b := o.open(imap.Inbox)
			b.wantFlags(1, imap.FlagSeen)
			b.wantFlags(2)
			b.wantFlags(3, imap.FlagFlagged)
			if got := b.fetchOne(2, &imap.FetchItems{Size: true}).Size; got != int64(len(nestedMessage)) {
				h.Fatalf("size of the second: got %d", got)
			}
		}},
		{"Empty", func(h *home) {
			o := h.owner()
			o.add(imap.Inbox, []string{""})
			if got := o.open(imap.Inbox).fetchOne(1, &imap.FetchItems{Size: true, Sections: []imap.Section{{}}}); got.Size != 0 || got.bodies[0] != "" {
				h.Fatalf("got %+v", got)
			}
		}},
		{"MissingMailboxAsksForNothing", func(h *home) {
			_, err := h.owner().Append(h.Context(), "nowhere", func() (*mailbox.NewMessage, error) {
				h.Error("a message was asked for")
				return nil, io.EOF
			})
			h.wantCode(err, imap.CodeTryCreate, "append")
		}},
		{"AllOrNone", func(h *home) {
			o := h.owner()
			refusal := imap.Errorf(imap.CodeTooBig, "Too big")
			n := 0
			_, err := o.Append(h.Context(), imap.Inbox, func() (*mailbox.NewMessage, error) {
				if n++; n == 3 {
					return nil, refusal
				}
				return newMessage(shortMessage), nil
			})
			h.wantCode(err, imap.CodeTooBig, "append")
			if got := o.status(imap.Inbox); got.Messages != 0 {
				h.Fatalf("got %+v, want nothing added", got)
			}
		}},
		{"LostConnectionIsNoEnd", func(h *home) {
			o := h.owner()
			n := 0
			_, err := o.Append(h.Context(), imap.Inbox, func() (*mailbox.NewMessage, error) {
				if n++; n == 2 {
					return nil, imap.Wrap(imap.CodeUnavailable, "Away", io.EOF)
				}
				return newMessage(shortMessage), nil
			})
			h.wantCode(err, imap.CodeUnavailable, "append")
			if got := o.status(imap.Inbox); got.Messages != 0 {
				h.Fatalf("got %+v, want nothing added", got)
			}
		}},
		{"BrokenBodyAddsNothing", func(h *home) {
			o := h.owner()
			broken := errors.New("connection lost")
			m := newMessage(shortMessage)
			m.Body = io.MultiReader(strings.NewReader(shortMessage[:100]), failingReader{broken})
			_, err := o.Append(h.Context(), imap.Inbox, messages(newMessage(shortMessage), m))
			if err == nil {
				h.Fatal("append worked")
			}
			if got := o.status(imap.Inbox); got.Messages != 0 {
				h.Fatalf("got %+v, want nothing added", got)
			}
			o.add(imap.Inbox, []string{shortMessage})
		}},
		{"ShortBodyAddsNothing", func(h *home) {
			o := h.owner()
			m := newMessage(shortMessage)
			m.Size++
			if _, err := o.Append(h.Context(), imap.Inbox, mailbox.One(m)); err == nil {
				h.Fatal("append worked")
			}
			if got := o.status(imap.Inbox); got.Messages != 0 {
				h.Fatalf("got %+v, want nothing added", got)
			}
		}},
		{"CountsInStatus", func(h *home) {
			o := h.owner()
			o.create("Work")
			first := o.status("Work")
			o.add("Work", []string{shortMessage, shortMessage}, imap.FlagSeen)
			o.add("Work", []string{shortMessage})
			got := o.status("Work")
			if got.Messages != 3 || got.Unseen != 1 || got.UIDNext != 4 || got.UIDValidity != first.UIDValidity {
				h.Fatalf("got %+v", got)
			}
			if got.HighestModSeq <= first.HighestModSeq && !h.NoModSeq {
				h.Fatalf("HIGHESTMODSEQ is %d and was %d", got.HighestModSeq, first.HighestModSeq)
			}
		}},
	}
}

// messages yields ms, one by one.
func messages(ms ...*mailbox.NewMessage) mailbox.NextMessage {
	return func() (*mailbox.NewMessage, error) {
		if len(ms) == 0 {
			return nil, io.EOF
		}
		m := ms[0]
		ms = ms[1:]
		return m, nil
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

package mailboxtest

import (
	"fmt"
	"io"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// sized is a message of n bytes.
func sized(n int) string {
	const header = "Subject: x\r\n\r\n"
	return header + strings.Repeat("x", n-len(header))
}

func quotaTests() []test {
	return []test{
		{"StorageIsKept", func(h *home) {
			o := h.withQuota(&mailbox.QuotaPolicy{Root: "User quota", Storage: 10_240, Grace: 1024})
			o.create("Work")
			o.add("Work", []string{sized(5000), sized(5000)})
			o.wantQuota("Work", "User quota 10000/10240 2/0")
			o.wantQuota(imap.Inbox, "User quota 10000/10240 2/0")
			o.wantOver("Work", sized(1300))      // beyond the grace
			o.add("Work", []string{sized(1200)}) // within it
			o.wantOver(imap.Inbox, sized(100))   // full is full
			b := o.open("Work")
			_, err := b.Copy(h.Context(), uids(3), imap.Inbox)
			h.wantCode(err, imap.CodeOverQuota, "copy")
			_, err = b.Move(h.Context(), uids(3), imap.Inbox)
			h.must(err, "move within the account")
			o.wantQuota("Work", "User quota 11200/10240 3/0")
			b.store(uids(1), mailbox.FlagsAdd, imap.FlagDeleted)
			h.must(b.Expunge(h.Context(), nil, true), "expunge")
			o.add("Work", []string{sized(4000)})
			h.must(o.Delete(h.Context(), "Work"), "delete")
			o.wantQuota(imap.Inbox, "User quota 1200/10240 1/0")
		}},
		{"AllOrNothing", func(h *home) {
			o := h.withQuota(&mailbox.QuotaPolicy{Root: "q", Messages: 3})
			next := 0
			data, err := o.Append(h.Context(), imap.Inbox, func() (*mailbox.NewMessage, error) {
				if next++; next > 10 {
					return nil, io.EOF
				}
				return newMessage(sized(100 + next)), nil
			})
			h.wantCode(err, imap.CodeOverQuota, fmt.Sprintf("append of many (%+v)", data))
			o.wantQuota(imap.Inbox, "q 0/0 0/3")
			added := o.add(imap.Inbox, []string{sized(100), sized(100), sized(100)})
			o.wantOver(imap.Inbox, sized(100))
			o.create("Work")
			_, err = o.open(imap.Inbox).Copy(h.Context(), added, "Work")
			h.wantCode(err, imap.CodeOverQuota, "copy")
		}},
		{"MailboxRules", func(h *home) {
			o := h.withQuota(&mailbox.QuotaPolicy{Root: "q", Messages: 2, Rules: []mailbox.QuotaRule{
				{Mailbox: "Trash", Messages: 3}, {Mailbox: "Spam*", Ignore: true},
			}})
			o.create("Trash", "Spam/x")
			o.add(imap.Inbox, []string{sized(100), sized(100)})
			o.wantOver(imap.Inbox, sized(100))
			o.add("Spam/x", []string{sized(100), sized(100), sized(100)})
			o.add("Trash", []string{sized(100)})
			o.wantOver("Trash", sized(100))
			o.wantQuota("Trash", "q 0/0 3/2")
			o.wantQuota("Spam/x", "")
			_, err := o.open("Spam/x").Move(h.Context(), uids(1), imap.Inbox)
			h.wantCode(err, imap.CodeOverQuota, "move from where nothing counts")
		}},
		{"MessagesMayBeTooBig", func(h *home) {
			o := h.withQuota(&mailbox.QuotaPolicy{Root: "q", Storage: 1 << 62, Grace: 1 << 63, MaxMessage: 2000})
			o.add(imap.Inbox, []string{sized(2000)})
			_, err := o.Append(h.Context(), imap.Inbox, mailbox.One(newMessage(sized(2001))))
			h.wantCode(err, imap.CodeTooBig, "append")
			s, err := o.Status(h.Context(), imap.Inbox, imap.StatusAppendLimit)
			h.must(err, "status")
			if s.AppendLimit != 2000 {
				h.Errorf("the limit is %d", s.AppendLimit)
			}
		}},
		{"Roots", func(h *home) {
			o := h.withQuota(&mailbox.QuotaPolicy{Root: "User quota", Storage: 10_240, Messages: 5})
			o.add(imap.Inbox, []string{sized(1024)})
			q := o.Account.(mailbox.Quota)
			got, err := q.QuotaRoot(h.Context(), "User quota")
			h.must(err, "quota root")
			if got.Storage.Usage != 1024 || got.Messages.Limit != 5 {
				h.Errorf("got %+v", got)
			}
			_, err = q.QuotaRoot(h.Context(), "other")
			h.wantCode(err, imap.CodeNonExistent, "a root that is not there")
			_, _, err = q.QuotaOf(h.Context(), "nowhere")
			h.wantCode(err, imap.CodeNonExistent, "root of a missing mailbox")
			if h.Reader == nil {
				return
			}
			h.grant(imap.Inbox, "bob")
			bob := h.reader("bob").Account.(mailbox.Quota)
			theirs, ok, err := bob.QuotaOf(h.Context(), imap.Inbox)
			h.must(err, "root for a reader")
			if !ok || theirs.Root == "User quota" || theirs.Storage != got.Storage {
				h.Errorf("a reader got %+v", theirs)
			}
			_, err = bob.QuotaRoot(h.Context(), "User quota")
			h.wantCode(err, imap.CodeNonExistent, "a root by the owner's name")
			_, err = bob.QuotaRoot(h.Context(), theirs.Root)
			h.must(err, "a root by the reader's name")
		}},
		{"ReadersChargeTheOwner", func(h *home) {
			if h.Reader == nil {
				h.T.Skip("no readers here")
			}
			o := h.withQuota(&mailbox.QuotaPolicy{Root: "q", Messages: 2})
			o.create("Work")
			h.grant("Work", "bob")
			bob := h.reader("bob")
			bob.add("Work", []string{sized(100), sized(100)})
			bob.wantOver("Work", sized(100))
			o.wantOver(imap.Inbox, sized(100))
			_, err := bob.open("Work").Copy(h.Context(), uids(1), "Work")
			h.wantCode(err, imap.CodeOverQuota, "copy")
			o.wantQuota("Work", "q 0/0 2/2")
		}},
		{"None", func(h *home) {
			h.withQuota(nil).wantQuota(imap.Inbox, "")
		}},
	}
}

// withQuota is the owner whose mail is bounded.
func (h *home) withQuota(p *mailbox.QuotaPolicy) *user {
	h.Helper()
	if h.SetQuota == nil {
		h.T.Skip("no quotas here")
	}
	h.SetQuota(p)
	return h.owner()
}

func (u *user) wantOver(name, body string) {
	u.Helper()
	_, err := u.Append(u.Context(), name, mailbox.One(newMessage(body)))
	u.wantCode(err, imap.CodeOverQuota, "append to "+name)
}

// wantQuota compares name, storage and messages: usage/limit. Storage may have
// been rounded to 1024 bytes on its way, and nothing is told without a limit.
func (u *user) wantQuota(name, want string) {
	u.Helper()
	q, ok, err := u.Account.(mailbox.Quota).QuotaOf(u.Context(), name)
	u.must(err, "quota of "+name)
	if !ok {
		if want != "" {
			u.Fatalf("quota of %s: none, want %s", name, want)
		}
		return
	}
	var root string
	var storage, limit, messages, most uint64
	i := strings.LastIndexByte(want[:max(strings.LastIndexByte(want, ' '), 0)], ' ')
	if i > 0 {
		root = want[:i]
		if _, err := fmt.Sscanf(want[i+1:], "%d/%d %d/%d", &storage, &limit, &messages, &most); err != nil {
			u.Fatal(err)
		}
	}
	same := func(r imap.QuotaResource, usage, limit, unit uint64) bool {
		return r.Limit == limit && (limit == 0 || r.Usage >= usage && r.Usage < usage+unit)
	}
	if q.Root != root || !same(q.Storage, storage, limit, 1024) || !same(q.Messages, messages, most, 1) {
		u.Fatalf("quota of %s: got %+v, want %s", name, q, want)
	}
}

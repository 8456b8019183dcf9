package mailboxtest

import (
	"fmt"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

func statusTests() []test {
	return []test{
		{"SizeFollowsTheMessages", func(h *home) {
			o := h.owner()
			o.create("Work", "Play")
			o.wantSizes("Work", 0, 0, 0)
			long := shortMessage + strings.Repeat("x", 5000)
			o.add("Work", []string{shortMessage, long, shortMessage})
			size, short := uint64(2*len(shortMessage)+len(long)), uint64(len(shortMessage))
			o.wantSizes("Work", size, 0, 0)
			b := o.open("Work")
			_, err := b.Copy(h.Context(), uids(2, 3), "Play")
			h.must(err, "copy")
			o.wantSizes("Play", size-short, 0, 0)
			_, err = b.Move(h.Context(), uids(1), "Play")
			h.must(err, "move")
			o.wantSizes("Work", size-short, 0, 0)
			o.wantSizes("Play", size, 0, 0)
			h.must(o.Rename(h.Context(), "Play", "Old"), "rename")
			o.wantSizes("Old", size, 0, 0)
		}},
		{"DeletedFollowsTheFlag", func(h *home) {
			o, b := h.withMail(3)
			short := uint64(len(shortMessage))
			b.store(uids(1, 3), mailbox.FlagsAdd, imap.FlagDeleted)
			b.store(uids(1), mailbox.FlagsAdd, imap.FlagDeleted, imap.FlagFlagged)
			o.wantSizes("Work", 3*short, 2, 2*short)
			b.store(uids(1), mailbox.FlagsReplace, imap.FlagSeen)
			o.wantSizes("Work", 3*short, 1, short)
			h.must(b.Expunge(h.Context(), nil, true), "expunge")
			o.wantSizes("Work", 2*short, 0, 0)
			o.add("Work", []string{shortMessage}, imap.FlagDeleted)
			o.wantSizes("Work", 3*short, 1, short)
		}},
		{"ManyAtOnce", func(h *home) {
			o := h.owner()
			names := []string{imap.Inbox}
			for i := range 150 {
				names = append(names, fmt.Sprintf("box %03d", i))
			}
			o.create(names[1:]...)
			o.add(names[3], []string{shortMessage}, imap.FlagDeleted)
			names = append(names, "nowhere")
			const items = imap.StatusMessages | imap.StatusUIDValidity | imap.StatusUnseen | imap.StatusDeleted
			got := map[string]imap.Status{}
			o.Statuses(h.Context(), names, items, func(name string, s imap.Status, err error) {
				if name == "nowhere" {
					h.wantCode(err, imap.CodeNonExistent, name)
					return
				}
				h.must(err, "status of "+name)
				got[name] = s
			})
			if len(got) != len(names)-1 {
				h.Fatalf("%d of %d mailboxes answered", len(got), len(names)-1)
			}
			for _, name := range []string{imap.Inbox, names[1], names[3]} {
				want, err := o.Status(h.Context(), name, items)
				h.must(err, "status")
				if g := got[name]; g.Messages != want.Messages || g.UIDValidity != want.UIDValidity || g.Unseen != want.Unseen || g.Deleted != want.Deleted {
					h.Errorf("%s: got %+v, want %+v", name, g, want)
				}
			}
		}},
		{"InboxRenamed", func(h *home) {
			o := h.owner()
			o.add(imap.Inbox, []string{shortMessage}, imap.FlagDeleted)
			h.must(o.Rename(h.Context(), imap.Inbox, "Old"), "rename")
			o.wantSizes(imap.Inbox, 0, 0, 0)
			o.wantSizes("Old", uint64(len(shortMessage)), 1, uint64(len(shortMessage)))
		}},
	}
}

// wantSizes compares sums. What is counted in units of 1024 bytes on its way
// may have been rounded up.
func (u *user) wantSizes(name string, size uint64, deleted uint32, storage uint64) {
	u.Helper()
	s := u.status(name)
	if s.Size != size || s.Deleted != deleted || s.DeletedStorage < storage || s.DeletedStorage >= storage+1024 {
		u.Fatalf("status of %s: size %d, %d deleted of %d; want %d, %d of %d", name, s.Size, s.Deleted, s.DeletedStorage, size, deleted, storage)
	}
}

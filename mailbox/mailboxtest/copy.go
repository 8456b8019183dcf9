package mailboxtest

import (
	"context"
	"time"

	"github.com/roost-mail/roost/imap"
)

// transfer is Copy or Move.
type transfer func(ctx context.Context, uids imap.UIDSet, dest string) (imap.CopyData, error)

func copyTests() []test {
	return []test{
		{"TellsTheUIDs", func(h *home) {
			o, b := h.withMail(4)
			o.create("Old")
			o.add("Old", []string{shortMessage})
			data, err := b.Copy(h.Context(), uids(1, 3, 4, 99), "Old")
			h.must(err, "copy")
			h.wantUIDs(data.Source, "1,3:4", "source")
			h.wantUIDs(data.Dest, "2:4", "destination")
			if data.UIDValidity != o.status("Old").UIDValidity {
				h.Errorf("UIDVALIDITY: got %d", data.UIDValidity)
			}
			b.wantQuiet()
			if got := o.status("Work").Messages; got != 4 {
				h.Errorf("%d messages left", got)
			}
		}},
		{"KeepsAll", func(h *home) {
			o, b := h.withMail(1, imap.FlagSeen, imap.FlagFlagged, "$Label1")
			o.create("Old")
			_, err := b.Copy(h.Context(), uids(1), "Old")
			h.must(err, "copy")
			old := o.open("Old")
			old.wantFlags(1, imap.FlagSeen, imap.FlagFlagged, "$Label1")
			got := old.fetchOne(1, &imap.FetchItems{InternalDate: true, Sections: []imap.Section{{}}})
			if got.bodies[0] != shortMessage || got.InternalDate.Format(time.RFC3339) != someDate.Format(time.RFC3339) {
				h.Fatalf("got %+v", got)
			}
		}},
		{"IsAMessageOfItsOwn", func(h *home) {
			o, b := h.withMail(1, imap.FlagDeleted)
			o.create("Old")
			_, err := b.Copy(h.Context(), uids(1), "Old")
			h.must(err, "copy")
			b.expunge(nil, true)
			if got, _ := o.open("Old").section(1, imap.Section{}); got != shortMessage {
				h.Fatalf("got %q", got)
			}
		}},
		{"IntoTheSameMailbox", func(h *home) {
			_, b := h.withMail(2)
			_, err := b.Copy(h.Context(), imap.UIDRange(1, 2), "Work")
			h.must(err, "copy")
			h.wantUIDs(b.sync().New, "3:4", "new")
		}},
		{"MoveRemoves", func(h *home) {
			o, b := h.withMail(3, imap.FlagFlagged)
			o.create("Old")
			data, err := b.Move(h.Context(), uids(1, 3), "Old")
			h.must(err, "move")
			h.wantUIDs(data.Source, "1,3", "source")
			h.wantUIDs(data.Dest, "1:2", "destination")
			h.wantUIDs(b.sync().Vanished, "1,3", "vanished")
			if work, old := o.status("Work").Messages, o.status("Old").Messages; work != 1 || old != 2 {
				h.Fatalf("%d messages in Work and %d in Old", work, old)
			}
			o.open("Old").wantFlags(2, imap.FlagFlagged)
		}},
		{"MoveSparesWhatIsMarkedDeleted", func(h *home) {
			o, b := h.withMail(2, imap.FlagDeleted)
			o.create("Old")
			_, err := b.Move(h.Context(), uids(1), "Old")
			h.must(err, "move")
			h.wantUIDs(b.sync().Vanished, "1", "vanished")
			o.open("Old").wantFlags(1, imap.FlagDeleted)
		}},
		{"OthersAreTold", func(h *home) {
			o, b := h.withMail(2)
			o.create("Old")
			work, old := h.owner().open("Work"), h.owner().open("Old")
			_, err := b.Move(h.Context(), uids(2), "Old")
			h.must(err, "move")
			h.wantUIDs(work.sync().Vanished, "2", "vanished")
			h.wantUIDs(old.sync().New, "1", "new")
		}},
		{"UnknownAndEmpty", func(h *home) {
			o, b := h.withMail(1)
			o.create("Old")
			for name, run := range map[string]transfer{"copy": b.Copy, "move": b.Move} {
				for _, set := range []imap.UIDSet{nil, uids(7, 8)} {
					data, err := run(h.Context(), set, "Old")
					h.must(err, name)
					if !data.Source.Empty() || !data.Dest.Empty() {
						h.Errorf("%s of %q: got %+v", name, set, data)
					}
				}
			}
			if got := o.status("Old").Messages; got != 0 {
				h.Errorf("%d messages", got)
			}
		}},
		{"MissingDestination", func(h *home) {
			o, b := h.withMail(1)
			for name, run := range map[string]transfer{"copy": b.Copy, "move": b.Move} {
				_, err := run(h.Context(), uids(1), "nowhere")
				h.wantCode(err, imap.CodeTryCreate, name)
			}
			if got := o.status("Work").Messages; got != 1 {
				h.Errorf("%d messages left", got)
			}
		}},
	}
}

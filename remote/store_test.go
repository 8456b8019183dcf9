package remote

import (
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/mailbox"
)

// A peer that leaves out what it does not permit has refused; one that tells of
// flags which another session has changed back at once has not.
func TestStoreUndoneIsNotRefused(t *testing.T) {
	for _, row := range []struct {
		name    string
		told    []imapclient.FetchData
		refused bool
	}{
		{"nothing is said", nil, true},
		{"nothing has changed", []imapclient.FetchData{{ModSeq: 5}}, true},
		{"it has changed", []imapclient.FetchData{{ModSeq: 6, Flags: []imap.Flag{imap.FlagSeen}}}, false},
		{"undone ahead of the answer", []imapclient.FetchData{{ModSeq: 7}}, false},
		{"undone behind the answer", []imapclient.FetchData{{Flags: []imap.Flag{imap.FlagSeen}}, {}}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := &box{}
			b.state.messages, b.state.exists = []message{{uid: 1, modSeq: 5, set: &flagSet{}}}, 1
			s := &storing{
				box: b, uids: imap.UIDSetOf(1), results: map[imap.UID]result{},
				change: mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagSeen}},
			}
			s.expect()
			for _, m := range row.told {
				m.Seq, m.UID, m.Has = 1, 1, imapclient.ItemUID|imapclient.ItemFlags
				s.note(&b.state, &m)
			}
			if got := s.refused(); got != row.refused {
				t.Errorf("refused: %t", got)
			}
		})
	}
}

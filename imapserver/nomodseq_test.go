package imapserver

import (
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// A mailbox whose home has no modification sequences, such as one of a foreign
// server. RFC 7162 section 3.1.2.2: SELECT says so, and what needs them is BAD;
// everything else is as ever, also EXPUNGE for who has enabled QRESYNC.
func TestNoModSeq(t *testing.T) {
	a, c := selectScripted(t)
	c.cmd("APPEND INBOX {5+}\r\na: b\n")
	c.cmd("UNSELECT")
	c.cmd("ENABLE QRESYNC")
	a.happen(mailbox.Changes{}, nil, func(info *mailbox.Info) {
		info.HighestModSeq, info.UIDs, info.UIDNext = 0, imap.UIDRange(1, 3), 4
	})
	told := strings.Join(c.cmd("SELECT INBOX (QRESYNC (1 5 1:3))"), "\n")
	for _, want := range []string{"* OK [NOMODSEQ]", " OK [READ-WRITE]"} {
		if !strings.Contains(told, want) {
			t.Errorf("no %q in\n%s", want, told)
		}
	}
	for _, not := range []string{"HIGHESTMODSEQ", "VANISHED"} {
		if strings.Contains(told, not) {
			t.Errorf("%q in\n%s", not, told)
		}
	}
	for _, command := range []string{
		"FETCH 1 MODSEQ", "FETCH 1 FLAGS (CHANGEDSINCE 1)", "UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)",
		"STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\\Seen)", "SEARCH MODSEQ 1", "SORT (ARRIVAL) UTF-8 MODSEQ 1", "THREAD REFS UTF-8 MODSEQ 1",
	} {
		wantLines(t, c.cmd(command), "… BAD … Mailbox has no modification sequences")
	}
	wantLines(t, c.cmd("STORE 1 +FLAGS (\\Seen)"), "* 1 FETCH (FLAGS (\\Seen …))", "… OK Store completed.")
	a.happen(mailbox.Changes{Vanished: imap.UIDSetOf(2)}, nil, a.info)
	for lines := c.cmd("NOOP"); ; lines = c.cmd("NOOP") {
		if len(lines) > 1 {
			wantLines(t, lines, "* 2 EXPUNGE", "… OK NOOP completed.")
			break
		}
	}
}

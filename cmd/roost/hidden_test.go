package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imapserver"
)

// aboutMailbox has, for each command of the table that names a mailbox, or works on the one
// that was selected, what can be said with it of a mailbox, whose name stands as @. Before
// the colon are the rights that any of make a difference (RFC 4314 section 4): with none of
// them the answer has to be that about a mailbox which does not exist; a question mark has it not tried with them. Of several commands in a row the last
// is meant.
var aboutMailbox = map[string][]string{
	"SELECT": {
		"lr: SELECT @", "lr: SELECT @ (CONDSTORE)", "lr: ENABLE QRESYNC; SELECT @ (QRESYNC (1 1))", "lr: ENABLE QRESYNC; SELECT @ (QRESYNC (1 1 1:9 (1 1)))",
		"lr: ENABLE IMAP4rev2; SELECT @", "lr: ENABLE UTF8=ACCEPT; SELECT @", "-: SELECT @ (NONSENSE)", "-: SELECT @/",
	},
	"EXAMINE":     {"lr: EXAMINE @", "lr: EXAMINE @ (CONDSTORE)", "lr: ENABLE QRESYNC; EXAMINE @ (QRESYNC (1 1))"},
	"CREATE":      {"-: CREATE @", `-: CREATE @ (USE (\Sent))`, "k: CREATE @/below", `k: CREATE @/below (USE (\Junk))`, "k: CREATE @/below/deeper", "-: CREATE @/"},
	"DELETE":      {"lx: DELETE @", "-: DELETE @/below"},
	"RENAME":      {"lx: RENAME @ shared/someone1/Other", "l: RENAME @ Mine", "l: RENAME @ shared/someone5/x", "l: RENAME @ shared/nobody/x", "lx: RENAME @ @", "lx: RENAME @ @/below", "-: RENAME shared/someone1/Spare @", "k: RENAME shared/someone1/Spare @/below", "-: RENAME INBOX @", "-: RENAME INBOX @/below", "-: RENAME shared/someone1/Missing @"},
	"SUBSCRIBE":   {"l: SUBSCRIBE @"},
	"UNSUBSCRIBE": {"-: UNSUBSCRIBE @"},
	"LIST": {
		`l: LIST "" @`, `l: LIST "" @*`, `-: LIST "" @/%`, `-: LIST @ ""`, `l: LIST "" (@ @/%) RETURN (STATUS (MESSAGES UNSEEN SIZE) MYRIGHTS SUBSCRIBED)`,
		`-: LIST (SUBSCRIBED RECURSIVEMATCH) "" @*`, `-: LIST (SPECIAL-USE) "" @* RETURN (SPECIAL-USE STATUS (MAILBOXID HIGHESTMODSEQ))`, `l: LIST (REMOTE) "" @ RETURN (CHILDREN)`,
		`l: SUBSCRIBE @; LIST (SUBSCRIBED) "" @`,
	},
	"LSUB": {`-: LSUB "" @`, `-: LSUB "" @*`, `l: SUBSCRIBE @; LSUB "" @`},
	"STATUS": {
		"lr: STATUS @ (MESSAGES UNSEEN)", "lr: STATUS @ (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ MAILBOXID SIZE DELETED APPENDLIMIT DELETED-STORAGE)", "-: STATUS @ (NONSENSE)",
	},
	"APPEND": {
		`li: APPEND @ <<"x\r\n"`, `li: APPEND @ (\Seen $Label) "17-Jul-2026 02:44:25 +0200" <<"x\r\n"`, `li: APPEND @ (\Seen) <<"x\r\n" <<"y\r\n"`, `-: APPEND @ <<""`,
		`-: APPEND @ (\Nonsense) <<"x\r\n"`, "li?: APPEND @ {100000000}", "-: APPEND @ {1000000000}",
	},
	"NOTIFY": {
		"l: NOTIFY SET STATUS (MAILBOXES @ (MessageNew MessageExpunge FlagChange MailboxName MailboxMetadataChange)); NOTIFY SET STATUS (MAILBOXES @ (MessageNew MessageExpunge FlagChange MailboxName MailboxMetadataChange))",
		"lr: NOTIFY SET (MAILBOXES @ (MessageNew MessageExpunge)); SELECT @", "l: NOTIFY SET STATUS (SUBTREE (@ @/below) (MessageNew MessageExpunge MailboxName SubscriptionChange))",
		"-: NOTIFY SET (MAILBOXES @ (Nonsense))",
	},
	"SETACL":       {"la: SETACL @ someone2 lr", "la: SETACL @ someone2 +a", "la: SETACL @ someone9 -r", "-: SETACL @ someone2 q", "la: SETACL @ #x lr", "-: SETACL @ - lr", "la: SETACL @ owner lr"},
	"DELETEACL":    {"la: DELETEACL @ someone2", "la: DELETEACL @ owner", "la: DELETEACL @ #x"},
	"GETACL":       {"la: GETACL @"},
	"LISTRIGHTS":   {"la: LISTRIGHTS @ someone2", "la: LISTRIGHTS @ someone1", "la: LISTRIGHTS @ #x"},
	"MYRIGHTS":     {"lrikxa: MYRIGHTS @"},
	"GETQUOTA":     {"-: GETQUOTA @", "-: GETQUOTAROOT @; GETQUOTA @"},
	"GETQUOTAROOT": {"lr: GETQUOTAROOT @"},
	"SETQUOTA":     {"-: SETQUOTA @ (STORAGE 1)"},
	"GETMETADATA":  {"l: GETMETADATA @ /shared/comment", "l: GETMETADATA @ (MAXSIZE 1 DEPTH infinity) (/private /shared)", "l: GETMETADATA @ /private/specialuse", "-: GETMETADATA @ /nonsense"},
	"SETMETADATA":  {`l: SETMETADATA @ (/private/comment "x")`, `l: SETMETADATA @ (/shared/comment NIL)`, `l: SETMETADATA @ (/private/specialuse "\\Sent")`, `l: SETMETADATA @ (/shared/vendor/roost/seen "shared")`},
	"COPY":         {"li: COPY 1 @", "li: EXAMINE INBOX; COPY 1 @", "-: COPY 4000 @", "r: SELECT @; COPY 1 INBOX"},
	"MOVE":         {"li: MOVE 1 @", "li: SELECT INBOX; MOVE 1 @", "-: EXAMINE INBOX; MOVE 1 @", "r: SELECT @; MOVE 1 INBOX"},
	"UID COPY":     {"li: UID COPY 1:* @", "li: EXAMINE INBOX; UID COPY 1:* @", "-: UID COPY 99999 @", "r: SELECT @; UID COPY 1 INBOX"},
	"UID MOVE":     {"li: UID MOVE * @", "li: SELECT INBOX; UID MOVE * @", "-: UID MOVE 99999 @", "r: SELECT @; UID MOVE 1 INBOX"},

	"CHECK":       {"r: SELECT @; CHECK"},
	"CLOSE":       {"r: SELECT @; CLOSE"},
	"UNSELECT":    {"r: SELECT @; UNSELECT"},
	"EXPUNGE":     {"r: SELECT @; EXPUNGE"},
	"SEARCH":      {"r: SELECT @; SEARCH ALL"},
	"SORT":        {"r: SELECT @; SORT (DATE) UTF-8 ALL"},
	"THREAD":      {"r: SELECT @; THREAD REFERENCES UTF-8 ALL"},
	"FETCH":       {"r: SELECT @; FETCH 1:* FLAGS"},
	"STORE":       {`r: SELECT @; STORE 1:* +FLAGS (\Seen)`},
	"UID SEARCH":  {"r: SELECT @; UID SEARCH ALL"},
	"UID SORT":    {"r: SELECT @; UID SORT (DATE) UTF-8 ALL"},
	"UID THREAD":  {"r: SELECT @; UID THREAD REFERENCES UTF-8 ALL"},
	"UID FETCH":   {"r: SELECT @; UID FETCH 1:* FLAGS"},
	"UID STORE":   {`r: SELECT @; UID STORE 1:* +FLAGS (\Seen)`},
	"UID EXPUNGE": {"r: SELECT @; UID EXPUNGE 1:*"},
}

// aboutNone are the commands that are about no mailbox.
var aboutNone = []string{
	"AUTHENTICATE", "CAPABILITY", "COMPRESS", "ENABLE", "ID", "IDLE", "LOGIN", "LOGOUT", "NAMESPACE", "NOOP", "STARTTLS", "UNAUTHENTICATE",
}

// TestHiddenLooksMissing: with every right, and by every command of the table, a
// mailbox of which the reader may not know gives the same answer, whole, as one that does
// not exist; and an owner who shares nothing the same as nobody. Where a right makes a difference
// there is one.
func TestHiddenLooksMissing(t *testing.T) {
	for _, command := range imapserver.Commands() {
		if slices.Contains(aboutNone, command) == (len(aboutMailbox[command]) > 0) {
			t.Errorf("%s: it has to be in one of aboutMailbox and aboutNone", command)
		}
	}
	t.Run("elsewhere", func(t *testing.T) {
		t.Parallel()
		testHidden(t, startRig(t, "rig"))
	})
	t.Run("here", func(t *testing.T) {
		if testing.Short() {
			t.Skip("the same again")
		}
		t.Parallel()
		testHidden(t, startTogether(t, nil, func(string) bool { return true }))
	})
	t.Run("by the nodes' word", func(t *testing.T) {
		if *hiddenTries == 0 {
			t.Skip("the same with a coordinator: -hidden.tries 1")
		}
		testHidden(t, startTrustRig(t, func(_, text string) string { return text }).rig)
	})
}

func testHidden(t *testing.T, r *rig) {
	owner := &hiddenOwner{r.login(t, "someone1"), map[string]bool{}}
	owner.command("CREATE Open", "SETACL Open someone2 lrswitekxa", "CREATE Folder", "SETACL Folder someone2 lr", "CREATE Spare", "SETACL Spare someone2 lx")
	messages := strings.Repeat(` <<"Subject: x\r\n\r\nx\r\n"`, 5)
	owner.command("APPEND Open" + messages)
	r.say(t, "someone2", "APPEND INBOX"+messages)
	owner.share("Hidden", "")
	owner.share("Folder/Hidden", "")
	r.say(t, "someone3", "CREATE Hidden")
	for _, command := range imapserver.Commands() {
		for _, text := range aboutMailbox[command] {
			rights, text, _ := strings.Cut(text, ": ")
			s := &sampled{text: text, owner: owner, reader: r.login(t, "someone2")}
			s.sameOwner(t, rights)
			s.otherOwners(t)
			s.reader.close()
		}
	}
}

// sampled is a sample of aboutMailbox that is tried with mailboxes.
type sampled struct {
	text   string
	owner  *hiddenOwner
	reader *imapConn // someone2
}

// sameOwner compares mailboxes of an owner whom the reader knows. With all rights but those
// that make a difference there is none; with each of those there is.
func (s *sampled) sameOwner(t *testing.T, rights string) {
	t.Helper()
	missing := s.ask("shared/someone1/Missing")
	others := strings.Map(func(right rune) rune {
		if strings.ContainsRune(rights, right) {
			return -1
		}
		return right
	}, "lrswitpekxa")
	for _, name := range []string{"Hidden", "Folder/Hidden", "Folder/Missing", "Hidden/Missing", s.owner.with(others)} {
		s.compare(t, "shared/someone1/"+name, missing)
	}
	if strings.HasSuffix(rights, "?") {
		return
	}
	for _, right := range strings.Trim(rights, "-") {
		if got := s.ask(s.owner.once(string(right))); got == missing {
			t.Errorf("%s: with %c it says what it says of a missing one: %q", s.text, right, got)
		}
	}
}

// otherOwners compares owners who share nothing with the reader, on both backends.
func (s *sampled) otherOwners(t *testing.T) {
	t.Helper()
	nobody := s.ask("shared/nobody/Missing")
	for _, name := range []string{"someone3/Hidden", "someone5/Missing", "someone3", "nobody2/INBOX"} {
		s.compare(t, "shared/"+name, nobody)
	}
}

func (s *sampled) compare(t *testing.T, name, want string) {
	t.Helper()
	if got := s.ask(name); got != want {
		t.Errorf("%s: of %s it says %q, of a missing one %q", s.text, name, got, want)
	}
}

// ask gives the answer about a mailbox, after a SELECT of one that the reader may use.
func (s *sampled) ask(name string) string {
	c := s.reader
	c.t.Helper()
	c.command("SELECT shared/someone1/Open")
	c.expect("OK")
	for text := range strings.SplitSeq(s.text, "; ") {
		c.command(strings.ReplaceAll(text, "@", name))
	}
	answer := strings.ReplaceAll(strings.Join(c.answer, "\n"), name, "@")
	if strings.HasPrefix(s.text, "NOTIFY") {
		c.command("NOTIFY NONE")
	}
	return answer
}

// hiddenOwner is someone1, who shares with someone2.
type hiddenOwner struct {
	*imapConn
	made map[string]bool
}

func (o *hiddenOwner) command(commands ...string) {
	o.t.Helper()
	for _, text := range commands {
		o.imapConn.command(text)
		o.expect("OK")
	}
}

// share makes a mailbox that grants someone2 these rights alone.
func (o *hiddenOwner) share(name, rights string) {
	o.t.Helper()
	o.command("CREATE "+name, "DELETEACL "+name+" someone2")
	if rights != "" {
		o.command("SETACL " + name + " someone2 " + rights)
	}
	o.made[name] = true
}

// with has a mailbox with these rights, which no command may change.
func (o *hiddenOwner) with(rights string) (name string) {
	o.t.Helper()
	if name = "Only-" + rights; !o.made[name] {
		o.share(name, rights)
	}
	return name
}

// once makes a mailbox for a single command, which may change or delete it.
func (o *hiddenOwner) once(right string) (name string) {
	o.t.Helper()
	name = fmt.Sprintf("Once-%d", len(o.made))
	o.share(name, right)
	return "shared/someone1/" + name
}

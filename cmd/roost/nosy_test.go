package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imapserver"
)

// TestReaderLearnsNothingElse: whoever may read one mailbox of an owner tries every command,
// on that mailbox, on the owner's others by their names, and by tricks. No answer has
// anything of the others, nor of what the owner or another reader has for themselves, and
// afterwards the owner finds everything as it was.
func TestReaderLearnsNothingElse(t *testing.T) {
	t.Parallel()
	r := startRig(t, "rig")
	owner := &hiddenOwner{r.login(t, "someone1"), map[string]bool{}}
	owner.command(
		"CREATE Open", "SETACL Open someone2 lr", "SETACL Open someone3 lrsw",
		`APPEND Open <<"Message-ID: <1@open>\r\nSubject: open\r\n\r\nx\r\n"`,
		`CREATE Open/Secret-Below`, `DELETEACL Open/Secret-Below someone2`, `DELETEACL Open/Secret-Below someone3`,
		`CREATE Secret-Sent (USE (\Sent))`, `SUBSCRIBE Secret-Sent`, `CREATE "Secret \"quoted\\ &AOQ-"`,
		`SETMETADATA Secret-Sent (/shared/comment "secret note")`, `SETMETADATA Open (/private/comment "secret note")`,
		`SETMETADATA "" (/private/comment "secret note")`,
		`APPEND Secret-Sent (\Flagged $Secret) <<"Message-ID: <2@open>\r\nReferences: <1@open>\r\nIn-Reply-To: <1@open>\r\nSubject: Re: open\r\n\r\nsecret body\r\n"`,
		`APPEND Open/Secret-Below <<"Message-ID: <3@open>\r\nReferences: <1@open>\r\nSubject: secret subject\r\n\r\nx\r\n"`,
		"SELECT Open", "COPY 1 Secret-Sent", "UNSELECT",
	)
	other := dialIMAP(t, r.address())
	defer other.close()
	other.command("LOGIN someone3 pass")
	other.command(`SETMETADATA shared/someone1/Open (/private/comment "secret note")`)
	other.expect("OK")
	secret := regexp.MustCompile(`(?i)secret|references:` + owner.ids(t, "Secret-Sent", "Open/Secret-Below"))
	before := owner.all()

	nosy := dialIMAP(t, r.address())
	defer nosy.close()
	nosy.command("LOGIN someone2 pass")
	nosy.expect("OK")
	try := func(text, typed string) {
		nosy.command(text)
		for _, line := range nosy.answer {
			if said := strings.ReplaceAll(line, typed, "@"); secret.MatchString(said) {
				t.Errorf("%s is answered by %s", text, line)
			}
		}
	}
	for _, command := range imapserver.Commands() {
		for _, text := range aboutMailbox[command] {
			_, text, _ = strings.Cut(text, ": ")
			for _, name := range []string{"Open", "Secret-Sent", "Open/Secret-Below", "INBOX"} {
				nosy.command("SELECT shared/someone1/Open")
				for text := range strings.SplitSeq(text, "; ") {
					try(strings.ReplaceAll(text, "@", "shared/someone1/"+name), "shared/someone1/"+name)
				}
			}
		}
	}
	nosy.command("NOTIFY NONE")
	nosy.command("SELECT shared/someone1/Open")
	for _, text := range nosyCommands {
		try(text, "never")
	}
	if after := owner.all(); !slices.Equal(before, after) {
		t.Errorf("the owner had\n%s\nand has\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// nosyCommands are said with shared/someone1/Open selected.
var nosyCommands = []string{
	`LIST "" "*"`, `LIST "" "shared/%/%"`, `LIST "shared/someone1/" "%"`, `LIST (RECURSIVEMATCH SUBSCRIBED) "" "*" RETURN (CHILDREN)`,
	`LIST (SPECIAL-USE) "" "shared/*"`, `LIST "" "shared/*" RETURN (SPECIAL-USE CHILDREN SUBSCRIBED MYRIGHTS STATUS (MESSAGES SIZE MAILBOXID) METADATA (/shared/comment /private/comment))`,
	`LSUB "" "*"`, `LSUB "shared/someone1" "*"`, `LIST "" "shared/someone1/Open/%" RETURN (CHILDREN)`, `LIST "" "shared/someone1/Open/*ecret*"`,
	`FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE EMAILID THREADID SAVEDATE PREVIEW MODSEQ BODY.PEEK[])`,
	"UID FETCH 1:4294967295 (FLAGS EMAILID)", "THREAD REFERENCES UTF-8 ALL", "THREAD ORDEREDSUBJECT UTF-8 ALL", `SORT (SUBJECT) UTF-8 TEXT secret`,
	`ESEARCH IN (subtree "shared/someone1") ALL`, `ESEARCH IN (mailboxes shared/someone1/Secret-Sent) RETURN (ALL COUNT) ALL`, "ESEARCH IN (personal) ALL",
	`NOTIFY SET STATUS (subtree "shared" (MessageNew MessageExpunge MailboxName SubscriptionChange MailboxMetadataChange))`, "NOOP", "NOTIFY NONE",
	`GETMETADATA "" (/private/comment /shared/comment)`, `GETMETADATA "shared/someone1" (/private/comment /shared/comment)`,
	`GETMETADATA (DEPTH infinity) "shared/someone1/Open" (/private /shared)`, `GETMETADATA (DEPTH infinity) "*" /private`,
	`RENAME shared/someone1/Open Open`, `RENAME shared/someone1 shared/someone2`, `RENAME shared mine`, `CREATE shared/someone1/Open/Secret-Below`,
	`CREATE shared/someone1/mine`, `DELETE shared/someone1`, `DELETE shared/someone1/Open`, `SUBSCRIBE shared/someone1/*`,
	`SELECT shared/someone1/Open/../Secret-Sent`, `SELECT shared/someone1//Open`, `SELECT shared/SomeOne1/Secret-Sent`, `SELECT "shared/someone1 /Open"`,
	`SELECT "shared/someone1*someone3/Open"`, `SELECT "shared/someone1/Open\"\r\nx GETACL Open"`, `SELECT <<"shared/someone1/Open\r\nx DELETE Secret-Sent\r\n"`,
	`SELECT <<"shared/someone1/Open\x00/Secret-Sent"`, "SELECT shared/someone1/" + strings.Repeat("x", 4000), "STATUS shared/someone1/" + strings.Repeat("Open/", 300) + " (MESSAGES)",
	`APPEND shared/someone1/Open CATENATE (URL "/Secret-Sent/;UID=1")`, `APPEND INBOX CATENATE (URL "imap://someone1@localhost/Secret-Sent/;UID=1")`,
	`GENURLAUTH "imap://someone1@localhost/Secret-Sent/;UID=1;URLAUTH=anonymous" INTERNAL`, `URLFETCH "imap://someone1@localhost/Secret-Sent/;UID=1"`,
	`ID ("x-session-ext-id" "x" "x-originating-ip" "127.0.0.1" "x-roost-revision" "1" "x-proxy-ttl" "1" "x-forward-user" "someone1")`,
	`AUTHENTICATE PLAIN c29tZW9uZTEAc29tZW9uZTIAcGFzcw==`, "UNAUTHENTICATE", "LOGIN someone2 pass",
	`GETQUOTA ""`, `GETQUOTA "User quota"`, `GETQUOTA someone1`, "COMPRESS DEFLATE x",
}

// ids is a pattern for what the messages and mailboxes of names are known by.
func (o *hiddenOwner) ids(t *testing.T, names ...string) (pattern string) {
	t.Helper()
	id := regexp.MustCompile(`(MAILBOXID|EMAILID) \((\w+)\)`)
	o.command("STATUS Open (MAILBOXID)", "EXAMINE Open", "FETCH 1:* EMAILID")
	open := strings.Join(o.answer, "\n") // a copy of what is open has its ID
	for _, name := range names {
		for _, command := range []string{"STATUS " + name + " (MAILBOXID)", "EXAMINE " + name, "FETCH 1:* EMAILID"} {
			o.command(command)
			for _, m := range id.FindAllStringSubmatch(strings.Join(o.answer, "\n"), -1) {
				if !strings.Contains(open, m[2]) {
					pattern += "|" + m[2]
				}
			}
		}
	}
	o.command("UNSELECT")
	if strings.Count(pattern, "|") < 4 {
		t.Fatalf("only %s have IDs", pattern)
	}
	return pattern
}

// all is what the owner sees of everything.
func (o *hiddenOwner) all() (lines []string) {
	o.t.Helper()
	for _, command := range []string{
		`LIST "" "*" RETURN (SPECIAL-USE SUBSCRIBED MYRIGHTS STATUS (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN SIZE HIGHESTMODSEQ MAILBOXID))`,
		"GETACL Open", "GETACL Secret-Sent", "GETACL INBOX", "GETQUOTAROOT INBOX", `GETMETADATA (DEPTH infinity) "" (/private /shared)`,
		"GETMETADATA (DEPTH infinity) Open (/private /shared)", "GETMETADATA (DEPTH infinity) Secret-Sent (/private /shared)",
		"EXAMINE Open", "FETCH 1:* (FLAGS MODSEQ)", "EXAMINE Secret-Sent", "FETCH 1:* (FLAGS MODSEQ)", "UNSELECT",
	} {
		o.command(command)
		for _, line := range o.answer {
			lines = append(lines, fmt.Sprintf("%s: %s", command, line))
		}
	}
	return lines
}

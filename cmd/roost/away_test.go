package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/acl"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
	"github.com/roost-mail/roost/namespace"
	"github.com/roost-mail/roost/remote"
)

var awayEvery = flag.Int("away.every", 0, "TestOwnerAway lets the accident happen at every n-th byte; 0 is a few places of each exchange")

// awayCommands are all commands that can be given while a shared mailbox is
// selected and that do, or may, concern its owner.
var awayCommands = []string{
	"NOOP", "CHECK",
	"FETCH 1:* (UID FLAGS)", "FETCH 2:3 (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)", "FETCH 2 BODY[]",
	"UID FETCH 2,4 (BODY.PEEK[TEXT] BODY.PEEK[HEADER])", "FETCH 3 BINARY.PEEK[1]", "FETCH 1:2 (PREVIEW EMAILID)", "FETCH 1:* BODY.PEEK[]",
	"SEARCH UNSEEN", "UID SEARCH BODY pears", "SORT (REVERSE SIZE) UTF-8 ALL", "UID SORT (SUBJECT) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "UID THREAD REFERENCES UTF-8 ALL",
	`STORE 2 +FLAGS (\Flagged)`, `STORE 1:* FLAGS.SILENT (\Answered)`, `UID STORE 2:3 -FLAGS (\Seen todo)`, `UID STORE 3 (UNCHANGEDSINCE 999999) +FLAGS (\Draft)`,
	"EXPUNGE", "UID EXPUNGE 1:4", "CLOSE", "UNSELECT",
	"COPY 2 shared/ann/Play", "UID COPY 2:3 INBOX", "MOVE 2 shared/ann/Play", "UID MOVE 2:3 INBOX", "UID MOVE 4 shared/carl/Box", "COPY 3 shared/carl/Box",
	`APPEND shared/ann/Work (\Seen) <<"Subject: new\r\n\r\nnew\r\n"`, `APPEND shared/ann/Play <<"Subject: a\r\n\r\na\r\n" <<"Subject: b\r\n\r\nb\r\n"`,
	"STATUS shared/ann/Work (MESSAGES UIDNEXT UNSEEN)", `LIST "" "*"`, `LIST "" "*" RETURN (STATUS (MESSAGES))`, `LSUB "" "*"`,
	"MYRIGHTS shared/ann/Work", "GETACL shared/ann/Work", "LISTRIGHTS shared/ann/Work carl", "SETACL shared/ann/Play carl lr", "DELETEACL shared/ann/Play dora",
	"GETQUOTAROOT shared/ann/Work", "GETMETADATA shared/ann/Work /shared/comment", `SETMETADATA shared/ann/Work (/private/comment "mine")`,
	"CREATE shared/ann/Work/New", "DELETE shared/ann/Play", "RENAME shared/ann/Play shared/ann/Work/Played", "SUBSCRIBE shared/ann/Work", "UNSUBSCRIBE shared/ann/Work",
	"SELECT shared/ann/Play", "EXAMINE shared/ann/Work", "SELECT INBOX", "NAMESPACE",
}

// TestOwnerAway has each command meet an accident on the way to the owner's
// backend, at every point of the exchange. The client gets the right answer, or
// UNAVAILABLE within a bounded time; it is never disconnected, what it is told
// never contradicts itself, and when the backend is back everything is as it
// should be without another SELECT.
func TestOwnerAway(t *testing.T) {
	for _, command := range awayCommands {
		t.Run(command, func(t *testing.T) {
			var quiet awayOutcome
			inAwayWorld(t, func(w *awayWorld) { quiet = w.run(command, accident{}) })
			kinds := []accident{{kind: cut}, {kind: restart}, {kind: away}, {kind: hang}}
			for _, a := range kinds {
				for a.direction = range 2 {
					for _, a.after = range accidentPlaces(quiet.passed[a.direction]) {
						inAwayWorld(t, func(w *awayWorld) { w.suffer(command, a, &quiet) })
						if t.Failed() {
							return
						}
					}
				}
			}
			inAwayWorld(t, func(w *awayWorld) { w.suffer(command, accident{kind: drip}, &quiet) })
		})
	}
}

// accidentPlaces are the numbers of bytes after which something happens.
func accidentPlaces(n int) []int {
	step := *awayEvery
	if step == 0 {
		step = max(1, n/7)
		if testing.Short() {
			step = max(1, n/2)
		}
	}
	var places []int
	for i := 0; i < n; i += step {
		places = append(places, i)
	}
	if n > 0 && places[len(places)-1] != n-1 {
		places = append(places, n-1)
	}
	return places
}

// awayWorld is bob's backend, on which he has a mailbox of ann's open, the
// backend of ann and carl, and the way between the two.
type awayWorld struct {
	t      *testing.T
	owners map[string]*mailboxmem.Mail
	way    *faultyWay // to ann's and carl's mail
	fine   *faultyWay // to dora's, on which nothing happens
	client *awayClient
}

// inAwayWorld runs f in a bubble of its own.
func inAwayWorld(t *testing.T, f func(w *awayWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &awayWorld{t: t, owners: map[string]*mailboxmem.Mail{}, way: newFaultyWay(), fine: newFaultyWay()}
		for _, name := range []string{"ann", "bob", "carl", "dora"} {
			w.owners[name] = mailboxmem.New(name)
		}
		w.fill()
		back := imapserver.New(imapserver.Config{Authenticator: awayBack{w}, Log: awayLog("back")})
		front := imapserver.New(imapserver.Config{Authenticator: awayFront{w}, Log: awayLog("front")})
		go func() { _ = back.Serve(context.Background(), w.way) }()
		go func() { _ = back.Serve(context.Background(), w.fine) }()
		here, there := newMemPipe()
		go front.ServeConn(context.Background(), there)
		w.client = &awayClient{imapConn: &imapConn{t: t, conn: here, r: bufio.NewReader(here), patience: time.Hour, where: func() string { return "bob" }}}
		w.client.readLine()
		w.client.do("LOGIN bob pass", "OK")
		w.client.do("SELECT shared/ann/Work", "OK [READ-WRITE]")
		w.client.do("FETCH 1:* (UID FLAGS)", "OK")
		w.client.do("STATUS shared/ann/Work (MESSAGES)", "OK") // so that there is a connection for it
		w.client.do("STATUS shared/carl/Box (MESSAGES)", "OK")
		defer func() {
			_ = here.Close()
			for _, s := range []*imapserver.Server{front, back} {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				if err := s.Shutdown(ctx); err != nil {
					t.Error(err)
				}
				cancel()
			}
		}()
		f(w)
	})
}

func awayLog(name string) *slog.Logger {
	if os.Getenv("ROOST_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", name)
}

func (w *awayWorld) fill() {
	w.t.Helper()
	w.fillOne("ann", "Work", "Play")
	w.fillOne("carl", "Box")
	w.fillOne("dora", "Near")
	w.fillOne("bob")
}

// fillOne makes an owner's mailboxes, with which bob may do everything.
func (w *awayWorld) fillOne(owner string, names ...string) {
	w.t.Helper()
	home := w.guarded(owner, owner)
	for _, name := range names {
		err := home.Create(w.t.Context(), name)
		if err == nil {
			err = home.SetACL(w.t.Context(), name, "bob", imap.ACLReplace, imap.AllRights)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	for _, name := range append(names, imap.Inbox) {
		for range 5 {
			w.add(owner, name)
		}
	}
}

// add puts a message into a mailbox; every second is marked \Deleted.
func (w *awayWorld) add(owner, name string) {
	w.t.Helper()
	home := w.guarded(owner, owner)
	status, err := home.Status(w.t.Context(), name, imap.StatusUIDNext)
	i := int(status.UIDNext) - 1
	text := fmt.Sprintf("Subject: %s %d\r\nContent-Type: text/plain\r\n\r\n%s\r\n", name, i, strings.Repeat("pears ", 10*i))
	if err == nil {
		_, err = home.Append(w.t.Context(), name, mailbox.One(&mailbox.NewMessage{
			Size: int64(len(text)), Body: strings.NewReader(text), Flags: []imap.Flag{`\Deleted`}[:i%2], InternalDate: time.Now(),
		}))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// guarded is an owner's mail as acting may use it.
func (w *awayWorld) guarded(owner, acting string) mailbox.Complete {
	home := w.owners[owner].As(acting, true).(acl.Home)
	return acl.NewGuard(home, acl.Identity{Owner: owner, Acting: acting}, acl.Options{})
}

// awayBack logs back sessions in, awayFront bob.
type awayBack struct{ *awayWorld }

func (w awayBack) Login(_ context.Context, _ *imapserver.Client, cred imapserver.Credentials) (*imapserver.Login, error) {
	return &imapserver.Login{User: cred.AuthzID, Acting: cred.AuthID, Account: w.guarded(cred.AuthzID, cred.AuthID)}, nil
}

type awayFront struct{ *awayWorld }

func (w awayFront) Login(context.Context, *imapserver.Client, imapserver.Credentials) (*imapserver.Login, error) {
	shared := namespace.Shared{
		Root: "shared/", Index: noIndex{},
		Match: func(name string) (owner, rest string, ok bool) {
			owner, rest, _ = strings.Cut(strings.TrimPrefix(name, "shared/"), "/")
			return owner, rest, owner != ""
		},
		Prefix: func(owner string) string { return "shared/" + owner + "/" },
		Open:   w.remote,
	}
	tree := namespace.New(namespace.Config{User: "bob", Moves: namespace.NewMoves(), Own: w.guarded("bob", "bob"), Shared: []namespace.Shared{shared}, Log: awayLog("tree")})
	return &imapserver.Login{User: "bob", Account: tree}, nil
}

func (w *awayWorld) remote(owner string) mailbox.Complete {
	return remote.New(remote.Config{
		Owner: owner, Acting: "bob", Password: "secret", Log: awayLog("remote"),
		Dial: func(ctx context.Context) (*imapclient.Conn, error) {
			way := w.way
			if owner == "dora" {
				way = w.fine
			}
			nc, err := way.dial(ctx)
			if err != nil {
				return nil, err
			}
			return imapclient.New(ctx, nc, imapclient.Config{Timeout: backSessionTimeout})
		},
	})
}

// awayClient is bob's client.
type awayClient struct {
	*imapConn
	clientView
	took time.Duration
}

// do sends a command and takes in what is told. It returns the tagged answer,
// which has to begin in one of the ways wanted.
func (c *awayClient) do(text string, want ...string) string {
	c.t.Helper()
	if strings.HasPrefix(text, "SELECT") || strings.HasPrefix(text, "EXAMINE") {
		c.clientView = clientView{}
	}
	verb, _, _ := strings.Cut(text, " ")
	c.holds = verb == "FETCH" || verb == "STORE" || verb == "SEARCH" || verb == "SORT" || verb == "THREAD"
	begun := time.Now()
	c.command(text)
	c.took = time.Since(begun)
	for _, line := range c.answer[:len(c.answer)-1] {
		if strings.HasPrefix(line, "* BYE") {
			c.t.Fatalf("%s: %q", text, line)
		}
		if err := c.apply(line); err != nil {
			c.t.Fatalf("%s: %v in %q", text, err, c.answer)
		}
	}
	c.holds = false
	tagged := c.answer[len(c.answer)-1]
	if !slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(tagged, w) }) {
		c.t.Fatalf("%s\nanswered %q, want %q", text, c.answer, want)
	}
	return tagged
}

// awayOutcome is what a command did where nothing happened to it.
type awayOutcome struct {
	command       string
	passed        [2]int
	tagged        string
	answer        []string
	before, after string // the truth
}

func (w *awayWorld) run(command string, a accident) (o awayOutcome) {
	w.t.Helper()
	o.command, o.before = command, w.truth()
	w.way.arm(a)
	o.tagged = w.client.do(command, "OK", "NO [UNAVAILABLE]")
	o.passed, o.answer, o.after = w.way.counted(), slices.Clone(w.client.answer), w.truth()
	return o
}

// truth is everything that there is, as its owners see it, and bob's flags.
func (w *awayWorld) truth() string {
	w.t.Helper()
	var b strings.Builder
	for _, owner := range []string{"ann", "bob", "carl"} {
		home := w.guarded(owner, owner)
		all, err := home.List(w.t.Context(), []string{"*"})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range all {
			w.describe(&b, owner, e.Name)
		}
	}
	return b.String()
}

func (w *awayWorld) describe(b *strings.Builder, owner, name string) {
	w.t.Helper()
	acting := owner
	if name != imap.Inbox {
		acting = "bob"
	}
	box, err := w.guarded(owner, acting).Open(w.t.Context(), name, true)
	if err != nil {
		w.t.Fatal(err)
	}
	defer box.Close()
	fmt.Fprintf(b, "%s/%s:", owner, name)
	items := &imap.FetchItems{Flags: true, Sections: []imap.Section{{Kind: imap.SectionHeaderFields, Fields: []string{"SUBJECT"}}}}
	err = box.Fetch(w.t.Context(), box.Info().UIDs, items, func(m *mailbox.Message) error {
		subject, err := io.ReadAll(m.Sections[0].Body)
		flags := slices.Clone(m.Flags)
		slices.Sort(flags)
		fmt.Fprintf(b, " %d %v %s,", m.UID, flags, strings.TrimSpace(string(subject)))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	b.WriteByte('\n')
}

// awayBound is how long an answer may take, whatever has happened: most take half
// of it, but who was told half of a message is made wait for the rest.
const awayBound = 35 * time.Second

// suffer runs a command with an accident, and then looks whether all is well.
func (w *awayWorld) suffer(command string, a accident, quiet *awayOutcome) {
	w.t.Helper()
	defer func() {
		if w.t.Failed() {
			w.t.Logf("%s after %d of %v bytes, direction %d", a.kind, a.after, quiet.passed, a.direction)
		}
	}()
	o := w.run(command, a)
	if w.client.took > awayBound && a.kind != drip {
		w.t.Errorf("it took %s: %q", w.client.took, o.answer)
	}
	switch {
	case strings.HasPrefix(o.tagged, "OK"):
		w.mustTellAll(&o, quiet)
		if o.after != quiet.after {
			w.t.Errorf("%q\nleft\n%swant\n%s", o.answer, o.after, quiet.after)
		}
	case a.kind == drip, a.kind == cut && repeatable(command):
		w.t.Errorf("%q", o.answer)
	case tracedOutcome(command) && a.kind == restart && o.after == quiet.after:
		w.t.Errorf("it was done, and could be found out: %q", o.answer)
	case o.after != o.before && o.after != quiet.after && !(strings.Contains(command, "MOVE") && nothingLost(&o)):
		w.t.Errorf("%q\nleft\n%sit was\n%s", o.answer, o.after, o.before)
	}
	time.Sleep(20 * time.Second)
	w.way.repair()
	w.recovers(command, &o)
}

// repeatable says that a command can be given twice.
func repeatable(command string) bool {
	for _, verb := range []string{"APPEND", "COPY", "UID COPY", "MOVE", "UID MOVE", "CREATE", "DELETE", "RENAME"} {
		if strings.HasPrefix(command, verb+" ") {
			return false
		}
	}
	return !strings.Contains(command, "UNCHANGEDSINCE")
}

// tracedOutcome says that it can be found out whether a command was done.
func tracedOutcome(command string) bool {
	return strings.HasPrefix(command, "APPEND") || strings.HasPrefix(command, "COPY 2 shared") || strings.HasPrefix(command, "MOVE 2 shared")
}

// nothingLost says that all messages are in some mailbox, as a MOVE from home to
// home leaves them that has copied and was stopped.
func nothingLost(o *awayOutcome) bool {
	for subject := range strings.FieldsFuncSeq(o.before, func(r rune) bool { return r == ',' || r == '\n' }) {
		if _, name, ok := strings.Cut(subject, "Subject: "); ok && !strings.Contains(o.after, name+",") {
			return false
		}
	}
	return true
}

// mustTellAll: what a command tells if all goes well, it has told.
func (w *awayWorld) mustTellAll(o, quiet *awayOutcome) {
	w.t.Helper()
	told := map[string]bool{}
	for _, line := range o.answer {
		told[withoutFlags(line)] = true
	}
	for _, line := range quiet.answer {
		news := strings.HasSuffix(line, "EXISTS") || strings.HasSuffix(line, "RECENT") || strings.HasSuffix(line, "EXPUNGE")
		if strings.HasPrefix(line, "OK [MAILBOXID") {
			continue // it is asked for by another command, which may fail
		}
		if !told[withoutFlags(line)] && !strings.Contains(line, "MODSEQ") && !news {
			w.t.Errorf("%q is missing in %q", line, o.answer)
		}
	}
}

// withoutFlags is a FETCH response without what may be told by another.
func withoutFlags(line string) string {
	return flagsItem.ReplaceAllString(line, "")
}

var flagsItem = regexp.MustCompile(`FLAGS \([^)]*\) ?`)

// recovers: the first command after the return works, and the client knows the
// truth by then.
func (w *awayWorld) recovers(command string, o *awayOutcome) {
	w.t.Helper()
	c := w.client
	text := w.selected(command, o)
	if text == "" {
		c.do("STATUS shared/ann/Work (MESSAGES)", "OK")
		c.do("SELECT shared/ann/Work", "OK")
		text = "ann/Work"
	} else {
		c.do("FETCH 1 FLAGS", "OK")
	}
	if c.took > 3*time.Second {
		w.t.Errorf("the first command after the return took %s", c.took)
	}
	c.do("NOOP", "OK")
	c.do("FETCH 1:* (UID FLAGS)", "OK")
	w.mustKnow(text)
	w.mustBeOnce(o)
	c.do("NOOP", "OK")
	for _, line := range c.answer {
		if strings.HasPrefix(line, "* NO") {
			w.t.Errorf("it sticks: %q", c.answer)
		}
	}
	c.do("STATUS INBOX (MESSAGES)", "OK")
	c.do("STATUS shared/carl/Box (MESSAGES)", "OK")
}

// mustBeOnce: what a MOVE copied and could not remove, it has removed by now.
func (w *awayWorld) mustBeOnce(o *awayOutcome) {
	w.t.Helper()
	if now := w.truth(); strings.Count(now, "Subject: ") > max(strings.Count(o.after, "Subject: "), strings.Count(o.before, "Subject: ")) ||
		strings.Contains(o.command, "MOVE") && strings.Count(now, "Subject: ") != strings.Count(o.before, "Subject: ") {
		w.t.Errorf("%q\nin the end there is\n%safter\n%s", o.answer, now, o.before)
	}
}

// selected is the mailbox that is selected after a command, as truth names it.
func (w *awayWorld) selected(command string, o *awayOutcome) string {
	verb, name, _ := strings.Cut(command, " ")
	switch {
	case verb == "CLOSE", verb == "UNSELECT":
		return ""
	case verb != "SELECT" && verb != "EXAMINE":
		return "ann/Work"
	case !strings.HasPrefix(o.tagged, "OK"):
		return ""
	case name == "INBOX":
		return "bob/INBOX"
	}
	return strings.TrimPrefix(name, "shared/")
}

// mustKnow checks what the client believes of the mailbox that it has selected.
func (w *awayWorld) mustKnow(name string) {
	w.t.Helper()
	var believed strings.Builder
	for _, k := range w.client.known {
		fmt.Fprintf(&believed, " %d %v,", k.uid, k.flags)
	}
	var b strings.Builder
	owner, box, _ := strings.Cut(name, "/")
	w.describe(&b, owner, box)
	_, line, _ := strings.Cut(b.String(), ":")
	var truth strings.Builder
	for part := range strings.SplitSeq(strings.TrimSpace(line), ",") {
		if what, _, ok := strings.Cut(part, " Subject"); ok {
			fmt.Fprintf(&truth, " %s,", strings.TrimSpace(what))
		}
	}
	if believed.String() != truth.String() {
		w.t.Errorf("the client believes%s\nand true is%s", believed.String(), truth.String())
	}
}

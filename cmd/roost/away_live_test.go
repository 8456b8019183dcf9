package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// changeWork does to ann's mailbox what a client has to be told: message 2 goes, 3
// changes, another comes.
func (w *awayWorld) changeWork() {
	w.t.Helper()
	home := w.guarded("ann", "ann")
	box, err := home.Open(w.t.Context(), "Work", false)
	if err != nil {
		w.t.Fatal(err)
	}
	defer box.Close()
	change := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}, Silent: true}
	_, err = box.Store(w.t.Context(), imap.UIDSetOf(3), change, nil)
	if err == nil {
		err = mailbox.Remove(w.t.Context(), box, imap.UIDSetOf(2))
	}
	text := "Subject: news\r\n\r\nnews\r\n"
	if err == nil {
		_, err = home.Append(w.t.Context(), "Work", mailbox.One(&mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// hear reads lines until one has the beginning wanted, for a bounded time.
func (c *awayClient) hear(within time.Duration, want string) {
	c.t.Helper()
	for begun := time.Now(); ; {
		line := c.readLine()
		if err := c.apply(line); err != nil {
			c.t.Fatal(err)
		}
		if time.Since(begun) > within {
			c.t.Fatalf("%q after %s, waiting for %q", line, time.Since(begun), want)
		}
		if strings.HasPrefix(line, want) {
			return
		}
	}
}

// What happened while the owner's backend was away is told by itself to who waits.
func TestOwnerAwayWhileWaiting(t *testing.T) {
	const soon, noticed = 30 * time.Second, 4 * time.Minute // a connection that died without a trace takes longer
	for _, row := range []struct {
		name   string
		fault  fault
		within time.Duration
		begin  []string
		hears  []string
	}{
		{"IDLE", away, soon, []string{"IDLE"}, []string{"* NO [UNAVAILABLE]", "* 2 EXPUNGE", "* 5 EXISTS", `* 2 FETCH (UID 3 FLAGS (\Flagged`}},
		{"IDLE, without a trace", hang, noticed, []string{"IDLE"}, []string{"* 2 EXPUNGE", "* 5 EXISTS", `* 2 FETCH (UID 3 FLAGS (\Flagged`}},
		{"NOTIFY", away, soon, []string{"SELECT INBOX", "NOTIFY SET (subtree shared/ann (MessageNew MessageExpunge))"}, []string{"* STATUS shared/ann/Work (MESSAGES 5"}},
		{"NOTIFY, without a trace", hang, noticed, []string{"SELECT INBOX", "NOTIFY SET (subtree shared/ann (MessageNew MessageExpunge))"}, []string{"* STATUS shared/ann/Work (MESSAGES 5"}},
		{"NOTIFY of the selected mailbox", away, soon, []string{"NOTIFY SET (selected (MessageNew (UID) MessageExpunge FlagChange))"}, []string{"* NO [UNAVAILABLE]", "* 2 EXPUNGE", "* 5 EXISTS", `* 2 FETCH (UID 3 FLAGS (\Flagged`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			inAwayWorld(t, func(w *awayWorld) {
				for _, text := range row.begin {
					w.client.waitFor(text)
				}
				synctest.Wait()
				w.way.befall(row.fault)
				time.Sleep(20 * time.Second)
				w.changeWork()
				time.Sleep(20 * time.Second)
				w.way.repair()
				for _, line := range row.hears {
					w.client.hear(row.within, line)
				}
				if w.client.idling {
					w.client.command("DONE")
				}
				w.client.do("NOOP", "OK")
			})
		})
	}
}

// waitFor is do, or the beginning of an IDLE.
func (c *awayClient) waitFor(text string) {
	c.t.Helper()
	if text == "IDLE" {
		c.command(text)
		return
	}
	c.do(text, "OK")
}

// What an owner does with a mailbox while it can't be reached.
func TestOwnerAwayMeanwhile(t *testing.T) {
	must := func(w *awayWorld, err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	remake := func(w *awayWorld) {
		home := w.guarded("ann", "ann")
		must(w, home.Delete(w.t.Context(), "Work"))
		must(w, home.Create(w.t.Context(), "Work"))
		must(w, home.SetACL(w.t.Context(), "Work", "bob", imap.ACLReplace, imap.AllRights))
	}
	rights := func(letters string) func(*awayWorld) {
		return func(w *awayWorld) {
			set, err := imap.ParseRights(letters)
			must(w, err)
			must(w, w.guarded("ann", "ann").SetACL(w.t.Context(), "Work", "bob", imap.ACLReplace, set))
		}
	}
	for _, row := range []struct {
		name string
		do   func(w *awayWorld)
		says []string // commands and how they are answered, in turn
	}{
		{"made anew", remake, []string{
			"FETCH 1 FLAGS", "NO [NONEXISTENT]", `UID STORE 1 +FLAGS (\Seen)`, "NO [NONEXISTENT]", "NOOP", "OK", "SEARCH ALL", "NO [NONEXISTENT]",
			"SELECT shared/ann/Work", "OK", "NOOP", "OK",
		}},
		{"deleted", func(w *awayWorld) { must(w, w.guarded("ann", "ann").Delete(w.t.Context(), "Work")) }, []string{
			"FETCH 1 FLAGS", "NO [NONEXISTENT]", "NOOP", "OK", "SELECT shared/ann/Work", "NO [NONEXISTENT]", "SELECT shared/ann/Play", "OK",
		}},
		{"renamed", func(w *awayWorld) { must(w, w.guarded("ann", "ann").Rename(w.t.Context(), "Work", "Done")) }, []string{
			"FETCH 1 FLAGS", "NO [NONEXISTENT]", "SELECT shared/ann/Done", "OK", "FETCH 1:* FLAGS", "OK",
		}},
		{"revoked", rights(""), []string{
			"FETCH 1 FLAGS", "NO [NOPERM]", "NOOP", "OK", "FETCH 1 FLAGS", "NO [NOPERM]",
			"SELECT shared/ann/Work", "NO [NONEXISTENT]", "SELECT INBOX", "OK",
		}},
		{"read-only", rights("lr"), []string{
			`STORE 1 +FLAGS (\Seen)`, "NO [NOPERM]", "FETCH 1 BODY[]", "OK", "NOOP", "OK", "EXPUNGE", "NO [NOPERM]",
		}},
		{"restored from an older copy", func(w *awayWorld) {
			w.changeWork()
			w.client.do("NOOP", "OK")
			w.owners = map[string]*mailboxmem.Mail{"ann": mailboxmem.New("ann"), "carl": w.owners["carl"], "dora": w.owners["dora"], "bob": w.owners["bob"]}
			w.fillOne("ann", "Work", "Play")
		}, []string{
			"FETCH 1 BODY[]", "NO [NONEXISTENT]", "SELECT shared/ann/Work", "OK", "FETCH 1 BODY[]", "OK",
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			inAwayWorld(t, func(w *awayWorld) {
				w.way.befall(cut)
				row.do(w)
				w.way.befall(cut)
				for i := 0; i < len(row.says); i += 2 {
					w.client.do(row.says[i], row.says[i+1])
				}
			})
		})
	}
}

// An owner's backend that hangs costs that owner's mailboxes only, and these no
// more than a bounded time.
func TestOwnerHangs(t *testing.T) {
	inAwayWorld(t, func(w *awayWorld) {
		c := w.client
		c.do("NOTIFY SET (subtree shared/ann (MessageNew MessageExpunge)) (subtree shared/dora (MessageNew MessageExpunge))", "OK")
		w.way.befall(hang)
		for _, row := range []struct {
			text, want string
			within     time.Duration
		}{
			{"FETCH 1 FLAGS", "NO [UNAVAILABLE]", awayBound / 2},
			{"FETCH 1 FLAGS", "NO [UNAVAILABLE]", awayBound / 2},
			{"STATUS INBOX (MESSAGES)", "OK", 0},
			{"STATUS shared/dora/Near (MESSAGES)", "OK", 0},
			{`LIST "" "*"`, "OK", 0},
			{`LIST "" ("*" "shared/ann/Work" "shared/dora/Near") RETURN (STATUS (MESSAGES))`, "OK", 5 * time.Second},
			{"STATUS shared/ann/Work (MESSAGES)", "NO [UNAVAILABLE]", awayBound / 2},
			{`APPEND shared/ann/Work <<"Subject: x\r\n\r\nx\r\n"`, "NO [UNAVAILABLE]", awayBound / 2},
			{`APPEND shared/dora/Near <<"Subject: x\r\n\r\nx\r\n"`, "OK", 0},
			{"SELECT shared/ann/Play", "NO [UNAVAILABLE]", awayBound / 2},
			{"SELECT shared/dora/Near", "OK", 0},
			{"FETCH 1:* BODY[]", "OK", 0},
			{"SELECT INBOX", "OK", 0},
		} {
			c.do(row.text, row.want)
			if c.took > row.within {
				t.Errorf("%s took %s", row.text, c.took)
			}
		}
		c.do("NOOP", "OK")
		w.add("dora", "Near")
		c.hear(time.Second, "* STATUS shared/dora/Near")
		w.way.repair()
		time.Sleep(maxPauseAfter)
		c.do("SELECT shared/ann/Work", "OK")
		if c.took > time.Second {
			t.Errorf("after the return it took %s", c.took)
		}
	})
}

// maxPauseAfter is how long after its return a backend may not have been tried again.
const maxPauseAfter = 2 * time.Second

// A message that breaks off within its literal goes on when the owner's backend is
// back soon; else the client's connection ends, and no byte was made up.
func TestOwnerAwayWithinLiteral(t *testing.T) {
	inAwayWorld(t, func(w *awayWorld) {
		text := "Subject: much\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 20_000)
		_, err := w.guarded("ann", "ann").Append(t.Context(), "Work", mailbox.One(&mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}))
		if err != nil {
			t.Fatal(err)
		}
		w.client.do("NOOP", "OK")
		for _, f := range []fault{cut, restart} {
			for _, after := range []int{100, 70_000, 200_000, len(text)} {
				w.way.arm(accident{kind: f, direction: fromBackend, after: after})
				w.client.do("FETCH 6 BODY.PEEK[]", "OK")
				if !strings.Contains(strings.Join(w.client.answer, "\n"), strings.Trim(strings.ReplaceAll(text, "\r\n", `\r\n`), `"`)) {
					t.Errorf("%s after %d: it is not what was sent", f, after)
				}
				w.way.repair()
			}
		}
		w.way.arm(accident{kind: away, direction: fromBackend, after: 200_000})
		begun := time.Now()
		w.client.send("x FETCH 6 BODY.PEEK[]\r\n")
		for err == nil {
			_, err = w.client.r.ReadByte()
		}
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("the end came after %s", took)
		}
	})
}

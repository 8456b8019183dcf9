package remote_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/remote"
)

// liar is a peer that behaves until it is asked what it lies about.
type liar struct {
	capabilities string
	lies         map[string]string // by how a command begins: what is sent ahead of its OK
	floods       map[string]func(io.Writer)
	most         int64 // commands, before it breaks off; 0: no end

	asked atomic.Int64 // commands
}

// three is what a mailbox of three messages looks like.
const three = "* 3 EXISTS\r\n* FLAGS (\\Seen)\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT 4] x\r\n* OK [HIGHESTMODSEQ 5] x\r\n"

func (l *liar) serve(conn net.Conn) {
	capabilities := "IMAP4rev1 AUTH=PLAIN LITERAL+ SASL-IR UIDPLUS ESEARCH " + l.capabilities
	fmt.Fprintf(conn, "* OK [CAPABILITY %s] hello\r\n", capabilities)
	lines := make(chan string, 100) // a client may send several before it reads
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(conn); in.Scan(); {
			lines <- in.Text()
		}
	}()
	defer func() {
		conn.Close()
		for range lines {
		}
	}()
	for line := range lines {
		if n := l.asked.Add(1); l.most > 0 && n > l.most {
			return
		}
		tag, command, _ := strings.Cut(line, " ")
		answer := ""
		switch {
		case command == "DONE":
			continue
		case command == "IDLE":
			answer = "+ idling\r\n"
		case command == "CAPABILITY":
			answer = "* CAPABILITY " + capabilities + "\r\n"
		case strings.HasPrefix(command, "LIST \"\" \"\""):
			answer = "* LIST () \"/\" \"\"\r\n"
		case strings.HasPrefix(command, "SELECT"):
			answer = three
		case strings.HasPrefix(command, "UID FETCH 1:* (UID FLAGS"):
			for n := range 3 {
				answer += fmt.Sprintf("* %d FETCH (UID %d FLAGS ())\r\n", n+1, n+1)
			}
		}
		for begin, lie := range l.lies {
			if strings.HasPrefix(command, begin) {
				answer = lie
			}
		}
		for begin, flood := range l.floods {
			if strings.HasPrefix(command, begin) {
				flood(conn)
			}
		}
		if _, err := fmt.Fprintf(conn, "%s%s OK done\r\n", answer, tag); err != nil {
			return
		}
	}
}

func (l *liar) account(t *testing.T) *remote.Account {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go l.serve(conn)
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	a := remote.New(remote.Config{
		Dial: func(ctx context.Context) (*imapclient.Conn, error) {
			return imapclient.Dial(ctx, "tcp", ln.Addr().String(), imapclient.Config{Timeout: 20 * time.Second})
		},
		Owner: owner, Acting: "bob", Password: "secret", PollInterval: 10 * time.Millisecond,
	})
	t.Cleanup(func() { a.Close() })
	return a
}

// allocated is how much memory was asked for while f ran.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A section is not held in memory because the sizes of all together are more
// than a number can hold.
func TestSizesThatOverflow(t *testing.T) {
	const sent = 32 << 20
	l := &liar{floods: map[string]func(io.Writer){"UID FETCH 2 ": func(w io.Writer) {
		fmt.Fprintf(w, "* 2 FETCH (BODY[1] {1}\r\nx BODY[2] {9223372036854775807}\r\n")
		piece := make([]byte, 64<<10)
		for range sent / len(piece) {
			_, _ = w.Write(piece)
		}
		if conn, ok := w.(net.Conn); ok {
			conn.Close()
		}
	}}}
	box := open(t, l.account(t), imap.Inbox)
	items := &imap.FetchItems{Sections: []imap.Section{{Part: []int{1}}, {Part: []int{2}}}}
	used := allocated(func() {
		err := box.Fetch(t.Context(), imap.UIDSetOf(2), items, func(*mailbox.Message) error { return nil })
		wantCode(t, err, imap.CodeUnavailable)
	})
	if used > sent {
		t.Errorf("%d MiB of memory were taken", used>>20)
	}
}

// Whatever a peer answers, nothing panics or waits for ever, and an answer that
// can't be is an error or shows what is there.
func TestLies(t *testing.T) {
	all := &imap.SearchKey{Op: imap.SearchAll}
	for _, row := range []struct {
		name, capabilities string
		lies               map[string]string
	}{
		{"nothing", "CONDSTORE QRESYNC ENABLE", nil},
		{"vanished of everything", "CONDSTORE QRESYNC ENABLE", map[string]string{
			"NOOP": "* VANISHED 1:4294967295\r\n* 4294967295 EXISTS\r\n* VANISHED (EARLIER) 1:4294967295\r\n",
		}},
		{"numbers from nowhere", "CONDSTORE", map[string]string{
			"NOOP": "* 0 EXPUNGE\r\n* 9 EXPUNGE\r\n* 0 FETCH (UID 1 FLAGS ())\r\n* 4294967295 FETCH (UID 4294967295 FLAGS ())\r\n* 0 EXISTS\r\n* 1 EXPUNGE\r\n",
		}},
		{"UIDs in disorder", "CONDSTORE", map[string]string{
			"UID FETCH 1:* (UID FLAGS": "* 1 FETCH (UID 3 FLAGS ())\r\n* 2 FETCH (UID 2 FLAGS ())\r\n* 3 FETCH (UID 2 FLAGS ())\r\n",
		}},
		{"the last UID there is", "CONDSTORE", map[string]string{
			"UID FETCH 1:* (UID FLAGS": "* 1 FETCH (UID 4294967295 FLAGS ())\r\n* 5 EXISTS\r\n",
		}},
		{"codes that are too big", "CONDSTORE", map[string]string{
			"SELECT": "* 3 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [HIGHESTMODSEQ 11529215046068469769] x\r\n* OK [UIDNEXT 99999999999] x\r\n* OK [MAILBOXID (" + strings.Repeat("x", 300) + ")] x\r\n",
		}},
		{"found what is not there", "SORT ESORT THREAD=REFERENCES", map[string]string{
			"UID SEARCH": "* ESEARCH (TAG \"x\") UID ALL 1:4294967295 MODSEQ 9223372036854775807\r\n* SEARCH 4294967295 0 7\r\n",
			"UID SORT":   "* ESEARCH UID ALL 4294967295:1,1:4294967295,1:3,3,3,3\r\n",
			"UID THREAD": "* THREAD " + strings.Repeat("(", 1000) + "1" + strings.Repeat(")", 1000) + "(1 1 (1)(1))(4294967295)((2)(3))\r\n",
		}},
		{"an endless nest", "THREAD=REFERENCES", map[string]string{
			"UID THREAD": "* THREAD " + strings.Repeat("(", 1<<21) + "\r\n",
		}},
		{"the mailbox goes and comes", "CONDSTORE", map[string]string{
			"NOOP": "* NO [NONEXISTENT] x\r\n* NO [NOPERM] x\r\n* OK [READ-ONLY] x\r\n* FLAGS ()\r\n* OK [PERMANENTFLAGS (\\*" + strings.Repeat(" a", 1000) + ")] x\r\n",
		}},
		{"an answer too early", "", map[string]string{
			"UID STORE": "R7 OK early\r\nR8 OK early\r\nR9 OK early\r\n",
			"NOOP":      "+ go on\r\n+ go on\r\n",
		}},
		{"too much of it", "CONDSTORE QRESYNC ENABLE", map[string]string{
			"UID STORE": "* OK [MODIFIED 1:4294967295] x\r\n* 1 FETCH (MODSEQ (9223372036854775807) UID 1)\r\n* 1 FETCH (MODSEQ (0) FLAGS () UID 2)\r\n",
			"UID FETCH": "* VANISHED 1\r\n* 1 FETCH (UID 2 FLAGS () FLAGS (\\Seen) FLAGS ())\r\n",
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := (&liar{capabilities: row.capabilities, lies: row.lies}).account(t)
			box, err := a.Open(t.Context(), imap.Inbox, false)
			if err != nil {
				t.Log("open:", err)
				return
			}
			defer box.Close()
			known := box.Info().UIDs
			check := func(what string, err error) {
				if err != nil {
					t.Log(what, err)
				}
				c, err := box.Sync(t.Context(), true)
				if err != nil {
					t.Fatal(err)
				}
				if extra := c.Vanished.Minus(known); !extra.Empty() {
					t.Errorf("after %s: %s vanished, %s was there", what, extra, known)
				}
				if again := c.New.Intersect(known.Minus(c.Vanished)); !again.Empty() {
					t.Errorf("after %s: %s is new, and was there", what, again)
				}
				known = known.Minus(c.Vanished)
				known = known.Union(c.New)
				if got := box.Info().UIDs; got.String() != known.String() {
					t.Errorf("after %s: %s is there, told was %s", what, got, known)
				}
				if box.Info().HighestModSeq > 1<<63-1 {
					t.Errorf("after %s: HIGHESTMODSEQ %d", what, box.Info().HighestModSeq)
				}
				for _, m := range c.Flags {
					if !known.Contains(m.UID) {
						t.Errorf("after %s: flags of %d", what, m.UID)
					}
				}
			}
			check("nothing", nil)
			_, err = box.Search(t.Context(), all)
			check("search", err)
			sorted, err := box.Sort(t.Context(), []imap.SortKey{{Field: imap.SortSize}}, all)
			check("sort", err)
			if len(sorted.UIDs) > 3 {
				t.Errorf("%d messages were sorted", len(sorted.UIDs))
			}
			threads, err := box.Thread(t.Context(), "REFERENCES", all)
			check("thread", err)
			for i, m := range threads {
				if m.Depth > 0 && (i == 0 || m.Depth > threads[i-1].Depth+1) {
					t.Errorf("member %d of threads is at depth %d", i, m.Depth)
				}
			}
			_, err = box.Store(t.Context(), imap.UIDSetOf(1, 2), mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}}, func(*mailbox.Message) error { return nil })
			check("store", err)
			err = box.Fetch(t.Context(), imap.UIDSetOf(1, 2), &imap.FetchItems{Size: true}, func(*mailbox.Message) error { return nil })
			check("fetch", err)
			_, err = box.Vanished(t.Context(), imap.UIDRange(1, 10), 1)
			check("vanished", err)
			check("expunge", box.Expunge(t.Context(), nil, true))
		})
	}
}

// Names that are longer than names can be are not kept.
func TestLongNamesFromAPeer(t *testing.T) {
	long := strings.Repeat("x", imap.MaxMailboxName+1)
	a := (&liar{lies: map[string]string{`LIST "" "*"`: "* LIST () \"/\" " + long + "\r\n* LIST () \"/\" short\r\n"}}).account(t)
	entries, err := a.List(t.Context(), []string{"*"})
	if err != nil || len(entries) != 1 || entries[0].Name != "short" {
		t.Errorf("%d names, %v", len(entries), err)
	}
}

// A peer that contradicts itself, or ends each IDLE at once, is not asked again and
// again without a pause.
func TestWaitsArePaced(t *testing.T) {
	watch := func(_ *remote.Account, box mailbox.Mailbox) (stop func()) { return box.Watch(func() {}) }
	observe := func(a *remote.Account, _ mailbox.Mailbox) (stop func()) {
		stop, _ = a.Observe(context.Background(), nil, func() {})
		return stop
	}
	for _, row := range []struct {
		name  string
		lies  map[string]string
		begin func(*remote.Account, mailbox.Mailbox) (stop func())
	}{
		{"UIDs in disorder", map[string]string{"UID FETCH": "* 1 FETCH (UID 3 FLAGS ())\r\n* 2 FETCH (UID 2 FLAGS ())\r\n"}, watch},
		{"IDLE ends", nil, watch},
		{"IDLE ends with news", map[string]string{"IDLE": "+ idling\r\n* 1 FETCH (FLAGS (\\Seen))\r\n* 1 FETCH (FLAGS ())\r\n"}, watch},
		{"observed, IDLE ends", nil, observe},
		{"observed, IDLE ends with news", map[string]string{"IDLE": "+ idling\r\n* STATUS INBOX (MESSAGES 9)\r\n"}, observe},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &liar{capabilities: "IDLE CONDSTORE NOTIFY LIST-STATUS", most: 5000, lies: row.lies}
				a := remote.New(remote.Config{
					Dial: func(ctx context.Context) (*imapclient.Conn, error) {
						client, server := net.Pipe()
						go l.serve(server)
						return imapclient.New(ctx, client, imapclient.Config{})
					},
					Owner: owner, Acting: "bob", Password: "secret",
				})
				defer a.Close()
				box, err := a.Open(t.Context(), imap.Inbox, false)
				if err != nil {
					t.Fatal(err)
				}
				defer box.Close()
				stop := row.begin(a, box)
				time.Sleep(time.Minute)
				stop()
				if n := l.asked.Load(); n > 2000 {
					t.Errorf("%d commands in a minute", n)
				}
			})
		})
	}
}

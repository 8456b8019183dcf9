package imapserver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// clientModel is a client that believes what it is told: the messages by their
// numbers, and of each what it knows.
type clientModel struct {
	*testConn
	uids  []imap.UID
	flags map[imap.UID]string
	mayBe bool // EXPUNGE may come
}

// run sends a command and takes the responses in.
func (c *clientModel) run(t rapid.TB, command string) {
	c.mayBe = !slices.Contains([]string{"FETCH", "STORE", "SEARCH"}, strings.Fields(command)[0])
	for _, line := range c.cmd(command) {
		c.take(t, command, line)
	}
}

func (c *clientModel) take(t rapid.TB, command, line string) {
	var n int
	switch {
	case strings.HasPrefix(line, "t NO [EXPUNGEISSUED]"): // all of them are gone, which the client was not told yet
	case strings.HasPrefix(line, "t BAD"), strings.HasPrefix(line, "t NO"):
		t.Fatalf("%s: %s", command, line)
	case untagged(line, "EXPUNGE", &n):
		if !c.mayBe || n < 1 || n > len(c.uids) {
			t.Fatalf("%s: %s with %d messages", command, line, len(c.uids))
		}
		delete(c.flags, c.uids[n-1])
		c.uids = slices.Delete(c.uids, n-1, n)
	case untagged(line, "EXISTS", &n):
		if n < len(c.uids) {
			t.Fatalf("%s: %s with %d messages", command, line, len(c.uids))
		}
		for len(c.uids) < n {
			c.uids = append(c.uids, 0) // to be asked for
		}
	case untagged(line, "FETCH", &n):
		c.takeFetch(t, command, line, n)
	}
}

// untagged reads "* n word".
func untagged(line, word string, n *int) bool {
	var got string
	_, err := fmt.Sscanf(line, "* %d %s", n, &got)
	return err == nil && got == word
}

func (c *clientModel) takeFetch(t rapid.TB, command, line string, n int) {
	if n < 1 || n > len(c.uids) {
		t.Fatalf("%s: %s with %d messages", command, line, len(c.uids))
	}
	_, rest, hasUID := strings.Cut(line, "(UID ")
	if hasUID {
		var uid imap.UID
		if _, err := fmt.Sscan(rest, &uid); err != nil {
			t.Fatal(line, err)
		}
		if c.uids[n-1] != 0 && c.uids[n-1] != uid {
			t.Fatalf("%s: number %d is %d, and now %d", command, n, c.uids[n-1], uid)
		}
		c.uids[n-1] = uid
	}
	if _, flags, ok := strings.Cut(line, "FLAGS ("); ok && c.uids[n-1] != 0 {
		flags, _, _ = strings.Cut(flags, ")")
		c.flags[c.uids[n-1]] = sortFlags(flags)
	}
}

// sortFlags leaves \Recent away, which no two sessions share.
func sortFlags(flags string) string {
	list := slices.DeleteFunc(strings.Fields(flags), func(f string) bool { return f == `\Recent` })
	slices.Sort(list)
	return strings.Join(list, " ")
}

// TestSessionTellsTheTruth lets two clients and somebody else change a mailbox
// at random. What each client was told, replayed, always agrees with itself;
// after a NOOP it is the mailbox.
func TestSessionTellsTheTruth(t *testing.T) {
	ts := newTestServer(t, nil)
	other := ts.mail.As("ann", false)
	trial := 0
	rapid.Check(t, func(rt *rapid.T) {
		trial++
		name := fmt.Sprintf("Box%d", trial)
		if err := other.Create(context.Background(), name); err != nil {
			rt.Fatal(err)
		}
		appendTo(t, other, name)
		clients := []*clientModel{openModel(t, rt, ts, name), openModel(t, rt, ts, name)}
		defer func() {
			for _, c := range clients {
				_ = c.Close()
			}
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(*rapid.T) { appendTo(t, other, name) },
			"command": func(rt *rapid.T) {
				c := rapid.SampledFrom(clients).Draw(rt, "client")
				c.run(rt, drawCommand(rt, c, name))
			},
			"noop": func(rt *rapid.T) {
				c := rapid.SampledFrom(clients).Draw(rt, "client")
				c.run(rt, "NOOP")
				for i, uid := range c.uids {
					if uid == 0 {
						c.run(rt, fmt.Sprintf("FETCH %d (UID FLAGS)", i+1))
					}
				}
				c.compare(rt, other, name)
			},
		})
	})
}

func openModel(t *testing.T, rt rapid.TB, ts *testServer, name string) *clientModel {
	c := &clientModel{testConn: dial(t, ts), flags: map[imap.UID]string{}}
	if _, err := c.line(); err != nil {
		t.Fatal(err)
	}
	c.run(rt, "LOGIN ann secret")
	c.run(rt, "SELECT "+name)
	return c
}

func appendTo(t *testing.T, a mailbox.Account, name string) {
	m := &mailbox.NewMessage{Size: 6, Body: strings.NewReader("a: b\r\n")}
	if _, err := a.Append(context.Background(), name, mailbox.One(m)); err != nil {
		t.Fatal(err)
	}
}

func drawCommand(rt *rapid.T, c *clientModel, name string) string {
	if len(c.uids) == 0 {
		return "CHECK"
	}
	seq := rapid.IntRange(1, len(c.uids)).Draw(rt, "seq")
	uid := c.uids[seq-1]
	if uid == 0 {
		return fmt.Sprintf("FETCH %d (UID FLAGS)", seq)
	}
	return rapid.SampledFrom([]string{
		fmt.Sprintf("STORE %d +FLAGS (\\Deleted)", seq),
		fmt.Sprintf("STORE %d FLAGS (\\Seen)", seq),
		fmt.Sprintf("UID STORE %d +FLAGS (\\Flagged)", uid),
		fmt.Sprintf("UID STORE %d -FLAGS (\\Flagged)", uid),
		fmt.Sprintf("FETCH %d:* (UID FLAGS)", seq),
		fmt.Sprintf("FETCH %d (UID FLAGS BODY[TEXT])", seq),
		fmt.Sprintf("SEARCH %d:* SEEN", seq),
		fmt.Sprintf("UID EXPUNGE %d", uid),
		fmt.Sprintf("COPY %d %s", seq, name),
		fmt.Sprintf("MOVE %d %s", seq, name),
		"UID SEARCH ALL",
		"EXPUNGE",
		"STATUS " + name + " (MESSAGES)",
	}).Draw(rt, "command")
}

// compare asks the mailbox itself.
func (c *clientModel) compare(t rapid.TB, a mailbox.Account, name string) {
	box, err := a.Open(context.Background(), name, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = box.Close() }()
	truth := map[imap.UID]string{}
	err = box.Fetch(context.Background(), box.Info().UIDs, &imap.FetchItems{Flags: true}, func(m *mailbox.Message) error {
		var flags []string
		for _, f := range m.Flags {
			flags = append(flags, string(f))
		}
		truth[m.UID] = sortFlags(strings.Join(flags, " "))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.uids, slices.Sorted(maps.Keys(truth))) {
		t.Fatalf("client believes in %v, there are %v", c.uids, truth)
	}
	if !maps.Equal(c.flags, truth) {
		t.Fatalf("client believes in flags %v, they are %v", c.flags, truth)
	}
}

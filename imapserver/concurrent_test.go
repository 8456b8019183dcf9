package imapserver

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/roost-mail/roost/imap"
)

// TestConcurrentSessions lets clients change one mailbox at the same time, each
// with pauses in IDLE. When they are done, what each was told is the mailbox.
func TestConcurrentSessions(t *testing.T) {
	ts := newTestServer(t, nil)
	account := ts.mail.As("ann", false)
	for range 20 {
		appendTo(t, account, imap.Inbox)
	}
	for seed := range uint64(50) {
		clients := make([]*clientModel, 3)
		for i := range clients {
			clients[i] = openModel(t, t, ts, imap.Inbox)
		}
		var done sync.WaitGroup
		for i, c := range clients {
			done.Go(func() { c.busy(t, rand.New(rand.NewPCG(seed, uint64(i)))) })
		}
		done.Wait()
		if t.Failed() {
			return
		}
		for _, c := range clients {
			c.run(t, "NOOP")
		}
		for _, c := range clients {
			for i, uid := range c.uids {
				if uid == 0 {
					c.run(t, fmt.Sprintf("FETCH %d (UID FLAGS)", i+1))
				}
			}
			c.compare(t, account, imap.Inbox)
			_ = c.Close()
		}
	}
}

// busy runs commands at random; those that it may have heard of by number only.
func (c *clientModel) busy(t rapid.TB, r *rand.Rand) {
	for range 15 {
		n := len(c.uids)
		if n == 0 {
			c.run(t, "APPEND INBOX {6+}\r\na: b\r\n")
			continue
		}
		seq := 1 + r.IntN(n)
		switch r.IntN(9) {
		case 0:
			c.run(t, "APPEND INBOX {6+}\r\na: b\r\n")
		case 1:
			c.run(t, fmt.Sprintf("STORE %d +FLAGS (\\Deleted)", seq))
		case 2:
			c.run(t, fmt.Sprintf("STORE %d FLAGS (k%d)", seq, r.IntN(5)))
		case 3:
			c.run(t, "EXPUNGE")
		case 4:
			c.run(t, fmt.Sprintf("FETCH %d:* (UID FLAGS)", seq))
		case 5:
			c.run(t, "UID SEARCH ALL")
		case 6:
			c.run(t, "NOOP")
		default:
			c.idle(t)
		}
	}
}

// idle is an IDLE that ends at once: what is told may come before or after DONE.
func (c *clientModel) idle(t rapid.TB) {
	c.mayBe = true
	c.send("t IDLE")
	done := false
	for {
		line, err := c.line()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasPrefix(line, "t "):
			return
		case line == "+ idling" && !done:
			c.send("DONE")
			done = true
		default:
			c.take(t, "IDLE", line)
		}
	}
}

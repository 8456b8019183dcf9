package remote_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/remote"
)

// awayPeer is a peer at which owners can be reached or not, and then that takes a while.
type awayPeer struct {
	up     bool
	holder string
	dials  int
}

const awayTakes = 3 * time.Second

func (p *awayPeer) dial(ctx context.Context) (*imapclient.Conn, error) {
	p.dials++
	if !p.up {
		time.Sleep(awayTakes)
		return nil, errors.New("no server for this user now")
	}
	here, there := net.Pipe()
	go serveEmpty(there)
	return imapclient.New(ctx, here, imapclient.Config{Timeout: time.Minute})
}

// serveEmpty is a server for one who is logged in, with an INBOX.
func serveEmpty(c net.Conn) {
	defer c.Close()
	_, err := c.Write([]byte("* PREAUTH [CAPABILITY IMAP4rev1] hello\r\n"))
	for lines := bufio.NewScanner(c); err == nil && lines.Scan(); {
		tag, command, _ := strings.Cut(lines.Text(), " ")
		verb, _, _ := strings.Cut(command, " ")
		answer := map[string]string{
			"CAPABILITY": "* CAPABILITY IMAP4rev1\r\n", "LIST": "* LIST () \"/\" \"\"\r\n", "STATUS": "* STATUS INBOX (MESSAGES 0)\r\n",
		}[verb]
		_, err = c.Write([]byte(answer + tag + " OK done\r\n"))
	}
}

// TestAway: of all the sessions that want an owner who is away, one waits to find out; the
// others hear so at once, until it has been a while, the owner is served by somebody else, or one
// of them has come through.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &awayPeer{holder: "be1"}
		away := remote.NewAway(func(string, string) string { return p.holder })
		account := func(owner string) *remote.Account {
			a := remote.New(remote.Config{Dial: p.dial, Away: away, Server: "director:143", Owner: owner, Acting: "bob", Password: "secret"})
			t.Cleanup(func() { _ = a.Close() })
			return a
		}
		ask := func(what string, a *remote.Account, code imap.Code, wantDials int, waits time.Duration) {
			t.Helper()
			began, before := time.Now(), p.dials
			_, err := a.Status(t.Context(), imap.Inbox, imap.StatusMessages)
			if got := imap.CodeOf(err); (err == nil) != (code == "") || err != nil && got != code {
				t.Errorf("%s: %v", what, err)
			}
			if p.dials-before != wantDials || time.Since(began) != waits {
				t.Errorf("%s: %d attempts, after %v", what, p.dials-before, time.Since(began))
			}
		}
		first, second := account("alice"), account("alice")
		ask("the first", first, imap.CodeUnavailable, 1, awayTakes)
		for range 25 {
			ask("the same session", first, imap.CodeUnavailable, 0, 0)
			ask("another session", second, imap.CodeUnavailable, 0, 0)
		}
		ask("another owner", account("carol"), imap.CodeUnavailable, 1, awayTakes)
		time.Sleep(2 * time.Second)
		ask("after a while", second, imap.CodeUnavailable, 1, awayTakes)

		p.up = true
		ask("nobody knows that she is back", account("alice"), imap.CodeUnavailable, 0, 0)
		p.holder = "be2"
		ask("somebody else serves her", account("alice"), "", 1, 0)
		p.holder = "be1"
		ask("one has come through", account("alice"), "", 1, 0)
	})
}

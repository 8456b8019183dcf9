package imapserver

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// appendFunc is an Account whose Append is the function.
type appendFunc struct {
	mailbox.Account
	do func(next mailbox.NextMessage) error
}

func (a appendFunc) Append(_ context.Context, _ string, next mailbox.NextMessage) (imap.AppendData, error) {
	return imap.AppendData{}, a.do(next)
}

// TestAppendResync: however an account ends an APPEND, the command behind it
// is understood.
func TestAppendResync(t *testing.T) {
	overQuota := imap.Errorf(imap.CodeOverQuota, "Quota exceeded")
	readAll := func(next mailbox.NextMessage) error {
		m, err := next()
		if err == nil {
			_, err = io.Copy(io.Discard, m.Body)
		}
		return err
	}
	big := strings.Repeat("x", 100_000)
	for _, row := range []struct {
		name, command string
		do            func(next mailbox.NextMessage) error
		want          string
	}{
		{"refused before the first message", "APPEND a {100000+}\r\n" + big, func(mailbox.NextMessage) error {
			return overQuota
		}, "t NO [OVERQUOTA] Quota exceeded"},
		{"refused after the first is asked for", "APPEND a {3}\r\nabc {100000+}\r\n" + big, func(next mailbox.NextMessage) error {
			_, _ = next()
			return overQuota
		}, "t NO [OVERQUOTA] Quota exceeded"},
		{"refused within a message", "APPEND a {100000+}\r\n" + big, func(next mailbox.NextMessage) error {
			m, _ := next()
			_, _ = io.ReadFull(m.Body, make([]byte, 10))
			return overQuota
		}, "t NO [OVERQUOTA] Quota exceeded"},
		{"refused at the end", "APPEND a {3+}\r\nabc", func(next mailbox.NextMessage) error {
			_ = readAll(next)
			_, _ = next()
			return overQuota
		}, "t NO [OVERQUOTA] Quota exceeded"},
		{"asked again behind the end", "APPEND a {3+}\r\nabc", func(next mailbox.NextMessage) error {
			_ = readAll(next)
			for range 3 {
				if _, err := next(); !errors.Is(err, io.EOF) {
					return err
				}
			}
			return nil
		}, "t OK Append completed."},
		{"asked again behind a bad message", "APPEND a {3+}\r\nabc {0+}\r\n", func(next mailbox.NextMessage) error {
			_ = readAll(next)
			_, first := next()
			if m, err := next(); m != nil || !errors.Is(err, first) {
				return errors.New("a refused message was given out")
			}
			return first
		}, "t NO Can't save a zero byte message"},
		{"bad behind a good one", "APPEND a {3+}\r\nabc (\\Seen) nonsense", func(next mailbox.NextMessage) error {
			_ = readAll(next)
			return readAll(next)
		}, "t BAD Error in IMAP command APPEND: Expected literal"},
	} {
		t.Run(row.name, func(t *testing.T) {
			account := appendFunc{mailboxmem.New("ann").As("ann", false), row.do}
			ts := newTestServer(t, func(c *Config) {
				c.Authenticator = authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
					return &Login{User: "ann", Account: account}, nil
				})
			})
			c := dial(t, ts)
			_, _ = c.line()
			c.cmd("LOGIN ann secret")
			got := c.cmd(row.command)
			if got[len(got)-1] != row.want {
				t.Errorf("%q, want %q", got, row.want)
			}
			wantLines(t, c.cmd("NOOP"), "t OK NOOP completed.")
		})
	}
}

// A client that goes in the middle of a message leaves nothing behind.
func TestAppendCutOff(t *testing.T) {
	failed := make(chan error, 1)
	account := appendFunc{mailboxmem.New("ann").As("ann", false), func(next mailbox.NextMessage) error {
		m, err := next()
		if err == nil {
			_, err = io.Copy(io.Discard, m.Body)
		}
		failed <- err
		return err
	}}
	ts := newTestServer(t, func(c *Config) {
		c.Authenticator = authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
			return &Login{User: "ann", Account: account}, nil
		})
	})
	c := dial(t, ts)
	_, _ = c.line()
	c.cmd("LOGIN ann secret")
	c.send("t APPEND INBOX {1000+}\r\nhalf")
	_ = c.CloseWrite()
	if err := <-failed; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if line, err := c.line(); !errors.Is(err, io.EOF) {
		t.Errorf("%q, %v", line, err)
	}
}

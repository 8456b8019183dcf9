package imapserver

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// logged is a log that can be read.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines are the log's lines so far, each as its fields.
func (l *logged) lines(t *testing.T) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []map[string]any
	for line := range strings.Lines(l.text.String()) {
		fields := map[string]any{}
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		delete(fields, "time")
		out = append(out, fields)
	}
	return out
}

// slowAccount takes a second for LIST, and STATUS fails.
type slowAccount struct{ mailbox.Account }

func (slowAccount) List(context.Context, []string) ([]mailbox.ListEntry, error) {
	time.Sleep(time.Second)
	return nil, nil
}

func (slowAccount) Status(context.Context, string, imap.StatusItems) (imap.Status, error) {
	return imap.Status{}, context.DeadlineExceeded
}

// TestLog: a session leaves a line for the login, one for the end, and lines
// for what was slow or failed; each says whose session it is, and none has a password.
func TestLog(t *testing.T) {
	log := &logged{}
	ts := newTestServer(t, func(c *Config) {
		c.Log = slog.New(slog.NewJSONHandler(log, nil))
		c.SlowCommand = time.Second
		c.Authenticator = authFunc(func(_ context.Context, _ *Client, cred Credentials) (*Login, error) {
			if cred.Password != "secret" {
				return nil, imap.Wrap(imap.CodeAuthenticationFailed, "Authentication failed.", context.Canceled)
			}
			return &Login{User: "ann", Acting: "bob", Account: slowAccount{mailboxmem.New("ann").As("bob", false)}}, nil
		})
	})
	c := dial(t, ts)
	_, _ = c.line()
	c.cmd(`ID ("x-session-ext-id" "ext")`)
	c.cmd("LOGIN ann mistyped")
	c.cmd("LOGIN ann secret")
	c.cmd("NOOP")
	c.cmd(`LIST "" *`)
	c.cmd("STATUS Work (MESSAGES)")
	c.cmd("STATUS &bad& (MESSAGES)")
	c.cmd("LOGOUT")
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := ts.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	lines := log.lines(t)
	var what []string
	for i, l := range lines {
		what = append(what, l["msg"].(string))
		if l["session"] == nil || l["client"] == nil || l["ext_session"] != "ext" {
			t.Errorf("whose session is %v", l)
		}
		if i > 0 && (l["user"] != "ann" || l["acting"] != "bob") {
			t.Errorf("whose mail is %v", l)
		}
	}
	want := []string{"login refused", "login", "slow command", "command failed", "logout"}
	if !slices.Equal(what, want) {
		t.Fatalf("logged %q, want %q", what, want)
	}
	if l := lines[3]; l["command"] != "STATUS" || l["mailbox"] != "Work" || l["code"] != "SERVERBUG" || l["error"] == nil {
		t.Errorf("%v", l)
	}
	if l := lines[4]; l["reason"] != "Logged out" || l["commands"] != 8.0 || l["bytes_in"] == 0.0 || l["bytes_out"] == 0.0 {
		t.Errorf("%v", l)
	}
	if text := log.text.String(); strings.Contains(text, "secret") || strings.Contains(text, "mistyped") {
		t.Error("a password is in the log")
	}
}

// A login that fails for a reason that is not the client's is a warning: a
// backend that is down, say.
func TestLogRefusedLogins(t *testing.T) {
	for code, level := range map[imap.Code]string{imap.CodeAuthenticationFailed: "INFO", imap.CodeUnavailable: "WARN"} {
		log := &logged{}
		ts := newTestServer(t, func(c *Config) {
			c.Log = slog.New(slog.NewJSONHandler(log, nil))
			c.Authenticator = authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
				return nil, imap.Errorf(code, "No")
			})
		})
		c := dial(t, ts)
		_, _ = c.line()
		c.cmd("LOGIN ann secret")
		if lines := log.lines(t); len(lines) != 1 || lines[0]["msg"] != "login refused" || lines[0]["level"] != level {
			t.Errorf("%s: %v", code, lines)
		}
	}
}

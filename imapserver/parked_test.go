package imapserver

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/roost-mail/roost/idle"
	"github.com/roost-mail/roost/imap"
)

// awaitParked waits until each session has been parked again since it had the
// tickets of before, and returns the new ones.
func awaitParked(t *testing.T, ts *testServer, before map[*session]*idle.Ticket) map[*session]*idle.Ticket {
	t.Helper()
	for end := time.Now().Add(testTimeout); ; time.Sleep(time.Millisecond) { // nothing tells
		now, missing := map[*session]*idle.Ticket{}, 0
		ts.mu.Lock()
		for s := range ts.sessions {
			if now[s] = s.stream.parked.Load(); now[s] == before[s] {
				missing++
			}
		}
		ts.mu.Unlock()
		switch {
		case missing == 0:
			return now
		case time.Now().After(end):
			t.Fatalf("%d sessions are not parked", missing)
		}
	}
}

// A parked session hears of what happens, again and again, and of the end.
func TestParked(t *testing.T) {
	ts := newTestServer(t, nil)
	clients := map[string]*testConn{}
	for name, commands := range map[string][]string{
		"idle":      {"SELECT INBOX", "IDLE"},
		"notified":  {"SELECT INBOX", "NOTIFY SET (selected (MessageNew MessageExpunge))"},
		"both":      {"SELECT INBOX", "NOTIFY SET (selected (MessageNew MessageExpunge))", "IDLE"},
		"elsewhere": {"CREATE Work", "SELECT Work", "NOTIFY SET (subtree INBOX (MessageNew MessageExpunge))"},
	} {
		c := dial(t, ts)
		clients[name] = c
		_, _ = c.line()
		c.cmd("LOGIN ann secret")
		for _, command := range commands {
			if command == "IDLE" {
				c.send("t IDLE")
				wantLine(t, c.r, "+ …")
				continue
			}
			c.cmd(command)
		}
	}
	home := ts.mail.As("ann", true)
	var tickets map[*session]*idle.Ticket
	for range 20 {
		tickets = awaitParked(t, ts, tickets)
		appendTo(t, home, imap.Inbox)
		for name, c := range clients {
			if name == "elsewhere" {
				wantLine(t, c.r, "* STATUS INBOX …")
				continue
			}
			wantLine(t, c.r, "* … EXISTS")
			wantLine(t, c.r, "* … RECENT")
		}
	}
	for name, c := range clients { // all that was told was told once
		if name == "idle" || name == "both" {
			c.send("DONE")
			wantLine(t, c.r, "t OK …")
		}
		wantLines(t, c.cmd("NOOP"), "t OK …")
	}
	awaitParked(t, ts, tickets)
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := ts.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	for name, c := range clients {
		wantLine(t, c.r, "* BYE …")
		if line, err := c.line(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %q, %v", name, line, err)
		}
	}
}

// Parked sessions are cut off, too.
func TestParkedCutOff(t *testing.T) {
	ts := newTestServer(t, nil)
	for range 10 {
		c := dial(t, ts)
		_, _ = c.line()
		c.cmd("LOGIN ann secret")
	}
	awaitParked(t, ts, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := ts.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if len(ts.sessions) > 0 {
		t.Errorf("%d sessions are left", len(ts.sessions))
	}
}

package main

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// startTogether starts a cluster in which all users live on be1, which holds as
// holds says.
func startTogether(t *testing.T, log *slog.Logger, holds func(user string) bool) *rig {
	t.Helper()
	return startTogetherWith(t, log, holds, func(*rig) {})
}

// startTogetherWith is startTogether with files that prepare may change.
func startTogetherWith(t *testing.T, log *slog.Logger, holds func(user string) bool, prepare func(*rig)) *rig {
	t.Helper()
	return startRigWith(t, "rig", func(r *rig) {
		prepare(r)
		text, err := os.ReadFile(r.files["director"])
		if err == nil {
			text = bytes.ReplaceAll(text, []byte("127.0.1.11 127.0.1.12"), []byte("127.0.1.11"))
			err = os.WriteFile(r.files["director"], text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if log != nil {
			r.log = log
		}
		r.adjust = func(name string, n *node) {
			if name == "be1" {
				n.holds = holds
			}
		}
	})
}

// TestTranscriptsTogether: users whose backend is the same see what others see,
// without a connection between them; and also if mail leaves and comes back all the time.
func TestTranscriptsTogether(t *testing.T) {
	t.Parallel()
	for _, path := range transcripts(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("\nstop ")) || bytes.Contains(text, []byte("be2")) {
			continue // which is about two backends
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			runTranscript(t, startTogether(t, nil, func(string) bool { return true }), path)
		})
		t.Run("moving-"+filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			runTranscript(t, startTogether(t, nil, func(string) bool { return rand.IntN(2) == 0 }), path)
		})
	}
}

// syncBuffer is a log that may be read meanwhile.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestOwnerLeaves has the owner of a mailbox that another has selected evicted, as
// when the owner's slot goes to another backend: what waits in IDLE goes on, and what comes
// next is told.
func TestOwnerLeaves(t *testing.T) {
	var log syncBuffer
	var gone atomic.Bool
	r := startTogether(t, slog.New(slog.NewTextHandler(&log, nil)), func(user string) bool { return user != "someone2" || !gone.Load() })
	login := func(user string) *imapConn {
		c := dialIMAP(t, r.address())
		t.Cleanup(c.close)
		c.command("LOGIN " + user + " pass")
		c.expect("OK")
		return c
	}
	owner := login("someone2")
	owner.command("CREATE Work")
	owner.command("SETACL Work someone1 lrwstei")
	owner.expect("OK")
	owner.command(`APPEND Work <<"Subject: one\r\n\r\n1\r\n"`)
	owner.expect("OK")
	reader := login("someone1")
	reader.command("SELECT shared/someone2/Work")
	reader.expect("* 1 EXISTS")
	reader.expect("OK [READ-WRITE]")
	if got := log.String(); strings.Contains(got, `msg="back session"`) {
		t.Errorf("there was a connection: %s", got)
	}
	reader.command("IDLE")
	gone.Store(true)
	if err := r.nodes["be1"].store.Evict(context.Background(), func(user string) bool { return user == "someone2" }); err != nil {
		t.Fatal(err)
	}
	owner = login("someone2") // where the owner is now
	owner.command(`APPEND Work <<"Subject: two\r\n\r\n2\r\n"`)
	owner.expect("OK")
	reader.expect("* 2 EXISTS")
	owner.command("SELECT Work")
	owner.command(`STORE 1 +FLAGS (\Flagged)`)
	owner.expect("OK")
	reader.expect(`* 1 FETCH (... (...\Flagged`)
	reader.command("DONE")
	reader.expect("OK")
	reader.command("FETCH 2 BODY[TEXT]")
	reader.expect(`* 2 FETCH (...BODY[TEXT] <<"2\r\n"`)
	reader.expect("OK")
	if got := log.String(); !strings.Contains(got, `msg="back session"`) {
		t.Errorf("there was no connection: %s", got)
	}
	gone.Store(false)
	reader.command("UNSELECT")
	reader.command("SELECT shared/someone2/Work")
	reader.expect("* 2 EXISTS")
	reader.expect("OK")
}

// varies is what two runs of the same commands may differ in.
var varies = regexp.MustCompile(`UIDVALIDITY \d+|UIDNEXT \d+|(APPENDUID|COPYUID) \d+|"[ 0-9]\d-\w{3}-\d{4} [^"]*"|\([FM][0-9a-f]{32}\)`)

// TestSameAnswers gives the same commands in a cluster where shared mail takes a
// connection and in one where it does not. The answers are the same to the byte.
func TestSameAnswers(t *testing.T) {
	script, err := os.ReadFile("testdata/together.txt")
	if err != nil {
		t.Fatal(err)
	}
	var answers [2][]string
	for i := range answers {
		r := startTogether(t, nil, func(string) bool { return i == 1 })
		sessions := map[string]*imapConn{}
		for line := range strings.Lines(string(script)) {
			name, command, ok := strings.Cut(strings.TrimSpace(line), ": ")
			if !ok {
				continue
			}
			c := sessions[name]
			if c == nil {
				c = dialIMAP(t, r.address())
				t.Cleanup(c.close)
				sessions[name] = c
				c.command("LOGIN " + name + " pass")
			}
			c.command(command)
			text := strings.Join(c.answer, "\n")
			answers[i] = append(answers[i], command+"\n"+varies.ReplaceAllString(text, "*"))
		}
	}
	for i, want := range answers[0] {
		if got := answers[1][i]; got != want {
			t.Errorf("in the process\n%s\nby connection\n%s", got, want)
		}
	}
}

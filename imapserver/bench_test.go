package imapserver

import (
	"bufio"
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// flatBox has any number of messages, whose flags cost nothing to find out: what
// is measured is the session.
type flatBox struct {
	mailbox.Mailbox
	n imap.UID
}

func (b flatBox) Info() mailbox.Info {
	return mailbox.Info{Name: "INBOX", UIDValidity: 1, UIDNext: 3*b.n + 1, UIDs: b.uids(), Flags: imap.SystemFlags()}
}

// uids has a gap behind every second message.
func (b flatBox) uids() imap.UIDSet {
	var s imap.UIDSet
	for u := uint32(1); u <= 3*uint32(b.n)/2; u += 3 {
		s = append(s, imap.Range{Start: u, Stop: u + 1})
	}
	return s
}

func (b flatBox) Fetch(_ context.Context, uids imap.UIDSet, _ *imap.FetchItems, emit func(*mailbox.Message) error) error {
	m := mailbox.Message{Flags: []imap.Flag{imap.FlagSeen, imap.FlagAnswered}}
	for uid := range uids.All() {
		m.UID = uid
		if err := emit(&m); err != nil {
			return err
		}
	}
	return nil
}

func (flatBox) Sync(context.Context, bool) (mailbox.Changes, error) { return mailbox.Changes{}, nil }
func (flatBox) Close() error                                        { return nil }

type flatAccount struct {
	mailbox.Account
	n imap.UID
}

func (a flatAccount) Open(context.Context, string, bool) (mailbox.Mailbox, error) {
	return flatBox{n: a.n}, nil
}

// benchSession is a selected session of n messages; run sends a command and
// reads to its answer, and gives the bytes that came.
func benchSession(b *testing.B, n imap.UID) (run func(command string) int) {
	b.Helper()
	ts := newTestServer(b, func(c *Config) {
		c.Authenticator = authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
			return &Login{User: "ann", Account: flatAccount{mailboxmem.New("ann").As("ann", false), n}}, nil
		})
	})
	conn, err := net.Dial("tcp", ts.addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	r := bufio.NewReaderSize(conn, 256<<10)
	run = func(command string) int {
		if _, err := io.WriteString(conn, command); err != nil {
			b.Fatal(err)
		}
		total := 0
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			total += len(line)
			if len(line) > 2 && line[0] == 'a' && line[1] == ' ' {
				return total
			}
		}
	}
	run("a LOGIN ann secret\r\n")
	run("a SELECT INBOX\r\n")
	return run
}

func BenchmarkFetchFlags10k(b *testing.B) {
	run := benchSession(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(run("a FETCH 1:* (UID FLAGS)\r\n")))
	}
}

func BenchmarkNoop(b *testing.B) {
	run := benchSession(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		run("a NOOP\r\n")
	}
}

// BenchmarkPipelinedNoop is many commands in one write: they are answered in one.
func BenchmarkPipelinedNoop(b *testing.B) {
	run := benchSession(b, 1)
	batch := strings.Repeat("b NOOP\r\n", 99) + "a NOOP\r\n"
	b.ReportAllocs()
	for b.Loop() {
		run(batch)
	}
}

// BenchmarkIdleSessions shows what a waiting session holds, in bytes of heap
// and stack.
func BenchmarkIdleSessions(b *testing.B) {
	for _, state := range []string{"a NOOP\r\n", "a IDLE\r\n"} {
		b.Run(strings.TrimSpace(state[2:]), func(b *testing.B) { benchIdle(b, state) })
	}
}

func benchIdle(b *testing.B, last string) {
	const sessions = 200
	ts := newTestServer(b, nil)
	dialOne := func() net.Conn {
		conn, err := net.Dial("tcp", ts.addr)
		if err != nil {
			b.Fatal(err)
		}
		r := bufio.NewReader(conn)
		for _, text := range []string{"", "a LOGIN ann secret\r\n", "a SELECT INBOX\r\n", last} {
			_, _ = io.WriteString(conn, text)
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					b.Fatal(err)
				}
				if text == "" || line[0] == 'a' || line[0] == '+' {
					break
				}
			}
		}
		return conn
	}
	for b.Loop() {
		before := memory()
		conns := make([]net.Conn, sessions)
		for i := range conns {
			conns[i] = dialOne()
		}
		b.ReportMetric(float64(memory()-before)/sessions, "bytes/session")
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
}

// memory is what the heap and the stacks hold now.
func memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

package store

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

var distinct = flag.Bool("distinct", false, "benchmarks of opening use a message body for every message")

const openDirEnv, openSpreadEnv = "ROOST_STORE_OPEN_DIR", "ROOST_STORE_OPEN_SPREAD"

// openChild delivers 500 messages and flags 500, and waits to be killed.
func openChild(dir string) error {
	ctx := context.Background()
	account, err := New(Options{}).Open(ctx, "alice", dir)
	if err != nil {
		return err
	}
	a := account.As(owner)
	for i := range 500 {
		name := "box7"
		if os.Getenv(openSpreadEnv) != "" {
			name = fmt.Sprint("box", i%100)
		}
		if _, err := a.Append(ctx, name, newMail(i)); err != nil {
			return err
		}
		if err := flagOne(a, name, imap.UID(i+1)); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err = os.Stdin.Read(make([]byte, 1)) // the end
	return err
}

// killedAfterWork has another process work on the mail in dir and kills it.
func killedAfterWork(b *testing.B, dir, spread string) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), openDirEnv+"="+dir, openSpreadEnv+"="+spread)
	if _, err := cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "ready" {
		b.Fatalf("child says %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		b.Fatal(err)
	}
	_ = cmd.Wait() // "signal: killed"
}

// BenchmarkOpen opens an account of 1,000,000 messages in 100 mailboxes after
// the process that had it was killed, with a tail of 1,000 records in one of the
// mailboxes or spread over all. Unless -distinct is given, the messages of all
// mailboxes are copies of the same 10,000 bodies.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	million(b, dir)
	for _, c := range []struct{ name, spread string }{{"OneMailboxTouched", ""}, {"AllMailboxesTouched", "1"}} {
		b.Run(c.name, func(b *testing.B) {
			var open, find time.Duration
			for b.Loop() {
				b.StopTimer()
				killedAfterWork(b, dir, c.spread)
				b.StartTimer()
				begun := time.Now()
				s := New(Options{Linger: -1})
				account, err := s.Open(context.Background(), "alice", dir)
				if err != nil {
					b.Fatal(err)
				}
				open += time.Since(begun)
				a := account.As(owner)
				m, err := a.Open(context.Background(), "box7", false)
				if err != nil {
					b.Fatal(err)
				}
				find += time.Since(begun)
				b.StopTimer()
				account.Close() //nolint:errcheck // only measured
				m.Close()       //nolint:errcheck // only measured
				a.Close()       //nolint:errcheck // only measured
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(open.Microseconds())/1e3/float64(b.N), "ms-open")
			b.ReportMetric(float64(find.Microseconds())/1e3/float64(b.N), "ms-select")
		})
	}
}

// million is an account of 1,000,000 messages in dir, folded and closed.
func million(b *testing.B, dir string) {
	b.Helper()
	ctx := context.Background()
	const each = 10_000
	s := New(Options{Linger: -1})
	a := mustOpen(b, s, dir, owner)
	for i := range 100 {
		name := fmt.Sprint("box", i)
		if err := a.Create(ctx, name); err != nil {
			b.Fatal(err)
		}
		if i == 0 || *distinct {
			fill(b, a, name, each)
			continue
		}
		m, err := a.Open(ctx, "box0", true)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := m.Copy(ctx, imap.UIDRange(1, each), name); err != nil {
			b.Fatal(err)
		}
		m.Close() //nolint:errcheck // never fails
	}
	a.background.Wait()
	if err := a.fold(ctx); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func flagOne(a *Session, name string, uid imap.UID) error {
	m, err := a.Open(context.Background(), name, false)
	if err != nil {
		return err
	}
	defer m.Close() //nolint:errcheck // never fails
	change := mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}, Silent: true}
	_, err = m.Store(context.Background(), imap.UIDRange(uid, uid), change, nil)
	return err
}

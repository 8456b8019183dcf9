package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// benchMail is a message of 3 kB.
var benchMail = mail(1) + strings.Repeat("All work and no play makes Jack a dull boy.\r\n", 62)

func benchAppend(a mailbox.Account) error {
	_, err := a.Append(context.Background(), "INBOX", mailbox.One(&mailbox.NewMessage{
		Size: int64(len(benchMail)), Body: strings.NewReader(benchMail),
	}))
	return err
}

// BenchmarkRawSync is what the disk gives: 3 kB and fdatasync, by as many files at once.
func BenchmarkRawSync(b *testing.B) {
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			body := []byte(benchMail)
			spread(b, n, func(i int) func() error {
				f, err := OS{}.Create(filepath.Join(dir, fmt.Sprint(i)))
				if err != nil {
					b.Fatal(err)
				}
				off := int64(0)
				return func() error {
					if err := writeAll(f, body, off); err != nil {
						return err
					}
					off += int64(len(body))
					return f.Sync()
				}
			})
		})
	}
}

// BenchmarkAppend is APPEND by as many users at once, each into their own mail.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := New(Options{Linger: -1})
			defer s.Close() //nolint:errcheck // only measured
			dir := b.TempDir()
			spread(b, n, func(i int) func() error {
				a := mustOpen(b, s, filepath.Join(dir, fmt.Sprint(i)), owner)
				return func() error { return benchAppend(a) }
			})
		})
	}
}

// BenchmarkAppendShared is APPEND by 16 sessions into the same mail, whose
// transactions share syncs.
func BenchmarkAppendShared(b *testing.B) {
	s := New(Options{Linger: -1})
	defer s.Close() //nolint:errcheck // only measured
	a := mustOpen(b, s, b.TempDir(), owner)
	spread(b, 16, func(int) func() error { return func() error { return benchAppend(a) } })
}

// always is a coordinator that never takes anything back, and answers at once.
type always struct{}

func (always) Claim(context.Context, string) (Claim, error) { return always{}, nil }
func (always) Epoch() uint64                                { return 1 << 48 }
func (always) Check() error                                 { return nil }
func (always) Confirm(context.Context) error                { return nil }
func (always) Alive(string, uint64) bool                    { return false }
func (always) Behind(string, uint64) bool                   { return false }

// BenchmarkAppendClaimed is BenchmarkAppend with a coordinator.
func BenchmarkAppendClaimed(b *testing.B) {
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := New(Options{Linger: -1, Ownership: always{}})
			defer s.Close() //nolint:errcheck // only measured
			dir := b.TempDir()
			spread(b, n, func(i int) func() error {
				a := mustOpen(b, s, filepath.Join(dir, fmt.Sprint(i)), owner)
				return func() error { return benchAppend(a) }
			})
		})
	}
}

// spread does b.N times what n workers do.
func spread(b *testing.B, n int, worker func(i int) func() error) {
	b.Helper()
	work := make([]func() error, n)
	for i := range work {
		work[i] = worker(i)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	var wg sync.WaitGroup
	for _, do := range work {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
}

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// filled is alice's mail with n messages in INBOX.
func filled(b *testing.B, dir string, n int) (*Store, *Session) {
	b.Helper()
	s := New(Options{Linger: -1})
	b.Cleanup(func() { s.Close() }) //nolint:errcheck // only measured
	a := mustOpen(b, s, dir, owner)
	fill(b, a, imap.Inbox, n)
	return s, a
}

// fill delivers n messages, each other than the rest.
func fill(b *testing.B, a *Session, name string, n int) {
	b.Helper()
	i := 0
	for i < n {
		end := min(i+1000, n)
		_, err := a.Append(context.Background(), name, func() (*mailbox.NewMessage, error) {
			if i == end {
				return nil, io.EOF
			}
			i++
			text := mail(i)
			return &mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}, nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFetch(b *testing.B) {
	const n = 10_000
	_, a := filled(b, b.TempDir(), n)
	m, err := a.Open(context.Background(), "INBOX", false)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close() //nolint:errcheck // only measured
	a.background.Wait()
	if err := a.fold(context.Background()); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		items imap.FetchItems
	}{
		{"Flags", imap.FetchItems{Flags: true, ModSeq: true}},
		{"Envelope", imap.FetchItems{Envelope: true, Size: true, InternalDate: true}},
		{"EnvelopeFromLog", imap.FetchItems{Envelope: true, Size: true, InternalDate: true}},
		{"Body", imap.FetchItems{Sections: []imap.Section{{}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			if c.name == "EnvelopeFromLog" {
				kept := a.digests
				a.digests = nil
				defer func() { a.digests = kept }()
			}
			b.ReportAllocs()
			for b.Loop() {
				count := 0
				err := m.Fetch(context.Background(), imap.UIDRange(1, 1<<32-1), &c.items, func(*mailbox.Message) error { count++; return nil })
				if err != nil || count != n {
					b.Fatal(count, err)
				}
			}
			b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

func BenchmarkSearch(b *testing.B) {
	_, a := filled(b, b.TempDir(), 10_000)
	m, err := a.Open(context.Background(), "INBOX", false)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close() //nolint:errcheck // only measured
	for _, k := range []imap.SearchKey{
		{Op: imap.SearchFlag, Flag: imap.FlagFlagged},
		{Op: imap.SearchHeader, Field: "Subject", Text: "message 77"},
		{Op: imap.SearchBody, Text: "number 77"},
	} {
		b.Run(fmt.Sprint(k.Op), func(b *testing.B) {
			for b.Loop() {
				if _, err := m.Search(context.Background(), &k); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSort100k and BenchmarkThread100k are of 100,000 messages whose digests
// are in the digest file, in the log alone, and of an account that is opened first.
func BenchmarkSort100k(b *testing.B) {
	benchmarkOrder(b, func(m mailbox.Mailbox) map[string]func() error {
		sort := func(keys ...imap.SortKey) func() error {
			return func() error {
				sorted, err := m.Sort(context.Background(), keys, &imap.SearchKey{Op: imap.SearchAll})
				if err == nil && len(sorted.UIDs) != benchOrdered {
					err = fmt.Errorf("%d are sorted", len(sorted.UIDs))
				}
				return err
			}
		}
		return map[string]func() error{
			"Arrival": sort(imap.SortKey{Field: imap.SortArrival, Reverse: true}),
			"Date":    sort(imap.SortKey{Field: imap.SortDate}),
			"Subject": sort(imap.SortKey{Field: imap.SortSubject}, imap.SortKey{Field: imap.SortFrom}),
		}
	})
}

func BenchmarkThread100k(b *testing.B) {
	benchmarkOrder(b, func(m mailbox.Mailbox) map[string]func() error {
		all := map[string]func() error{}
		for _, alg := range imap.ThreadAlgorithms() {
			all[string(alg)] = func() error {
				_, err := m.Thread(context.Background(), alg, &imap.SearchKey{Op: imap.SearchAll})
				return err
			}
		}
		return all
	})
}

const benchOrdered = 100_000

func benchmarkOrder(b *testing.B, commands func(mailbox.Mailbox) map[string]func() error) {
	dir := b.TempDir()
	s, a := filled(b, dir, benchOrdered)
	a.background.Wait()
	if err := a.fold(context.Background()); err != nil {
		b.Fatal(err)
	}
	kept := a.digests
	for _, from := range []string{"Digests", "Log"} {
		if from == "Log" {
			a.digests = nil
		}
		m, err := a.Open(context.Background(), "INBOX", false)
		if err != nil {
			b.Fatal(err)
		}
		for name, run := range commands(m) {
			b.Run(from+"/"+name, func(b *testing.B) {
				for b.Loop() {
					if err := run(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		m.Close() //nolint:errcheck // never fails
	}
	a.digests = kept
	if err := errors.Join(a.Close(), s.Close()); err != nil {
		b.Fatal(err)
	}
	for name := range commands(nil) {
		b.Run("Opened/"+name, func(b *testing.B) {
			for b.Loop() {
				if err := openedFor(dir, name, commands); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// openedFor runs one command in an account that nobody has open.
func openedFor(dir, name string, commands func(mailbox.Mailbox) map[string]func() error) error {
	s := New(Options{Linger: -1})
	account, err := s.Open(context.Background(), "alice", dir)
	if err != nil {
		return err
	}
	a := account.As(owner)
	m, err := a.Open(context.Background(), "INBOX", true)
	if err == nil {
		err = errors.Join(commands(m)[name](), m.Close())
	}
	return errors.Join(err, a.Close(), account.Close(), s.Close())
}

// BenchmarkStore is a flag change of one message.
func BenchmarkStore(b *testing.B) {
	_, a := filled(b, b.TempDir(), 10_000)
	m, err := a.Open(context.Background(), "INBOX", false)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close() //nolint:errcheck // only measured
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		change := mailbox.FlagChange{Op: mailbox.FlagOp(1 + i%2), Flags: []imap.Flag{imap.FlagFlagged}, Silent: true}
		if _, err := m.Store(context.Background(), imap.UIDRange(imap.UID(i%9999+1), imap.UID(i%9999+1)), change, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendWhileRewriting is APPEND of one client while nothing else goes
// on, and while another account is rewritten, with and without a bound.
func BenchmarkAppendWhileRewriting(b *testing.B) {
	for _, c := range []struct {
		name string
		rate int64
	}{{"still", 0}, {"20M", 20 << 20}, {"unbounded", 1 << 50}} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			s := New(Options{Linger: -1, RewriteRate: max(c.rate, 1)})
			defer s.Close() //nolint:errcheck // only measured
			a := mustOpen(b, s, filepath.Join(dir, "a"), owner)
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			if c.rate > 0 {
				big := mustOpen(b, s, filepath.Join(dir, "b"), owner)
				text := benchMail + strings.Repeat("x", 60<<10)
				for range 1000 {
					_, err := big.Append(ctx, "INBOX", mailbox.One(&mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}))
					if err != nil {
						b.Fatal(err)
					}
				}
				wg.Go(func() {
					for ctx.Err() == nil {
						seg := big.writer.name
						err := big.submit(ctx, &txn{alone: true, run: big.rollOver})
						if err == nil {
							err = big.rewrite(ctx, victim{name: seg})
						}
						if err != nil && ctx.Err() == nil {
							b.Error(err)
							return
						}
						big.disk.fs.Remove(big.disk.path(seg.String())) //nolint:errcheck // the disk is to stay small
					}
				})
			}
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				if err := benchAppend(a); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			cancel()
			wg.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// BenchmarkAppendCompressed is APPEND of 16 users, and what 10 kB letters take on
// disk, with and without compression.
func BenchmarkAppendCompressed(b *testing.B) {
	for _, level := range []int{0, 1, 3} {
		b.Run(fmt.Sprint(level), func(b *testing.B) {
			s := New(Options{Linger: -1, CompressLevel: level})
			defer s.Close() //nolint:errcheck // only measured
			dir := b.TempDir()
			text := letter(1, 10<<10, false)
			spread(b, 16, func(i int) func() error {
				a := mustOpen(b, s, filepath.Join(dir, fmt.Sprint(i)), owner)
				return func() error {
					_, err := a.Append(context.Background(), "INBOX", mailbox.One(&mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}))
					return err
				}
			})
			b.StopTimer()
			logs, err := filepath.Glob(filepath.Join(dir, "*", "*."+kindLog))
			if err != nil {
				b.Fatal(err)
			}
			total := int64(0)
			for _, name := range logs {
				info, err := os.Stat(name)
				if err != nil {
					b.Fatal(err)
				}
				total += info.Size()
			}
			b.ReportMetric(float64(total)/float64(b.N), "disk-B/op")
		})
	}
}

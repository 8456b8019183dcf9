package store

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

const killDirEnv, killStepEnv, killCountEnv = "ROOST_STORE_KILL_DIR", "ROOST_STORE_KILL_STEP", "ROOST_STORE_KILL_COUNT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDirEnv); dir != "" {
		work := killChild
		if os.Getenv(killStepEnv) == anyStep {
			work = busyChild
		}
		if err := work(dir); err != nil {
			fmt.Println("error", err)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(openDirEnv); dir != "" {
		if err := openChild(dir); err != nil {
			fmt.Println("error", err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// killChild works on the mail in dir and says what it is about to do and what
// it was told. It is killed on its way.
func killChild(dir string) error {
	step := os.Getenv(killStepEnv)
	count, err := strconv.Atoi(os.Getenv(killCountEnv))
	if err != nil {
		return err
	}
	s := New(Options{Holder: "b1", Ownership: claimsOf("b1", os.Getenv(claimFileEnv)), FailPoint: func(at string) error {
		if at == step {
			if count--; count == 0 {
				return syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		}
		return nil
	}, limits: limits{segment: 40 << 10, foldBytes: 20 << 10, foldRecords: 50}})
	account, err := s.Open(context.Background(), "alice", dir)
	if err != nil {
		return err
	}
	a := account.As(owner)
	if err := a.Create(context.Background(), "Done"); err != nil && imap.CodeOf(err) != imap.CodeAlreadyExists {
		return err
	}
	m, err := a.Open(context.Background(), "INBOX", false)
	if err != nil {
		return err
	}
	first := int(m.Info().UIDNext) + 1_000*os.Getpid()
	for n := first; n < first+400; n++ {
		if err := killStep(a, m, n); err != nil {
			return err
		}
	}
	fmt.Println("closing")
	return s.Close()
}

// killStep delivers message n and, by its number, flags, moves or expunges it.
func killStep(a *Session, m mailbox.Mailbox, n int) error {
	ctx := context.Background()
	var uids imap.UIDSet
	flag := func(f imap.Flag) error {
		_, err := m.Store(ctx, uids, mailbox.FlagChange{Op: mailbox.FlagsAdd, Flags: []imap.Flag{f}, Silent: true}, nil)
		return err
	}
	do := func(what string, f func() error) error {
		fmt.Println("try", what, n)
		err := f()
		if err == nil {
			fmt.Println("ok", what, n)
		}
		return err
	}
	err := do("append", func() error {
		data, err := a.Append(ctx, "INBOX", newMail(n))
		uids = data.UIDs
		return err
	})
	if err == nil && n%3 == 0 {
		err = do("flag", func() error { return flag(imap.FlagFlagged) })
	}
	if err == nil && n%4 == 0 {
		return do("move", func() error { _, err := m.Move(ctx, uids, "Done"); return err })
	}
	if err == nil && n%5 == 0 {
		return do("expunge", func() error {
			if err := flag(imap.FlagDeleted); err != nil {
				return err
			}
			return m.Expunge(ctx, uids, false)
		})
	}
	return err
}

// TestKill kills a process at every step and at random moments, several times on
// the same mail. What it was told must be so; what it was not told of may be.
func TestKill(t *testing.T) {
	steps := []string{
		"segment.created", "commit.write", "commit.written", "commit.synced", "manifest.written", "manifest.linked",
		"manifest.installed", "fold.snapshot", "fold.written", "fold.installed", "rewrite.done", "segment.replaced", "",
	}
	for i, step := range steps {
		name := step
		if step == "" {
			name = "random"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := &killed{t: t, dir: t.TempDir(), rnd: rand.New(rand.NewPCG(uint64(i), 3)), told: map[string]string{}}
			for range 3 {
				k.run(step)
				k.verify()
			}
		})
	}
}

type killed struct {
	t    *testing.T
	dir  string
	rnd  *rand.Rand
	told map[string]string // "append 7" -> "try" or "ok"
}

// run lets a child work and die.
func (k *killed) run(step string) {
	k.t.Helper()
	count, lines := 1+k.rnd.IntN(12), 1<<30
	if step == "" {
		lines = 20 + k.rnd.IntN(700)
	}
	k.runUntil(step, count, lines, 0)
}

// runUntil lets a child work until it has said so many lines, and kills it a
// little later. It returns the last step that the child told of.
func (k *killed) runUntil(step string, count, lines int, later time.Duration) (last string) {
	k.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		k.t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), killDirEnv+"="+k.dir, killStepEnv+"="+step, killCountEnv+"="+fmt.Sprint(count))
	out, err := cmd.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	for in := bufio.NewScanner(out); in.Scan(); lines-- {
		word, what, _ := strings.Cut(in.Text(), " ")
		switch word {
		case "try", "ok":
			k.told[what] = word
		case "error":
			k.t.Errorf("child: %s", what)
		case "at":
			last = what
		}
		if lines == 0 {
			time.AfterFunc(later, func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait() // it was killed
	return last
}

// verify opens the mail and compares it with what the child was told.
func (k *killed) verify() {
	k.t.Helper()
	if _, err := os.Stat(k.dir); err != nil {
		k.t.Fatal(err)
	}
	k.verifyIn(New(testOptions(k.t)))
}

// verifyIn is verify by a store, which it closes.
func (k *killed) verifyIn(s *Store) {
	k.t.Helper()
	a := mustOpen(k.t, s, k.dir, owner)
	places := map[string][]string{}
	flagged := map[string]bool{}
	names, err := a.Mailboxes(context.Background())
	if err != nil {
		k.t.Fatal(err)
	}
	for _, name := range names {
		k.list(a, name, places, flagged)
	}
	if err := s.Close(); err != nil {
		k.t.Fatal(err)
	}
	checkDir(k.t, k.dir)
	for what, word := range k.told {
		n, is := strings.CutPrefix(what, "append ")
		if is && word == "ok" || len(places[n]) > 0 {
			k.message(n, places[n], flagged[n])
		}
	}
}

func (k *killed) list(a *Session, name string, places map[string][]string, flagged map[string]bool) {
	k.t.Helper()
	m, err := a.Open(context.Background(), name, true)
	if err != nil {
		k.t.Fatal(err)
	}
	items := &imap.FetchItems{Flags: true, Sections: []imap.Section{{}}}
	err = m.Fetch(context.Background(), imap.UIDRange(1, 1<<32-1), items, func(m *mailbox.Message) error {
		text, err := io.ReadAll(m.Sections[0].Body)
		_, rest, _ := strings.Cut(string(text), "Subject: message ")
		n, _, _ := strings.Cut(rest, "\r\n")
		if number, _ := strconv.Atoi(n); string(text) != mail(number) {
			k.t.Errorf("%s: UID %d has other content", name, m.UID)
		}
		places[n] = append(places[n], name)
		flagged[n] = imap.HasFlag(m.Flags, imap.FlagFlagged)
		return err
	})
	if err != nil {
		k.t.Fatal(err)
	}
}

// message judges where message n is found.
func (k *killed) message(n string, places []string, flagged bool) {
	k.t.Helper()
	moved, expunged := k.told["move "+n], k.told["expunge "+n]
	if k.told["flag "+n] == "ok" && expunged == "" && !flagged {
		k.t.Errorf("message %s lost its flag", n)
	}
	got := strings.Join(places, "+")
	switch want := map[string]bool{"INBOX": moved != "ok" && expunged != "ok", "Done": moved != "", "": expunged != ""}; {
	case !want[got]:
		k.t.Errorf("message %s is in %q; move %q, expunge %q", n, got, moved, expunged)
	}
}

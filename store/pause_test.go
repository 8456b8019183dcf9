package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/roost-mail/roost/imap"
)

const claimFileEnv = "ROOST_STORE_CLAIM_FILE"

// fileClaims is a coordinator that is a file: the epoch and who holds all mail. Who
// has claimed it does not look at it again but to confirm.
type fileClaims struct{ name, path string }

// claimsOf is nil without a path.
func claimsOf(name, path string) Ownership {
	if path == "" {
		return nil
	}
	return fileClaims{name, path}
}

func (f fileClaims) read() (epoch uint64, holder string, err error) {
	text, err := os.ReadFile(f.path)
	if err == nil {
		_, err = fmt.Sscanf(string(text), "%d %s", &epoch, &holder)
	}
	return epoch, holder, err
}

func (f fileClaims) Claim(context.Context, string) (Claim, error) {
	epoch, holder, err := f.read()
	if err == nil && holder != f.name {
		err = errNotHeld
	}
	if err != nil {
		return nil, unavailable(err)
	}
	return fileClaim{f, epoch}, nil
}

type fileClaim struct {
	fileClaims
	epoch uint64
}

func (c fileClaim) Epoch() uint64             { return c.epoch }
func (c fileClaim) Check() error              { return nil }
func (c fileClaim) Alive(string, uint64) bool { return false }

func (c fileClaim) Behind(string, uint64) bool { return false }

func (c fileClaim) Confirm(context.Context) error {
	epoch, holder, err := c.read()
	if err == nil && (epoch != c.epoch || holder != c.name) {
		err = errNotHeld
	}
	return err
}

// give makes a backend the holder, in one step.
func (f fileClaims) give(t *testing.T, epoch uint64) Ownership {
	t.Helper()
	temp := f.path + ".new"
	err := os.WriteFile(temp, fmt.Appendf(nil, "%d %s\n", epoch, f.name), 0o600)
	if err := errors.Join(err, os.Rename(temp, f.path)); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestPausedProcess stops a process at a random moment, has another backend take over
// although the lock is taken, and lets the process go on, which believes that
// it holds the mail.
func TestPausedProcess(t *testing.T) {
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 7))
	k := &killed{t: t, dir: t.TempDir(), rnd: rnd, told: map[string]string{}}
	claims := filepath.Join(t.TempDir(), "claims")
	for round := range 8 {
		fileClaims{"b1", claims}.give(t, 1<<48+uint64(2*round+1))
		p := startPaused(k, claims, 1+rnd.IntN(500))
		o := testOptions(t)
		o.Log, o.Holder = nil, "b2"
		o.Ownership = fileClaims{"b2", claims}.give(t, 1<<48+uint64(2*round+2))
		s := New(o)
		a := mustOpen(t, s, k.dir, owner)
		n := 900_000_000 + round
		k.told[fmt.Sprint("append ", n)] = "ok"
		mustAppend(t, a, "INBOX", n)
		want := contentsOf(t, a, "INBOX")
		p.goOn()
		if got := contentsOf(t, a, "INBOX"); got != want {
			t.Fatalf("round %d: got\n%s\nwant\n%s", round, got, want)
		}
		k.verifyIn(s)
		if t.Failed() {
			return
		}
	}
}

// paused is a child that is stopped.
type paused struct {
	*killed
	cmd  *exec.Cmd
	out  *os.File
	rest []byte // of what it said, a line that is not whole yet
}

// startPaused lets a child say so many lines, and stops it.
func startPaused(k *killed, claims string, lines int) *paused {
	k.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		k.t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		k.t.Fatal(err)
	}
	p := &paused{killed: k, cmd: exec.Command(exe), out: out}
	p.cmd.Env = append(os.Environ(), killDirEnv+"="+k.dir, killStepEnv+"=", killCountEnv+"=1", claimFileEnv+"="+claims)
	p.cmd.Stdout = in
	if err := p.cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		k.t.Fatal(err)
	}
	for lines > 0 {
		said := p.hear()
		lines -= len(said)
		k.note(said)
	}
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		k.t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(p.cmd.Process.Pid, &status, unix.WUNTRACED, nil); err != nil || !status.Stopped() {
		k.t.Fatalf("the child is not stopped: %v, %v", status, err)
	}
	for {
		waiting, err := unix.IoctlGetInt(int(out.Fd()), unix.TIOCINQ)
		if err != nil {
			k.t.Fatal(err)
		}
		if waiting == 0 {
			return p
		}
		k.note(p.hear())
	}
}

// hear reads some whole lines, none at the end.
func (p *paused) hear() []string {
	p.t.Helper()
	block := make([]byte, 4096)
	n, err := p.out.Read(block)
	if err != nil {
		p.t.Fatalf("the child ended: %v; %s", err, p.rest)
	}
	p.rest = append(p.rest, block[:n]...)
	end := bytes.LastIndexByte(p.rest, '\n') + 1
	lines := strings.Split(strings.TrimSuffix(string(p.rest[:end]), "\n"), "\n")
	p.rest = p.rest[end:]
	if end == 0 {
		return nil
	}
	return lines
}

func (k *killed) note(lines []string) {
	k.t.Helper()
	for _, line := range lines {
		switch word, what, _ := strings.Cut(line, " "); word {
		case "try", "ok":
			k.told[what] = word
		case "error":
			k.t.Errorf("child: %s", what)
		}
	}
}

// goOn lets the child go on. It ends with an error before it is told that
// anything has become durable.
func (p *paused) goOn() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		p.t.Fatal(err)
	}
	text, err := io.ReadAll(p.out)
	if err := errors.Join(err, p.cmd.Wait(), p.out.Close()); err != nil {
		p.t.Errorf("child: %v", err)
	}
	said := string(p.rest) + string(text)
	if first, rest, _ := strings.Cut(said, "\n"); strings.HasPrefix(first, "ok ") {
		said = rest
		if !strings.HasPrefix(first, "ok flag") { // which needs no confirmation
			p.note([]string{first}) // confirmed, and stopped before it was said: verify looks for it
		}
	}
	for _, word := range []string{"ok append", "ok move", "ok expunge", "closing"} {
		if strings.Contains(said, word) {
			p.t.Errorf("after it lost the mail the child said %s", said)
		}
	}
	if !strings.Contains(said, "error ["+string(imap.CodeUnavailable)) {
		p.t.Errorf("the child ended without an error: %s", said)
	}
}

package dicttest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/roost-mail/roost/dict"
)

// Doveadm runs "doveadm dict" on a dictionary, as a real peer does.
type Doveadm struct {
	OnlyReads bool   // it can't write this kind of dictionary
	Value     string // that TestDovecot uses; "" means some text

	binary, conf, uri string
}

// NewDoveadm uses the dictionary of a uri. Without Dovecot the test is skipped,
// unless ROOST_TEST_PEERS=1 says that it must run.
func NewDoveadm(t testing.TB, uri string) Doveadm {
	t.Helper()
	return newDoveadm(t, uri, "")
}

// NewDoveadmBySQL uses a dictionary that only Dovecot's dict process can open: uri
// is a database's. The process ends with the test.
func NewDoveadmBySQL(t testing.TB, uri string) Doveadm {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("Dovecot's processes need root")
	}
	a := newDoveadm(t, "proxy::roost", "protocols =\nssl = no\nservice dict {\n  user = root\n}\nservice stats {\n  unix_listener stats-writer {\n    mode = 0666\n  }\n}\ndict {\n  roost = "+uri+"\n}\n")
	cmd := exec.Command("dovecot", "-F", "-c", a.conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	socket := filepath.Join(filepath.Dir(a.conf), "run", "dict")
	for range 500 {
		if _, err := os.Stat(socket); err == nil {
			return a
		}
		time.Sleep(20 * time.Millisecond)
	}
	text, _ := os.ReadFile(filepath.Join(filepath.Dir(a.conf), "log"))
	t.Fatalf("Dovecot has no dict process: %s", text)
	return a
}

func newDoveadm(t testing.TB, uri, more string) Doveadm {
	t.Helper()
	binary, err := exec.LookPath("doveadm")
	if err != nil {
		if os.Getenv("ROOST_TEST_PEERS") == "1" {
			t.Fatal(err)
		}
		t.Skip("no doveadm here")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "dovecot.conf")
	text := fmt.Sprintf("base_dir = %s/run\nstate_dir = %s\nlog_path = %s/log\n%s", dir, dir, dir, more)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Doveadm{binary: binary, conf: conf, uri: uri}
}

// Run runs one command of "doveadm dict".
func (a Doveadm) Run(t testing.TB, command string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // its bugs include loops without end
	defer cancel()
	words := append([]string{"-c", a.conf, "dict", command}, args...)
	out, err := exec.CommandContext(ctx, a.binary, words...).CombinedOutput()
	return strings.TrimRight(string(out), " \n"), err // values are padded as in a table
}

// Do runs a command on a key of the dictionary, which has to succeed.
func (a Doveadm) Do(t testing.TB, command, key string, args ...string) string {
	t.Helper()
	out, err := a.Run(t, command, append([]string{"-u", "x", a.uri, key}, args...)...)
	if err != nil {
		t.Fatalf("doveadm dict %s %q: %v: %s", command, key, err, out)
	}
	return out
}

// TestDovecot checks that d, which is empty, and the peer see the keys that the
// other one writes.
func TestDovecot(t *testing.T, d dict.Dict, peer Doveadm, keys []string) {
	h := handle{t, d}
	ours, theirs := "ours", "theirs"
	if peer.Value != "" {
		ours, theirs = peer.Value, peer.Value
	}
	for _, key := range keys {
		h.commit(dict.Set(key, ours))
		if got := peer.Do(t, "get", key); got != ours {
			t.Errorf("doveadm dict get %q: %q", key, got)
		}
		h.commit(dict.Unset(key))
		if out, err := peer.Run(t, "get", "-u", "x", peer.uri, key); err == nil {
			t.Errorf("doveadm dict get of what was unset: %q", out)
		}
		if peer.OnlyReads {
			continue
		}
		peer.Do(t, "set", key, theirs)
		h.want(key, theirs)
	}
	if peer.OnlyReads {
		return
	}
	n := 0
	if err := d.Iterate(t.Context(), dict.Root, func(key, value string) error { n++; return nil }); err != nil || n != len(keys) {
		t.Errorf("%d keys of %d: %v", n, len(keys), err)
	}
	for _, key := range keys {
		peer.Do(t, "unset", key)
		h.wantMissing(key)
	}
}

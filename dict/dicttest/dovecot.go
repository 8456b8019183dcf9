package dicttest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/dict"
)

// Doveadm runs "doveadm dict" on a dictionary, as a real peer does.
type Doveadm struct {
	OnlyReads bool // it can't write this kind of dictionary

	binary, conf, uri string
}

// NewDoveadm uses the dictionary of a uri. more is added to the configuration.
// Without Dovecot the test is skipped, unless ROOST_TEST_PEERS=1 says that it must run.
func NewDoveadm(t testing.TB, uri, more string) Doveadm {
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
	text := fmt.Sprintf("base_dir = %s\nstate_dir = %s\nlog_path = /dev/stderr\n%s", dir, dir, more)
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
	for _, key := range keys {
		h.commit(dict.Set(key, "ours"))
		if got := peer.Do(t, "get", key); got != "ours" {
			t.Errorf("doveadm dict get %q: %q", key, got)
		}
		h.commit(dict.Unset(key))
		if out, err := peer.Run(t, "get", "-u", "x", peer.uri, key); err == nil {
			t.Errorf("doveadm dict get of what was unset: %q", out)
		}
		if peer.OnlyReads {
			continue
		}
		peer.Do(t, "set", key, "theirs")
		h.want(key, "theirs")
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

package dictfile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/roost-mail/roost/dict"
)

// doveadm runs "doveadm dict" on a file, as a real peer does.
type doveadm struct {
	t                 *testing.T
	binary, conf, uri string
}

// newDoveadm skips the test if there is no Dovecot, unless the environment
// says that there has to be.
func newDoveadm(t *testing.T, uri string) doveadm {
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
	text := fmt.Sprintf("base_dir = %s\nstate_dir = %s\nlog_path = /dev/stderr\n", dir, dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return doveadm{t, binary, conf, uri}
}

func (a doveadm) run(command, key string, args ...string) (string, error) {
	args = append([]string{"-c", a.conf, "dict", command, "-u", "x", a.uri, key}, args...)
	out, err := exec.CommandContext(a.t.Context(), a.binary, args...).CombinedOutput()
	return strings.TrimRight(string(out), " \n"), err // values are padded as in a table
}

func (a doveadm) must(command, key string, args ...string) string {
	a.t.Helper()
	out, err := a.run(command, key, args...)
	if err != nil {
		a.t.Fatalf("doveadm dict %s %q: %v: %s", command, key, err, out)
	}
	return out
}

func TestDovecotReadsAndWrites(t *testing.T) {
	texts := map[string]string{
		"shared/shared-boxes/user/bob/alice": "1",
		"shared/a b":                         "two words",
		"shared/é/日本":                        "ü",
		"shared/tab\there":                   "a\tb\nc\rd\x01e",
		"shared/\x01t\x010":                  "\x01t",
		"shared/" + dict.Escape("a/b\n%"):    dict.Escape("\x00"),
	}
	eachLock(t, func(t *testing.T, lock Lock) {
		path := filepath.Join(t.TempDir(), "new", "dict")
		peer := newDoveadm(t, "file:"+path+":lock="+lockNames[lock])
		if lock == LockDotlock {
			peer.uri = "file:" + path // its default
		}
		ours := open(t, path, Options{Lock: lock})
		for key, value := range texts {
			commit(t, ours, dict.Set(key, value))
			if got := peer.must("get", key); got != value {
				t.Errorf("get %q: %q, want %q", key, got, value)
			}
			peer.must("set", key, "their "+value)
			wantValue(t, ours, key, "their "+value)
		}
		peer.must("set", "priv/counter", "17")
		commit(t, ours, dict.Unset("shared/a b"))
		if out, err := peer.run("get", "shared/a b"); err == nil {
			t.Errorf("get of what was unset: %s", out)
		}
		if got := peer.must("get", "priv/counter"); got != "17" {
			t.Errorf("private entry became %q", got)
		}
		for key := range texts {
			peer.must("unset", key)
		}
		if _, ok, err := ours.Get(t.Context(), "shared/é/日本"); ok || err != nil {
			t.Errorf("after unset: %v, %v", ok, err)
		}
	})
}

// Writers of both kinds at once lose nothing.
func TestDovecotWritesMeanwhile(t *testing.T) {
	const writers, rounds = 2, 15
	eachLock(t, func(t *testing.T, lock Lock) {
		path := filepath.Join(t.TempDir(), "dict")
		peer := newDoveadm(t, "file:"+path+":lock="+lockNames[lock])
		if lock == LockDotlock {
			peer.uri = "file:" + path
		}
		ours := open(t, path, Options{Lock: lock})
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range rounds {
					key := fmt.Sprintf("shared/theirs/%d/%d", w, i)
					if out, err := peer.run("set", key, "1"); err != nil {
						t.Errorf("doveadm: %v: %s", err, out)
					}
				}
			})
			wg.Go(func() {
				d := open(t, path, Options{Lock: lock})
				for i := range rounds {
					changes := []dict.Change{dict.Set(fmt.Sprintf("shared/ours/%d/%d", w, i), "1")}
					if err := d.Commit(t.Context(), changes); err != nil {
						t.Errorf("Commit: %v", err)
					}
				}
			})
		}
		wg.Wait()
		for _, prefix := range []string{"shared/ours/", "shared/theirs/"} {
			n := 0
			err := ours.Iterate(t.Context(), prefix, func(string, string) error { n++; return nil })
			if err != nil || n != writers*rounds {
				t.Errorf("%d of %d keys below %s are left, %v", n, writers*rounds, prefix, err)
			}
		}
	})
}

package dictfile

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/dict/dicttest"
)

var lockNames = map[Lock]string{LockDotlock: "dotlock", LockFlock: "flock", LockFcntl: "fcntl"}

// eachLock runs a test with each way of locking.
func eachLock(t *testing.T, run func(t *testing.T, lock Lock)) {
	for lock, name := range lockNames {
		t.Run(name, func(t *testing.T) { run(t, lock) })
	}
}

func TestDict(t *testing.T) {
	eachLock(t, func(t *testing.T, lock Lock) {
		dicttest.Test(t, func(t *testing.T) func() dict.Dict {
			path := filepath.Join(t.TempDir(), "dict")
			return func() dict.Dict { return open(t, path, Options{Lock: lock}) }
		})
	})
}

// open opens a handle and, when the test ends, checks that no file is left
// beside the dictionary.
func open(t *testing.T, path string, opt Options) *Dict {
	t.Helper()
	d, err := Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		wantTidy(t, path)
	})
	return d
}

func wantTidy(t *testing.T, path string) {
	t.Helper()
	for _, suffix := range []string{".lock", ".tmp"} {
		if _, err := os.Lstat(path + suffix); err == nil && !t.Failed() {
			t.Errorf("%s%s is left behind", path, suffix)
		}
	}
}

func commit(t *testing.T, d *Dict, changes ...dict.Change) {
	t.Helper()
	if err := d.Commit(t.Context(), changes); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

func wantValue(t *testing.T, d *Dict, key, value string) {
	t.Helper()
	if got, ok, err := d.Get(t.Context(), key); err != nil || !ok || got != value {
		t.Fatalf("Get(%q) = %q, %v, %v; want %q", key, got, ok, err, value)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("file is %q, %v; want %q", got, err, want)
	}
}

func TestParseURI(t *testing.T) {
	for _, row := range []struct {
		uri, path string
		lock      Lock
	}{
		{"file:/var/lib/dict", "/var/lib/dict", LockDotlock},
		{"file:/var/lib/dict:lock=dotlock", "/var/lib/dict", LockDotlock},
		{"file:/var/lib/dict:lock=flock", "/var/lib/dict", LockFlock},
		{"file:/var/lib/dict:lock=fcntl", "/var/lib/dict", LockFcntl},
	} {
		path, opt, err := ParseURI(row.uri)
		if err != nil || path != row.path || opt != (Options{Lock: row.lock}) {
			t.Errorf("%s: %q, %+v, %v", row.uri, path, opt, err)
		}
	}
	for _, uri := range []string{"", "file:", "/var/lib/dict", "fs:/a", "file:a", "file:~/a", "file:/a:", "file:/a:lock=", "file:/a:lock=flock:x", "file:/a\x00b"} {
		if path, _, err := ParseURI(uri); err == nil {
			t.Errorf("%s: no error, path %q", uri, path)
		}
	}
}

func TestOpenRelative(t *testing.T) {
	if _, err := Open("dict", Options{}); err == nil {
		t.Error("a relative path was accepted")
	}
}

// What is not ours stays: private keys of Dovecot, and damage, which is
// reported once and moves to the end.
func TestForeignLinesStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dict")
	writeFile(t, path, "priv/quota\n17\nstray\nshared/b\n2\n\nshared/a\n1\nshared/a\x010\nnul\nshared/cut")
	var log strings.Builder
	d := open(t, path, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	wantValue(t, d, "shared/a", "1")
	wantValue(t, d, "shared/b", "2")
	commit(t, d, dict.Set("shared/a", "3"))
	want := "shared/a\n3\nshared/b\n2\npriv/quota\n17\nshared/a\x010\nnul\nstray\n\nshared/cut\n"
	wantFile(t, path, want)
	commit(t, d, dict.Unset("shared/a"), dict.Unset("shared/b"))
	wantFile(t, path, strings.TrimPrefix(want, "shared/a\n3\nshared/b\n2\n"))
	if n := strings.Count(log.String(), "no entries"); n != 1 || !strings.Contains(log.String(), "first_line=3 lines=3") {
		t.Errorf("log: %s", log.String())
	}
}

func TestNoChangeNoWrite(t *testing.T) {
	eachLock(t, func(t *testing.T, lock Lock) {
		path := filepath.Join(t.TempDir(), "dict")
		writeFile(t, path, "shared/b\n2\nshared/a\n1\n") // not sorted: a write would show
		d := open(t, path, Options{Lock: lock})
		commit(t, d, dict.Set("shared/a", "1"), dict.Unset("shared/c"))
		wantFile(t, path, "shared/b\n2\nshared/a\n1\n")
	})
}

// A change by other means than a commit is seen, even if the size stays.
func TestEditedInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dict")
	d := open(t, path, Options{})
	commit(t, d, dict.Set("shared/a", "1"))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("shared/b\r\nwith CR\r\n"); err != nil {
		t.Fatal(err)
	}
	wantValue(t, d, "shared/b", "with CR")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := d.Get(t.Context(), "shared/a"); ok || err != nil {
		t.Errorf("after removal: %v, %v", ok, err)
	}
}

func TestVersionIsOfTheContents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dict")
	d := open(t, path, Options{})
	commit(t, d, dict.Set("shared/a", "1"))
	before, err := d.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, "stray\nshared/a\n1\npriv/x\n2\n")
	if after, err := d.Version(t.Context()); err != nil || after != before {
		t.Errorf("version %q became %q, %v", before, after, err)
	}
}

func BenchmarkGet(b *testing.B) {
	d := benchDict(b, 10_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, ok, err := d.Get(context.Background(), fmt.Sprintf("shared/user/%06d/owner", i%10_000)); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	d := benchDict(b, 10_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := d.Commit(context.Background(), []dict.Change{dict.Set("shared/n", fmt.Sprint(i))}); err != nil {
			b.Fatal(err)
		}
	}
}

func benchDict(b *testing.B, n int) *Dict {
	d, err := Open(filepath.Join(b.TempDir(), "dict"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	changes := make([]dict.Change, n)
	for i := range changes {
		changes[i] = dict.Set(fmt.Sprintf("shared/user/%06d/owner", i), "1")
	}
	if err := d.Commit(context.Background(), changes); err != nil {
		b.Fatal(err)
	}
	return d
}

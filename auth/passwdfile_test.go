package auth

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestParsePasswd(t *testing.T) {
	text, err := os.ReadFile("testdata/users.odd")
	if err != nil {
		t.Fatal(err)
	}
	table := parsePasswd(string(text))
	for _, name := range []string{"plain", "short", "hash", "colons", "vars", "open", "closed", "both", "off", "odd", "net", "alias", "crlf", "no newline at the end"} {
		if _, ok := table.lines[name]; !ok {
			t.Errorf("%s is missing", name)
		}
		delete(table.lines, name)
	}
	for name := range table.lines {
		t.Errorf("%s was read", name)
	}
	reasons := map[string]bool{}
	for _, bad := range table.bad {
		reasons[bad.err.Error()] = true
		if strings.Contains(bad.err.Error(), "pass") {
			t.Errorf("line %d: the reason %q shows a password", bad.number, bad.err)
		}
	}
	if table.badAll != 7 || len(table.bad) != 7 || table.bad[0].number != 15 {
		t.Errorf("bad lines %v", table.bad)
	}
	if table.sample != "{PLAIN}pass" {
		t.Errorf("sample %q", table.sample)
	}
	line, err := parsePasswdLine("{PLAIN}pass::::/srv/100%::userdb_mail=x a=b userdb_c")
	if err != nil || line.home != "/srv/100%" || len(line.extra) != 3 || len(line.user()) != 3 {
		t.Errorf("got %+v, %v", line, err)
	}
}

func TestParsePasswdLimits(t *testing.T) {
	table := parsePasswd("long:" + strings.Repeat("x", maxPasswdLine) + "\nok:x\n" + strings.Repeat("a/b:x\n", 100))
	if len(table.lines) != 1 || len(table.bad) != maxBadLines || table.badAll != 101 {
		t.Errorf("%d lines, %d reported of %d", len(table.lines), len(table.bad), table.badAll)
	}
}

// A changed file counts within a second; an unchanged one is not read again.
func TestPasswdReload(t *testing.T) {
	path := writeFile(t, "a:{PLAIN}1\n")
	long := time.Now().Add(-time.Hour)
	stamp := func(at time.Time) {
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	stamp(long)
	synctest.Test(t, func(t *testing.T) {
		files := newPasswdFiles(slog.New(slog.DiscardHandler))
		get := func() *passwdTable {
			table, err := files.table(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			return table
		}
		first := get()
		if get() != first {
			t.Error("read twice within a second")
		}
		time.Sleep(2 * statInterval)
		if get() != first {
			t.Error("an unchanged file was read again")
		}
		if err := os.WriteFile(path, []byte("b:{PLAIN}1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		stamp(long.Add(time.Second))
		if get() != first {
			t.Error("stat(2) more than once a second")
		}
		time.Sleep(statInterval)
		if _, ok := get().lines["b"]; !ok {
			t.Error("a change went unnoticed")
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(statInterval)
		if _, err := files.table(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a removed file: %v", err)
		}
		if err := os.WriteFile(path, []byte("c:{PLAIN}1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(statInterval)
		if _, ok := get().lines["c"]; !ok {
			t.Error("a new file went unnoticed")
		}
	})
}

// A file changed just now is read again, even if its times do not show a change.
func TestPasswdRacyChange(t *testing.T) {
	path := writeFile(t, "a:{PLAIN}1\n")
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
		files := newPasswdFiles(slog.New(slog.DiscardHandler))
		if _, err := files.table(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("b:{PLAIN}1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
		time.Sleep(statInterval)
		table, err := files.table(t.Context(), path)
		if err != nil || table.lines["b"] == "" {
			t.Errorf("got %v, %v", table, err)
		}
	})
}

// A file that is being written, or that can't be read any more, does not lock out
// those who were in it, and the log says so once. A removed file has nobody.
func TestPasswdKeepsTheLastGoodFile(t *testing.T) {
	for _, row := range []struct {
		name   string
		spoil  func(path string) error
		age    time.Duration // of the spoilt file
		reason string        // in the log; empty: the new contents count
	}{
		{"half a line", func(p string) error { return os.WriteFile(p, []byte("b:{PLAIN}1\nc:{PLA"), 0o600) }, 0, "users:2: the last line has no end"},
		{"half a line, for long", func(p string) error { return os.WriteFile(p, []byte("b:{PLAIN}1\nc:{PLA"), 0o600) }, time.Minute, ""},
		{"empty", func(p string) error { return os.WriteFile(p, nil, 0o600) }, time.Hour, "users:0: the file is empty"},
		{"a comment alone", func(p string) error { return os.WriteFile(p, []byte("# nobody\n"), 0o600) }, 0, ""},
		{"a directory", func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) }, 0, "not a regular file"},
		{"a loop", func(p string) error { return errors.Join(os.Remove(p), os.Symlink(p, p)) }, -1, "too many levels"},
		{"too long", func(p string) error { return os.Truncate(p, maxPasswdFile+1) }, 0, "longer than"},
		{"removed", os.Remove, -1, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := writeFile(t, "a:{PLAIN}1\n")
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				files := newPasswdFiles(slog.New(slog.NewTextHandler(&log, nil)))
				has := func(name string) bool {
					table, err := files.table(t.Context(), path)
					return err == nil && table.lines[name] != ""
				}
				if !has("a") {
					t.Fatal("not read")
				}
				if err := row.spoil(path); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					time.Sleep(statInterval)
					if at := time.Now().Add(-row.age); row.age >= 0 {
						if err := os.Chtimes(path, at, at); err != nil {
							t.Fatal(err)
						}
					}
					if has("a") != (row.reason != "") {
						t.Errorf("the old contents count: %v", has("a"))
					}
				}
				said := strings.Count(log.String(), "cannot be used")
				if row.reason == "" && said != 0 || row.reason != "" && (said != 1 || !strings.Contains(log.String(), row.reason)) {
					t.Errorf("said %d times: %s", said, log.String())
				}
				if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, []byte("b:{PLAIN}1\n"), 0o600)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(statInterval)
				if !has("b") || has("a") {
					t.Error("a good file after it was not taken")
				}
			})
		})
	}
}

func TestPasswdFileErrors(t *testing.T) {
	files := newPasswdFiles(slog.New(slog.DiscardHandler))
	if _, err := files.table(t.Context(), t.TempDir()); err == nil {
		t.Error("a directory was read")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := &passwdFile{flight: make(chan struct{})} // a file system that does not answer
	if _, err := file.get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// One goroutine reads while many ask.
func TestPasswdConcurrent(t *testing.T) {
	path := writeFile(t, "a:{PLAIN}1\n")
	files := newPasswdFiles(slog.New(slog.DiscardHandler))
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if table, err := files.table(t.Context(), path); err != nil || len(table.lines) != 1 {
				t.Errorf("got %v, %v", table, err)
			}
		})
	}
	group.Wait()
}

// The path may depend on the domain, as in /etc/mail/%d/users.
func TestPasswdPathVariables(t *testing.T) {
	dir := t.TempDir()
	for domain, text := range map[string]string{"one.example": "bob:{PLAIN}1", "two.example": "bob:{PLAIN}2"} {
		if err := os.Mkdir(filepath.Join(dir, domain), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, domain, "users"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := newAuth(t, Config{Passdbs: []PassdbConfig{{Driver: "passwd-file", Args: "username_format=%n " + dir + "/%d/users"}}})
	for _, row := range []struct{ user, password, want string }{
		{"bob@one.example", "1", "bob@one.example"},
		{"bob@two.example", "2", "bob@two.example"},
		{"bob@two.example", "1", "AUTHENTICATIONFAILED"},
		{"bob@three.example", "1", "AUTHENTICATIONFAILED"},
		{"bob@..", "1", "AUTHENTICATIONFAILED"},
		{"bob@.", "1", "AUTHENTICATIONFAILED"},
	} {
		if got := say(a.Authenticate(t.Context(), Request{AuthID: row.user, Password: row.password})); got != row.want {
			t.Errorf("%v: %q", row, got)
		}
	}
}

// Bad lines reach the log with file and line number.
func TestPasswdReport(t *testing.T) {
	var log strings.Builder
	files := newPasswdFiles(slog.New(slog.NewTextHandler(&log, nil)))
	path := writeFile(t, "ok:x\na/b:secret\n"+strings.Repeat("..:secret\n", 30))
	if _, err := files.table(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if s := log.String(); !strings.Contains(s, "users:2") || strings.Contains(s, "secret") || !strings.Contains(s, "lines=11") || !strings.Contains(s, path) {
		t.Errorf("log %s", s)
	}
}

// FuzzPasswdFile demands that any file is read without harm, and that every line
// that is kept can be used: by a name that is valid, with an entry that parses.
func FuzzPasswdFile(f *testing.F) {
	for _, path := range []string{"testdata/users", "testdata/users.director", "testdata/users.odd"} {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		table := parsePasswd(text)
		if table.badAll < len(table.bad) || len(table.bad) > maxBadLines {
			t.Error("bad lines are counted wrongly")
		}
		for name, rest := range table.lines {
			if checkName(name) != nil || strings.Contains(name, ":") {
				t.Errorf("name %q", name)
			}
			line, err := parsePasswdLine(rest)
			if err != nil {
				t.Errorf("line of %q: %v", name, err)
			}
			fields := Fields{}
			if err := expandFields(fields, line.user(), expandVariables, nameValue(name)); err == nil && line.home != "" {
				if _, given := fields["home"]; !given {
					t.Errorf("home of %q is lost", name)
				}
			}
			parseStored(line.password, "CRYPT")
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	a, err := New(backend())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(b.Context(), Request{AuthzID: "someone1", AuthID: "someone3", Password: "master-secret"}); err != nil {
			b.Fatal(err)
		}
	}
}

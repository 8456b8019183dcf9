package dictfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/roost-mail/roost/dict"
)

// childEnv names the dictionary of a process that does nothing but commit.
const childEnv = "ROOST_TEST_DICTFILE_CHILD"

func TestMain(m *testing.M) {
	if uri := os.Getenv(childEnv); uri != "" {
		commitForever(uri)
	}
	os.Exit(m.Run())
}

// commitForever sets two keys to one number, which grows, until it is killed.
func commitForever(uri string) {
	path, opt, err := ParseURI(uri)
	if err != nil {
		panic(err)
	}
	d, err := Open(path, opt)
	if err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		n := fmt.Sprintf("%s%d", strings.Repeat("0", i%2000), i)
		if err := d.Commit(context.Background(), []dict.Change{dict.Set("shared/a", n), dict.Set("shared/z", n)}); err != nil {
			panic(err)
		}
	}
}

// A process that is killed at any moment leaves one state or the next, and a
// lock that does not last.
func TestKilledMidCommit(t *testing.T) {
	eachLock(t, func(t *testing.T, lock Lock) {
		path := filepath.Join(t.TempDir(), "dict")
		d := open(t, path, Options{Lock: lock})
		for round := range 10 {
			commit(t, d, dict.Unset("shared/a"), dict.Unset("shared/z"), dict.Set("shared/round", fmt.Sprint(round)))
			child := exec.CommandContext(t.Context(), os.Args[0])
			child.Env = append(os.Environ(), childEnv+"=file:"+path+":lock="+lockNames[lock])
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			waitForCommits(t, d, 3+round)
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = child.Wait() // "signal: killed"
			wantTwins(t, d)
			makeOld(t, path+".lock")
			commit(t, d, dict.Set("shared/after", fmt.Sprint(round)))
			wantTwins(t, d)
		}
	})
}

// waitForCommits returns when others changed the dictionary n times.
func waitForCommits(t *testing.T, d *Dict, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	last, err := d.Version(ctx)
	for n > 0 && err == nil {
		var v string
		if v, err = d.Version(ctx); v != last {
			last = v
			n--
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func wantTwins(t *testing.T, d *Dict) {
	t.Helper()
	seen := map[string]string{}
	err := d.Iterate(t.Context(), dict.Root, func(key, value string) error { seen[key] = value; return nil })
	if err != nil || seen["shared/a"] == "" || seen["shared/a"] != seen["shared/z"] {
		t.Fatalf("%v, %v", seen, err)
	}
}

// makeOld gives a lock file, if it is there, an age at which it is stale.
func makeOld(t *testing.T, name string) {
	t.Helper()
	old := time.Now().Add(-staleAge - time.Minute)
	if err := os.Chtimes(name, old, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestLockHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dict")
	d := open(t, path, Options{LockWait: time.Millisecond})
	commit(t, d, dict.Set("shared/a", "1"))
	writeFile(t, path+".lock", "")
	defer os.Remove(path + ".lock")

	change := []dict.Change{dict.Set("shared/a", "2")}
	if err := d.Commit(t.Context(), change); !errors.Is(err, ErrLocked) {
		t.Errorf("Commit: %v", err)
	}
	patient := open(t, path, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := patient.Commit(ctx, change); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Commit with a deadline: %v", err)
	}
	// Who only reads, or has nothing to write, does not wait.
	wantValue(t, patient, "shared/a", "1")
	commit(t, patient, dict.Set("shared/a", "1"))
	if err := patient.Commit(t.Context(), change, dict.IfMissing("shared/a")); !errors.Is(err, dict.ErrConflict) {
		t.Errorf("Commit that cannot be: %v", err)
	}

	ended := make(chan error)
	go func() { ended <- patient.Commit(context.WithoutCancel(t.Context()), change) }()
	if err := patient.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, dict.ErrClosed) {
		t.Errorf("Commit on a handle that was closed: %v", err)
	}
	wantFile(t, path+".lock", "")
}

func TestKernelLockHeld(t *testing.T) {
	for lock, hold := range map[Lock]func(fd uintptr) error{
		LockFlock: func(fd uintptr) error { return unix.Flock(int(fd), unix.LOCK_EX) },
		LockFcntl: func(fd uintptr) error {
			return unix.FcntlFlock(fd, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		},
	} {
		t.Run(lockNames[lock], func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "dict")
			writeFile(t, path, "shared/a\n1\n")
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := hold(f.Fd()); err != nil {
				t.Fatal(err)
			}
			d := open(t, path, Options{Lock: lock, LockWait: time.Millisecond})
			change := []dict.Change{dict.Set("shared/a", "2")}
			if err := d.Commit(t.Context(), change); !errors.Is(err, ErrLocked) {
				t.Errorf("Commit: %v", err)
			}
			wantFile(t, path, "shared/a\n1\n")
			f.Close()
			commit(t, d, change...)
			wantFile(t, path, "shared/a\n2\n")
		})
	}
}

// However many find a stale lock, it is broken once, and nothing is lost.
func TestStaleLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dict")
	writeFile(t, path, "shared/a\n1\n")
	var log lockedBuilder
	for round := range 5 {
		writeFile(t, path+".lock", "shared/a\n2\nshared/half")
		makeOld(t, path+".lock")
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				d := open(t, path, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
				changes := []dict.Change{dict.Set(fmt.Sprintf("shared/%d/%d", round, i), "1")}
				if err := d.Commit(t.Context(), changes); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	d, n := open(t, path, Options{}), 0
	if err := d.Iterate(t.Context(), dict.Root, func(string, string) error { n++; return nil }); err != nil || n != 41 {
		t.Errorf("%d keys, %v", n, err)
	}
	if n := strings.Count(log.b.String(), "breaking"); n != 5 {
		t.Errorf("5 locks were broken %d times", n)
	}
}

type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// What is no lock file of anybody's is never removed, however old.
func TestOddLock(t *testing.T) {
	for name, place := range map[string]func(lock string) error{
		"directory": func(lock string) error { return os.Mkdir(lock, 0o700) },
		"link":      func(lock string) error { return os.Symlink("/dev/null", lock) },
		"fifo":      func(lock string) error { return syscall.Mkfifo(lock, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "dict")
			d := open(t, path, Options{LockWait: time.Millisecond})
			if err := place(path + ".lock"); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(path + ".lock")
			if name != "link" {
				makeOld(t, path+".lock")
			}
			if err := d.Commit(t.Context(), []dict.Change{dict.Set("shared/a", "1")}); !errors.Is(err, ErrLocked) {
				t.Errorf("Commit: %v", err)
			}
			if _, err := os.Lstat(path + ".lock"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A writer that sleeps so long that its lock is broken replaces nothing when it
// wakes, and leaves the lock of its successor alone.
func TestSleepingWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dict")
	sleeper, other := open(t, path, Options{}), open(t, path, Options{})
	commit(t, other, dict.Set("shared/a", "1"))
	sleeper.fault = func(step string) error {
		if step == "confirm" {
			makeOld(t, path+".lock")
			commit(t, other, dict.Set("shared/b", "2"))
			writeFile(t, path+".lock", "somebody")
		}
		return nil
	}
	err := sleeper.Commit(t.Context(), []dict.Change{dict.Set("shared/c", "3")})
	if err == nil || !strings.Contains(err.Error(), "broken by another") {
		t.Errorf("Commit: %v", err)
	}
	wantFile(t, path, "shared/a\n1\nshared/b\n2\n")
	wantFile(t, path+".lock", "somebody")
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
}

// A full disk, or any other failure, leaves the file as it was, and no lock.
func TestFailingSteps(t *testing.T) {
	eachLock(t, func(t *testing.T, lock Lock) {
		path := filepath.Join(t.TempDir(), "dict")
		d := open(t, path, Options{Lock: lock})
		commit(t, d, dict.Set("shared/a", "1"))
		for _, step := range []string{"access", "write", "sync", "confirm"} {
			d.fault = failAt(step)
			if err := d.Commit(t.Context(), []dict.Change{dict.Set("shared/a", "2")}); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("%s: %v", step, err)
			}
			wantFile(t, path, "shared/a\n1\n")
			wantValue(t, d, "shared/a", "1")
			wantTidy(t, path)
		}
		// Here the commit is visible already, and the error says that it may not last.
		d.fault = failAt("directory")
		if err := d.Commit(t.Context(), []dict.Change{dict.Set("shared/a", "3")}); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("directory: %v", err)
		}
		wantValue(t, d, "shared/a", "3")
		d.fault = nil
		commit(t, d, dict.Set("shared/a", "4"))
		wantFile(t, path, "shared/a\n4\n")
	})
}

func failAt(step string) func(string) error {
	return func(s string) error {
		if s == step {
			return unix.ENOSPC
		}
		return nil
	}
}

func TestSymbolicLink(t *testing.T) {
	for name, existing := range map[string]bool{"to a file": true, "to nothing": false} {
		t.Run(name, func(t *testing.T) {
			eachLock(t, func(t *testing.T, lock Lock) {
				dir := t.TempDir()
				target, link := filepath.Join(dir, "real", "dict"), filepath.Join(dir, "link")
				if err := os.Symlink("real/dict", link); err != nil {
					t.Fatal(err)
				}
				if existing {
					commit(t, open(t, target, Options{Lock: lock}), dict.Set("shared/a", "1"))
				}
				linked, direct := open(t, link, Options{Lock: lock}), open(t, target, Options{Lock: lock})
				commit(t, linked, dict.Set("shared/a", "2"))
				wantValue(t, direct, "shared/a", "2")
				commit(t, direct, dict.Set("shared/a", "3"))
				wantValue(t, linked, "shared/a", "3")
				if st, err := os.Lstat(link); err != nil || st.Mode()&fs.ModeSymlink == 0 {
					t.Errorf("the link became %v, %v", st, err)
				}
			})
		})
	}
}

// The dotlock of either name keeps everybody out.
func TestSymbolicLinkLocks(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "dict"), filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	d := open(t, link, Options{LockWait: time.Millisecond})
	for _, name := range []string{target, link} {
		writeFile(t, name+".lock", "")
		if err := d.Commit(t.Context(), []dict.Change{dict.Set("shared/a", "1")}); !errors.Is(err, ErrLocked) {
			t.Errorf("%s.lock: %v", name, err)
		}
		if err := os.Remove(name + ".lock"); err != nil {
			t.Error(err)
		}
		wantTidy(t, target)
		wantTidy(t, link)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	if err := open(t, loop, Options{}).Commit(t.Context(), []dict.Change{dict.Set("shared/a", "1")}); err == nil {
		t.Error("a link to itself was accepted")
	}
}

// Nothing but a regular file of moderate size is read, and no reader hangs.
func TestOddFiles(t *testing.T) {
	for name, place := range map[string]func(path string) error{
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"fifo":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"device":    func(path string) error { return os.Symlink("/dev/zero", path) },
		"below file": func(path string) error {
			return errors.Join(os.Remove(filepath.Dir(path)), os.WriteFile(filepath.Dir(path), nil, 0o600))
		},
		"huge": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, maxFile+1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dir")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "dict")
			if err := place(path); err != nil {
				t.Fatal(err)
			}
			eachLock(t, func(t *testing.T, lock Lock) {
				d := open(t, path, Options{Lock: lock})
				if _, _, err := d.Get(t.Context(), "shared/a"); err == nil {
					t.Error("Get: no error")
				}
				if err := d.Commit(t.Context(), []dict.Change{dict.Set("shared/a", "1")}); err == nil {
					t.Error("Commit: no error")
				}
			})
		})
	}
}

// A commit that would make a file nobody reads again is refused.
func TestTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dict")
	d := open(t, path, Options{})
	d.limit = int64(len("shared/a\n12\n"))
	commit(t, d, dict.Set("shared/a", "12"))
	for _, change := range []dict.Change{dict.Set("shared/a", "123"), dict.Set("shared/a", "1\n"), dict.Set("shared/b", "")} {
		if err := d.Commit(t.Context(), []dict.Change{change}); err == nil {
			t.Errorf("%+v: no error", change)
		}
	}
	wantFile(t, path, "shared/a\n12\n")
}

func TestPermissions(t *testing.T) {
	eachLock(t, func(t *testing.T, lock Lock) {
		dir := filepath.Join(t.TempDir(), "new", "dir")
		path := filepath.Join(dir, "dict")
		d := open(t, path, Options{Lock: lock})
		commit(t, d, dict.Set("shared/a", "1"))
		wantMode(t, dir, 0o700)
		wantMode(t, path, 0o600)
		for _, mode := range []fs.FileMode{0o640, 0o666, 0o604, 0o600} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			commit(t, d, dict.Set("shared/a", mode.String()))
			wantMode(t, path, mode)
		}
		if err := errors.Join(os.Remove(path), os.Chmod(dir, 0o775)); err != nil {
			t.Fatal(err)
		}
		commit(t, d, dict.Set("shared/a", "1"))
		wantMode(t, path, 0o664)
	})
}

func wantMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
		t.Errorf("%s: %v, %v; want %v", path, st.Mode().Perm(), err, want)
	}
}

// Root gives a file to whom it belonged; others cannot, and then a group that
// was not meant gets no more than everybody.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	path := filepath.Join(t.TempDir(), "dict")
	writeFile(t, path, "")
	if err := errors.Join(os.Chown(path, 4711, 4712), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	commit(t, open(t, path, Options{}), dict.Set("shared/a", "1"))
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); !ok || sys.Uid != 4711 || sys.Gid != 4712 || st.Mode().Perm() != 0o640 {
		t.Errorf("%v, %+v", st.Mode(), st.Sys())
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	eachLock(t, func(t *testing.T, lock Lock) {
		dir := t.TempDir()
		path := filepath.Join(dir, "dict")
		writeFile(t, path, "shared/a\n1\n")
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(dir, 0o700)
		d := open(t, path, Options{Lock: lock})
		if err := d.Commit(t.Context(), []dict.Change{dict.Set("shared/a", "2")}); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("Commit: %v", err)
		}
		commit(t, d, dict.Set("shared/a", "1"))
		wantValue(t, d, "shared/a", "1")
	})
}

package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
)

// swept is alice's mail on a memFS, with what a test needs to sweep it.
func swept(t *testing.T) (*memFS, *Store, *Session) {
	t.Helper()
	fs := newMemFS()
	o := testOptions(t)
	o.FS = fs
	s := New(o)
	a := mustOpen(t, s, "/mail", owner)
	mustAppend(t, a, "INBOX", 1)
	return fs, s, a
}

func (m *memFS) has(name string) bool {
	return len(m.files(func(n string) bool { return n == name })) > 0
}

func mustSweep(t *testing.T, a *Session) {
	t.Helper()
	if err := a.disk.sweep(a.epoch, a.incarnation); err != nil {
		t.Fatal(err)
	}
}

// install replaces the manifest by one like it.
func install(t *testing.T, a *Session) {
	t.Helper()
	err := a.submit(context.Background(), &txn{alone: true, run: func() error { return a.begin(a.writer.synced) }})
	if err != nil {
		t.Fatal(err)
	}
}

// The newest three manifests stay, and for a week what took over from a process
// that did not close. What a clean close preceded needs no guard.
func TestSweepManifests(t *testing.T) {
	fs, s, _ := swept(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open := func() *Session {
		o := testOptions(t)
		o.FS = fs
		return mustOpen(t, New(o), "/mail", owner)
	}
	open() // clean before, and then it dies
	fs.breakLocks()
	took := open()
	first := took.man.Number
	left := func() (numbers []uint64) {
		for _, name := range fs.files(func(string) bool { return true }) {
			if n, is := parseManifestName(strings.TrimPrefix(name, "/mail/")); is {
				numbers = append(numbers, n)
			}
		}
		slices.Sort(numbers)
		return numbers
	}
	for range 5 {
		install(t, took)
	}
	mustSweep(t, took)
	if got := left(); got[0] != first-3 || len(got) != int(took.man.Number-first)+4 {
		t.Errorf("of %d manifests %v are left within the grace", took.man.Number, got)
	}
	n := took.man.Number
	fs.pass(sweepAge + time.Second)
	install(t, took) // whatever n did not list, it has not listed for ten minutes now
	mustSweep(t, took)
	if got, want := left(), []uint64{first, n - 1, n, n + 1}; !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
	fs.pass(keptTakeover)
	for range 3 {
		install(t, took)
	}
	mustSweep(t, took)
	if got := left(); slices.Contains(got, first) {
		t.Errorf("left are %v after a week", got)
	}
}

// TestSweepFiles goes through what keeps a file that no manifest lists, and for how long.
func TestSweepFiles(t *testing.T) {
	for _, c := range []struct {
		name string
		file func(a *Session) string // relative to ours
		age  time.Duration           // after which it goes; 0: never
	}{
		{"ours", func(a *Session) string { return fileName{kindLog, a.epoch, a.incarnation, 1}.String() }, sweepAge},
		{"ours in the making", func(a *Session) string { return fileName{kindTable, a.epoch, a.incarnation, 99}.String() }, 0},
		{"of an older epoch", func(a *Session) string { return fileName{kindLog, a.epoch - 1, 7, 99}.String() }, sweepAgeOld},
		{"of another process", func(a *Session) string { return fileName{kindLog, a.epoch, 7, 99}.String() }, sweepAgeOld},
		{"of a successor", func(a *Session) string { return fileName{kindLog, a.epoch + 1, 7, 1}.String() }, 0},
		{"a manifest in the making", func(*Session) string { return "tmp.12" }, sweepAgeOld},
		{"somebody's notes", func(*Session) string { return "README" }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs, s, a := swept(t)
			if err := a.submit(context.Background(), &txn{alone: true, run: func() error { a.newName(kindLog); return nil }}); err != nil {
				t.Fatal(err)
			}
			install(t, a)
			if err := a.submit(context.Background(), &txn{alone: true, run: a.rollOver}); err != nil {
				t.Fatal(err)
			}
			name := c.file(a)
			fs.mu.Lock()
			if old := fs.names["/mail/"+name]; old == nil {
				fs.names["/mail/"+name] = &memNode{mtime: fs.clock}
			}
			listed := c.name == "ours"
			fs.mu.Unlock()
			if listed { // the segment is dead once it is folded
				expunge(t, a, imap.UIDRange(1, 1))
				if err := a.fold(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			step := func(d time.Duration) bool {
				t.Helper()
				fs.pass(d)
				install(t, a)
				mustSweep(t, a)
				return fs.has(name)
			}
			if !step(max(c.age, time.Minute) - time.Second) {
				t.Error("it is gone too early")
			}
			if there := step(10 * 24 * time.Hour); there != (c.age == 0) {
				t.Errorf("it is there: %v", there)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := check(fs, "/mail", t.Output()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A file that is being read stays, as long as it takes.
func TestSweepPinned(t *testing.T) {
	fs, _, a := swept(t)
	name := a.writer.name
	if err := a.submit(context.Background(), &txn{alone: true, run: a.rollOver}); err != nil {
		t.Fatal(err)
	}
	r, err := a.disk.openSegment(a.id, name, 0)
	if err != nil {
		t.Fatal(err)
	}
	expunge(t, a, imap.UIDRange(1, 1))
	if err := a.fold(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, there := range []bool{true, false} {
		fs.pass(48 * time.Hour)
		install(t, a)
		mustSweep(t, a)
		if fs.has(name.String()) != there {
			t.Errorf("while it is open: %v; it is there: %v", there, !there)
		}
		r.file.Close() //nolint:errcheck // only read
	}
}

// While a backup is registered nothing goes. One that died is forgotten.
func TestSweepDuringBackup(t *testing.T) {
	fs, _, a := swept(t)
	orphan := fileName{kindLog, a.epoch - 1, 7, 99}.String()
	fs.mu.Lock()
	fs.names["/mail/"+orphan] = &memNode{mtime: fs.clock.Add(-48 * time.Hour)}
	fs.names["/mail/"+backupPrefix+"1"] = &memNode{mtime: fs.clock}
	fs.mu.Unlock()
	for _, c := range []struct {
		after  time.Duration
		orphan bool
		backup bool
	}{{0, true, true}, {backupAge, true, true}, {time.Second, false, true}, {sweepAgeOld, false, false}} {
		fs.pass(c.after)
		install(t, a)
		mustSweep(t, a)
		if fs.has(orphan) != c.orphan || fs.has(backupPrefix+"1") != c.backup {
			t.Errorf("%+v: orphan %v, registration %v", c, fs.has(orphan), fs.has(backupPrefix+"1"))
		}
	}
}

// Who is no longer the holder removes nothing.
func TestSweepNotOurs(t *testing.T) {
	fs, _, a := swept(t)
	fs.breakLocks()
	o := testOptions(t)
	o.FS = fs
	mustOpen(t, New(o), "/mail", owner)
	all := func() []string {
		names := fs.files(func(string) bool { return true })
		slices.Sort(names)
		return names
	}
	before := all()
	fs.pass(1000 * time.Hour)
	if err := a.disk.sweep(a.epoch, a.incarnation); !errors.Is(err, errFenced) {
		t.Errorf("sweep: %v", err)
	}
	if after := all(); !slices.Equal(after, before) {
		t.Errorf("there are %v, were %v", after, before)
	}
}

// An account that is opened often, only to be read, gathers no manifests.
func TestFewManifests(t *testing.T) {
	fs, s, _ := swept(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		fs.pass(sweepAge)
		o := testOptions(t)
		o.FS = fs
		s := New(o)
		mustOpen(t, s, "/mail", owner)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(fs.files(func(string) bool { return true })); n != 3 {
		t.Errorf("%d files, not a log and two manifests", n)
	}
}

// A closed account is few files at once: two manifests, a log and perhaps a table.
func TestIdleFiles(t *testing.T) {
	dir := t.TempDir()
	for _, want := range []struct {
		what  string
		do    func(a *Session)
		files int
	}{
		{"a delivery", func(a *Session) { mustAppend(t, a, "INBOX", 1) }, 3},
		{"a look", func(a *Session) { contentsOf(t, a, "INBOX") }, 3},
		{"a fold", func(a *Session) {
			if err := a.fold(context.Background()); err != nil {
				t.Fatal(err)
			}
		}, 4},
		{"a look at the table", func(a *Session) { contentsOf(t, a, "INBOX") }, 4},
	} {
		s := New(testOptions(t))
		want.do(mustOpen(t, s, dir, owner))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		names, err := OS{}.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(names) != want.files {
			t.Errorf("after %s there are %v, not %d", want.what, names, want.files)
		}
		checkDir(t, dir)
	}
}

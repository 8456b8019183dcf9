package dict

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// lame is a dictionary that can't be read while it is broken, counts how often all
// of it is read, and tells of nothing.
type lame struct {
	Dict
	broken atomic.Bool
	takes  atomic.Int64 // a time.Duration, until it says that it is broken
	reads  atomic.Int64
}

func (l *lame) Iterate(ctx context.Context, prefix string, fn func(key, value string) error) error {
	l.reads.Add(1)
	if l.broken.Load() {
		time.Sleep(time.Duration(l.takes.Load()))
		return errors.New("the server is gone")
	}
	return l.Dict.Iterate(ctx, prefix, fn)
}

// versionedLame has a version as well.
type versionedLame struct{ *lame }

func (l versionedLame) Version(ctx context.Context) (string, error) {
	return l.Dict.(Versioner).Version(ctx)
}

func set(t *testing.T, d Dict, key, value string) {
	t.Helper()
	if err := d.Commit(t.Context(), []Change{Set(key, value)}); err != nil {
		t.Fatal(err)
	}
}

func shows(t *testing.T, m *Mirror, key, want string) {
	t.Helper()
	if got, _, err := m.Get(t.Context(), key); err != nil || got != want {
		t.Errorf("the mirror has %s = %q, %v; want %q", key, got, err, want)
	}
}

func TestMirrorPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := &lame{Dict: NewMemory()}
		set(t, origin, "shared/a", "1")
		m := NewMirror(origin, MirrorOptions{})
		defer m.Close()
		shows(t, m, "shared/a", "1")
		set(t, origin, "shared/a", "2") // by somebody else
		told := m.Changed()
		time.Sleep(1100 * time.Millisecond)
		shows(t, m, "shared/a", "2")
		select {
		case <-told:
		default:
			t.Error("nobody was told")
		}
		told = m.Changed()
		time.Sleep(10 * time.Second)
		select {
		case <-told:
			t.Error("nothing has changed, and it was told")
		default:
		}
	})
}

func TestMirrorAsksTheVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := versionedLame{&lame{Dict: NewMemory()}}
		m := NewMirror(origin, MirrorOptions{})
		defer m.Close()
		time.Sleep(20500 * time.Millisecond)
		if n := origin.reads.Load(); n != 1 {
			t.Errorf("all was read %d times, and nothing changed", n)
		}
		set(t, origin, "shared/a", "1")
		time.Sleep(time.Second)
		shows(t, m, "shared/a", "1")
		time.Sleep(2 * time.Minute)
		if n := origin.reads.Load(); n < 4 || n > 7 {
			t.Errorf("all was read %d times in two minutes: to be sure that is done, but rarely", n)
		}
	})
}

// What was read stays while the dictionary is away, and a commit shows at once.
func TestMirrorOfBrokenDict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := &lame{Dict: NewMemory()}
		origin.broken.Store(true)
		m := NewMirror(origin, MirrorOptions{})
		defer m.Close()
		if _, _, err := m.Get(t.Context(), "shared/a"); !errors.Is(err, errNotRead) {
			t.Errorf("before it was read once: %v", err)
		}
		origin.broken.Store(false)
		time.Sleep(2 * time.Second)
		w := m.Writer()
		set(t, w, "shared/a", "1")
		shows(t, m, "shared/a", "1")
		origin.broken.Store(true)
		time.Sleep(time.Hour)
		shows(t, m, "shared/a", "1")
		if m.Failing() == nil {
			t.Error("it does not say that it may be old")
		}
		origin.broken.Store(false)
		time.Sleep(2 * time.Second)
		if err := m.Failing(); err != nil {
			t.Error(err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		set(t, origin, "shared/b", "still open")
	})
}

// However long it took to find out that the dictionary does not answer, soon after it answers
// again its copy is new.
func TestMirrorOfHungDict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := &lame{Dict: NewMemory()}
		m := NewMirror(origin, MirrorOptions{})
		defer m.Close()
		shows(t, m, "shared/a", "")
		origin.takes.Store(int64(time.Minute))
		origin.broken.Store(true)
		time.Sleep(90 * time.Second)
		origin.broken.Store(false)
		set(t, origin, "shared/a", "1")
		time.Sleep(time.Minute)
		shows(t, m, "shared/a", "1")
	})
}

// deaf is a dictionary whose watch fails until it is mended.
type deaf struct {
	Dict
	mended atomic.Bool
}

func (d *deaf) Watch(ctx context.Context, changed func([]Change)) error {
	if !d.mended.Load() {
		return errors.New("the server is gone")
	}
	changed(nil)
	<-ctx.Done()
	return ctx.Err()
}

// While the watch fails the dictionary is polled, which is said once.
func TestMirrorOfBrokenWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		origin := &deaf{Dict: NewMemory()}
		m := NewMirror(origin, MirrorOptions{Log: slog.New(slog.NewTextHandler(&log, nil))})
		time.Sleep(time.Minute)
		set(t, origin, "shared/a", "1")
		time.Sleep(1100 * time.Millisecond)
		shows(t, m, "shared/a", "1")
		origin.mended.Store(true)
		time.Sleep(time.Minute)
		m.Close()
		if n := strings.Count(log.String(), "dictionary is polled"); n != 1 {
			t.Errorf("it is said %d times: %s", n, log.String())
		}
	})
}

// held is a dictionary whose reading can be held up after it has begun.
type held struct {
	Dict
	begun, release chan struct{}
}

func (h held) Iterate(ctx context.Context, prefix string, fn func(key, value string) error) error {
	err := h.Dict.Iterate(ctx, prefix, fn)
	h.begun <- struct{}{}
	<-h.release
	return err
}

// A reading that began before a commit does not take it back.
func TestMirrorCommitWhileReading(t *testing.T) {
	origin := held{NewMemory(), make(chan struct{}), make(chan struct{})}
	m := NewMirror(origin, MirrorOptions{Every: time.Hour})
	defer m.Close()
	<-origin.begun
	set(t, m.Writer(), "shared/a", "1")
	close(origin.release)
	shows(t, m, "shared/a", "1")
}

// overtaken is a dictionary that tells what it is told to, and whose commits are answered
// after others' have been made.
type overtaken struct {
	*Memory
	changed   func([]Change) // of the watch, while there is one
	meanwhile func()
}

func (o *overtaken) Commit(ctx context.Context, changes []Change, conditions ...Condition) error {
	err := o.Memory.Commit(ctx, changes, conditions...)
	o.meanwhile()
	return err
}

// followed is one that has a watch.
type followed struct{ *overtaken }

func (f followed) Watch(ctx context.Context, changed func([]Change)) error {
	changed(nil)
	f.changed = changed
	<-ctx.Done()
	return ctx.Err()
}

// A commit whose answer is late does not take back what others have changed since.
func TestMirrorLateAnswer(t *testing.T) {
	first, mine, others := Set("shared/a", "0"), Set("shared/a", "1"), Set("shared/a", "2")
	for _, row := range []struct {
		what    string
		watched bool
		change  Change           // that is committed
		tell    func(*overtaken) // before the answer comes
		after   []Change         // told after it
	}{
		{"all is told before the answer", true, mine, func(o *overtaken) { o.changed([]Change{mine}); o.changed([]Change{others}) }, nil},
		{"some is told before the answer", true, mine, func(o *overtaken) { o.changed([]Change{first}) }, []Change{mine, others}},
		{"all is told after the answer", true, mine, func(*overtaken) {}, []Change{mine, others}},
		{"nothing is to be told of the commit", true, Unset("shared/a"), func(o *overtaken) { o.changed([]Change{others}) }, nil},
		{"the watch breaks", true, mine, func(o *overtaken) { o.changed(nil) }, nil},
		{"it is polled", false, mine, func(*overtaken) { time.Sleep(2 * time.Second) }, nil},
	} {
		t.Run(row.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &overtaken{Memory: NewMemory()}
				var origin Dict = o
				if row.watched {
					origin = followed{o}
				}
				m := NewMirror(origin, MirrorOptions{})
				defer m.Close()
				synctest.Wait()
				o.meanwhile = func() {
					set(t, o.Memory, others.Key, others.Value)
					row.tell(o)
				}
				if err := m.Writer().Commit(t.Context(), []Change{row.change}); err != nil {
					t.Fatal(err)
				}
				for _, c := range row.after {
					o.changed([]Change{c})
				}
				time.Sleep(2 * time.Second)
				shows(t, m, "shared/a", "2")
			})
		})
	}
}

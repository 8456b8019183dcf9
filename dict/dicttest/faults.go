package dicttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/dict"
)

// Server is a server that can be taken away.
type Server interface {
	Kill(t testing.TB)
	Start(t testing.TB) // again, with what it knew
}

// Remote says what dictionary at a server TestFaults is run on. It holds nothing
// at first.
type Remote struct {
	Server Server
	Addr   string // of the server

	// Open opens a handle by way of an address.
	Open func(t *testing.T, addr string, timeout time.Duration) dict.Dict
}

// TestFaults takes the server away from a dictionary, slows it down and cuts its
// connections.
func TestFaults(t *testing.T, r Remote) {
	t.Run("server that is slow", r.slow)
	t.Run("commit cut in the middle", r.cut)
	t.Run("server that is gone and comes back", r.gone)
}

// long is more than any test here waits for an answer.
const long = time.Minute

func (r Remote) gone(t *testing.T) {
	d := handle{t, r.Open(t, r.Addr, long)}
	defer d.Close() //nolint:errcheck // closed below
	d.commit(dict.Set("shared/kept", "1"))
	r.Server.Kill(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, _, err := d.Get(ctx, "shared/kept")
	if err == nil || !strings.Contains(err.Error(), "dictionary ") || !strings.Contains(err.Error(), `"shared/kept"`) {
		t.Errorf("Get without a server: %v; want an error that names dictionary and key", err)
	}
	brief := handle{t, r.Open(t, r.Addr, 100*time.Millisecond)}
	defer brief.Close() //nolint:errcheck // nothing is lost
	if err := brief.Commit(t.Context(), []dict.Change{dict.Set("shared/kept", "2")}); err == nil {
		t.Error("Commit without a server succeeded")
	}
	r.Server.Start(t)
	eventually(t, func() error {
		if v, ok, err := d.Get(t.Context(), "shared/kept"); err != nil || !ok || v != "1" {
			return fmt.Errorf("after the server came back there is %q, %v, %w", v, ok, err)
		}
		return nil
	})
	eventually(t, func() error { return d.Commit(t.Context(), []dict.Change{dict.Set("shared/kept", "3")}) })
	d.want("shared/kept", "3")
}

// eventually tries again what may fail on connections from before.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func (r Remote) slow(t *testing.T) {
	p := newProxy(t, r.Addr)
	d := handle{t, r.Open(t, p.addr(), 300*time.Millisecond)}
	defer d.Close() //nolint:errcheck // checked below
	eventually(t, func() error { return d.Commit(t.Context(), []dict.Change{dict.Set("shared/slow", "1")}) })
	p.stall(true)
	for what, f := range map[string]func() error{
		"Get":     func() error { _, _, err := d.Get(t.Context(), "shared/slow"); return err },
		"Iterate": func() error { return d.Iterate(t.Context(), dict.Root, func(string, string) error { return nil }) },
		"Commit":  func() error { return d.Commit(t.Context(), []dict.Change{dict.Set("shared/other", "2")}) },
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), "no answer in 300ms") {
			t.Errorf("%s: %v; want an error that says how long there was no answer", what, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	patient := r.Open(t, p.addr(), long)
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, _, err := patient.Get(ctx, "shared/slow"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get that is cancelled: %v", err)
	}
	time.AfterFunc(50*time.Millisecond, func() {
		if err := patient.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, _, err := patient.Get(t.Context(), "shared/slow"); !errors.Is(err, dict.ErrClosed) {
		t.Errorf("Get that Close ends: %v", err)
	}
	p.stall(false)
	eventually(t, func() error { _, _, err := d.Get(t.Context(), "shared/slow"); return err })
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// cut ends the connection after each so many bytes of a commit: all of its keys
// have changed, or none.
func (r Remote) cut(t *testing.T) {
	const keys = 20
	direct := handle{t, r.Open(t, r.Addr, long)}
	defer direct.Close() //nolint:errcheck // nothing is lost
	p := newProxy(t, r.Addr)
	whole := 0
	for round, limit := 0, 50; whole < 2 && round < 60; round, limit = round+1, limit+limit/8 {
		d := r.Open(t, p.addr(), 300*time.Millisecond)
		p.cutAfter(-1)
		eventually(t, func() error { _, _, err := d.Get(t.Context(), "shared/cut/00"); return err })
		var changes []dict.Change
		value := fmt.Sprint(round)
		for i := range keys {
			changes = append(changes, dict.Set(fmt.Sprintf("shared/cut/%02d", i), value))
		}
		p.cutAfter(limit)
		err := d.Commit(t.Context(), changes)
		if err == nil {
			whole++
		}
		if e := d.Close(); e != nil {
			t.Error(e)
		}
		p.cutAfter(0)
		checkCut(t, direct, keys, value, err)
	}
	if whole == 0 {
		t.Error("no commit ever succeeded")
	}
}

func checkCut(t *testing.T, d handle, keys int, value string, commit error) {
	t.Helper()
	changed := 0
	for i := range keys {
		got, _, err := d.Get(t.Context(), fmt.Sprintf("shared/cut/%02d", i))
		if err != nil {
			t.Fatal(err)
		}
		if got == value {
			changed++
		}
	}
	if changed != 0 && changed != keys || commit == nil && changed == 0 {
		t.Errorf("commit %s: %v, and %d of %d keys changed", value, commit, changed, keys)
	}
}

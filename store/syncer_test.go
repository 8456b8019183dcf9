package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// gatedFS is a filesystem whose syncs wait to be let through.
type gatedFS struct {
	OS
	alone, whole chan chan error // a sync sends how it wants to be answered
	written      atomic.Int64
}

type gatedFile struct {
	File
	gate    chan chan error
	written *atomic.Int64
	durable int64 // what the last sync began with
}

func (f *gatedFile) Close() error { return nil }

func (f *gatedFile) Sync() error {
	written := f.written.Load()
	answer := make(chan error)
	f.gate <- answer
	err := <-answer
	f.durable = written
	return err
}

func (*gatedFS) Filesystem(string) (uint64, bool, error) { return 1, true, nil }

func (g *gatedFS) OpenWhole(string) (File, error) {
	return &gatedFile{gate: g.whole, written: &g.written}, nil
}

// crowd is a volume on which syncTogether syncs are under way alone and the
// number wait for the rounds after.
func crowd(t *testing.T, waiting int) (v *syncVolume, g *gatedFS, answers []chan error, results chan error) {
	t.Helper()
	g = &gatedFS{alone: make(chan chan error), whole: make(chan chan error)}
	s := syncer{fs: g, log: slog.New(slog.DiscardHandler), now: func() time.Time { return time.Unix(1, 0) }, volumes: map[uint64]*syncVolume{}}
	v, err := s.volume("")
	if err != nil {
		t.Fatal(err)
	}
	results = make(chan error, 100)
	enter := func() {
		go func() { results <- v.sync(&gatedFile{gate: g.alone, written: &g.written}) }()
	}
	for range syncTogether - 1 {
		enter()
		answers = append(answers, <-g.alone)
	}
	enter() // the first that shares: it leads
	answers = append(answers, <-g.whole)
	for range waiting {
		g.written.Add(1)
		enter()
	}
	for v.waiting() < syncTogether+waiting {
		runtime.Gosched()
	}
	return v, g, answers, results
}

func (v *syncVolume) waiting() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.active
}

// Those who come while a sync of the filesystem is under way share the next one,
// which begins after all of them had written.
func TestSyncTogether(t *testing.T) {
	v, g, answers, results := crowd(t, 20)
	answers[syncTogether-1] <- nil
	if err := <-results; err != nil {
		t.Fatal(err)
	}
	next := <-g.whole
	next <- nil
	for range 20 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if got := v.whole.(*gatedFile).durable; got != 20 {
		t.Errorf("the shared sync began after %d of 20 writes", got)
	}
	for _, a := range answers[:syncTogether-1] {
		a <- nil
		<-results
	}
}

// A failed sync of the filesystem fails all that waited for it, and after it
// each file is asked for its own errors.
func TestSyncTogetherFails(t *testing.T) {
	_, g, answers, results := crowd(t, 20)
	answers[syncTogether-1] <- syscall.EIO
	if err := <-results; !errors.Is(err, syscall.EIO) {
		t.Fatalf("the sync that failed: %v", err)
	}
	for i := range 20 {
		a := <-g.alone
		if i == 0 {
			a <- syscall.EIO
			continue
		}
		a <- nil
	}
	failed := 0
	for range 20 {
		if <-results != nil {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d of 20 failed, want the one whose file did", failed)
	}
	for _, a := range answers[:syncTogether-1] {
		a <- nil
		<-results
	}
}

// Users who append at once, through whichever way of syncing, find all that was
// acknowledged after a restart.
func TestAppendByManyUsers(t *testing.T) {
	const users, each = 24, 20
	ctx := context.Background()
	dir := t.TempDir()
	s := New(testOptions(t))
	var wg sync.WaitGroup
	for i := range users {
		a := mustOpen(t, s, filepath.Join(dir, fmt.Sprint(i)), owner)
		wg.Go(func() {
			for n := range each {
				if _, err := a.Append(ctx, "INBOX", newMail(n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range users {
		checkDir(t, filepath.Join(dir, fmt.Sprint(i)))
		a := mustOpen(t, New(testOptions(t)), filepath.Join(dir, fmt.Sprint(i)), owner)
		status, err := a.Status(ctx, "INBOX", 0)
		if err != nil || status.Messages != each {
			t.Errorf("user %d has %d messages, %v", i, status.Messages, err)
		}
	}
}

// A read-only filesystem has nothing to sync, which is no success for who has written to it.
func TestSyncOfReadOnlyFilesystem(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", unix.MS_RDONLY, ""); err != nil {
		t.Skipf("mounting takes privileges: %v", err)
	}
	defer unix.Unmount(dir, 0) //nolint:errcheck // TempDir finds out
	whole, err := OS{}.OpenWhole(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close() //nolint:errcheck // only read
	if err := whole.Sync(); !errors.Is(err, unix.EROFS) {
		t.Errorf("a sync that did nothing: %v", err)
	}
}

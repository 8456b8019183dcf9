package store

import (
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	stormAccounts = flag.Int("storm-accounts", 2000, "accounts there are in BenchmarkStorm")
	stormOpens    = flag.Int("storm-opens", 1000, "accounts that are opened in BenchmarkStorm")
)

// countingFS counts what is asked of the file system, by kind.
type countingFS struct {
	OS
	reads, syncs, names, others atomic.Int64 // names: directory entries made or removed
}

func (c *countingFS) Create(name string) (File, error) {
	c.names.Add(1)
	return c.file(c.OS.Create(name))
}

func (c *countingFS) Open(name string) (File, error) {
	c.others.Add(1)
	return c.file(c.OS.Open(name))
}

func (c *countingFS) Link(from, to string) error {
	c.names.Add(1)
	return c.OS.Link(from, to)
}

func (c *countingFS) Remove(name string) error {
	c.names.Add(1)
	return c.OS.Remove(name)
}

func (c *countingFS) SyncDir(dir string) error {
	c.syncs.Add(1)
	return c.OS.SyncDir(dir)
}

func (c *countingFS) List(dir string) ([]fs.DirEntry, error) {
	c.others.Add(1)
	return c.OS.List(dir)
}

func (c *countingFS) Lock(name string) (io.Closer, error) {
	c.others.Add(1)
	return c.OS.Lock(name)
}

func (c *countingFS) file(f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &countedFile{f, c}, nil
}

type countedFile struct {
	File
	fs *countingFS
}

func (f *countedFile) ReadAt(b []byte, off int64) (int, error) {
	f.fs.reads.Add(1)
	return f.File.ReadAt(b, off)
}

func (f *countedFile) Sync() error {
	f.fs.syncs.Add(1)
	return f.File.Sync()
}

// BenchmarkStorm opens many accounts of many at once, as after a restart: each
// looks at INBOX and closes. What it costs is per open and close.
func BenchmarkStorm(b *testing.B) {
	ctx := context.Background()
	root := b.TempDir()
	dirOf := func(i int) string { return filepath.Join(root, fmt.Sprintf("%02x", i%256), fmt.Sprint(i)) }
	s := New(Options{Linger: -1})
	inParallel(*stormAccounts, 64, func(i int) {
		a, err := s.Open(ctx, "alice", dirOf(i))
		if err != nil {
			b.Error(err)
			return
		}
		session := a.As(owner)
		if _, err := session.Append(ctx, "INBOX", newMail(i)); err != nil {
			b.Error(err)
		}
		session.Close() //nolint:errcheck // never fails
		a.Close()       //nolint:errcheck // never fails
	})
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	entries, err := OS{}.List(dirOf(0))
	if err != nil {
		b.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		c := &countingFS{}
		s := New(Options{Linger: -1, FS: c})
		order := rnd.Perm(*stormAccounts)[:*stormOpens]
		var slowest atomic.Int64
		begun, cpu := time.Now(), cpuTime()
		inParallel(len(order), 256, func(i int) {
			at := time.Now()
			a, err := s.Open(ctx, "alice", dirOf(order[i]))
			if err != nil {
				b.Error(err)
				return
			}
			defer a.Close() //nolint:errcheck // never fails
			session := a.As(owner)
			defer session.Close() //nolint:errcheck // never fails
			m, err := session.Open(ctx, "INBOX", true)
			if err != nil {
				b.Error(err)
				return
			}
			if took := time.Since(at).Microseconds(); took > slowest.Load() {
				slowest.Store(took)
			}
			m.Close() //nolint:errcheck // never fails
		})
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		n := float64(len(order))
		b.ReportMetric(n/time.Since(begun).Seconds(), "opens/s")
		b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/n, "cpu-µs")
		b.ReportMetric(float64(slowest.Load())/1e3, "ms-slowest")
		b.ReportMetric(float64(c.reads.Load())/n, "reads")
		b.ReportMetric(float64(c.syncs.Load())/n, "syncs")
		b.ReportMetric(float64(c.names.Load())/n, "names")
		b.ReportMetric(float64(c.others.Load())/n, "opens+lists")
		b.ReportMetric(float64(len(entries)), "files-idle")
	}
}

// inParallel does n things, so many at once.
func inParallel(n, workers int, do func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
}

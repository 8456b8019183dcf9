package store

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
)

// heap is what is reachable, in bytes.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkMemory is what an open account, a mailbox that nobody opened, and a
// message of one that someone did take in memory.
func BenchmarkMemory(b *testing.B) {
	ctx := context.Background()
	const accounts, boxes, messages = 20, 500, 10_000
	root := b.TempDir()
	dirOf := func(i int) string { return filepath.Join(root, fmt.Sprint(i)) }
	s := New(Options{Linger: -1})
	for i := range accounts {
		mustAppend(b, mustOpen(b, s, dirOf(i), owner), "INBOX", 1)
	}
	a := mustOpen(b, s, dirOf(0), owner)
	for i := range boxes {
		if err := a.Create(ctx, fmt.Sprint("box", i)); err != nil {
			b.Fatal(err)
		}
	}
	fill(b, a, "box0", messages)
	a.background.Wait()
	if err := a.fold(ctx); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s := New(Options{Linger: -1})
		before := heap()
		for i := 1; i < accounts; i++ {
			mustOpen(b, s, dirOf(i), owner)
		}
		opened := heap()
		a := mustOpen(b, s, dirOf(0), owner)
		listed := heap()
		m, err := a.Open(ctx, "box0", true)
		if err != nil {
			b.Fatal(err)
		}
		loaded := heap()
		b.ReportMetric((opened-before)/(accounts-1), "B/account")
		b.ReportMetric((listed-opened-16*messages)/boxes, "B/idle-mailbox")
		b.ReportMetric((loaded-listed)/messages+16, "B/message")
		m.Close() //nolint:errcheck // never fails
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

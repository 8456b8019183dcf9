package audit

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRotation: what is added after Reopen is in the new file, and nothing is lost.
func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	before := []string{}
	for i := range 100 {
		l.Add(Record{What: fmt.Sprintf("first %d", i), Owner: "alice\n", Before: &before})
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Add(Record{What: "second"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := string(old) + string(now)
	if strings.Count(all, "\n") != 101 || !strings.Contains(all, `"what":"first 99"`) || !strings.Contains(all, `"before":[]`) {
		t.Errorf("old file:\n%s\nnew file:\n%s", old, now)
	}
	if !strings.HasSuffix(string(now), `"what":"second","owner":"","mailbox":"","result":"","node":""}`+"\n") || l.Lost() != 0 {
		t.Errorf("%d lost; new file:\n%s", l.Lost(), now)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v)", st.Mode(), err)
	}
}

// TestFullDisk: what can't be written is counted, and the log says so once.
func TestFullDisk(t *testing.T) {
	var log bytes.Buffer
	l, err := Open("/dev/full", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Skip(err)
	}
	for range 5 {
		l.Add(Record{What: "setacl"})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l.Lost() != 5 || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "no space left") {
		t.Errorf("%d lost, and the log says\n%s", l.Lost(), log.String())
	}
}

// TestNobodyWaits: with a disk that does not answer more than what may wait is lost at once.
func TestNobodyWaits(t *testing.T) {
	var log bytes.Buffer
	l := &Log{log: slog.New(slog.NewTextHandler(&log, nil)), lines: make(chan []byte, maxLines)} // nobody writes
	for range maxLines + 3 {
		l.Add(Record{What: "select"})
	}
	if l.Lost() != 3 || strings.Count(log.String(), "records are lost") != 1 {
		t.Errorf("%d lost, and the log says\n%s", l.Lost(), log.String())
	}
	l = &Log{log: slog.New(slog.DiscardHandler), lines: make(chan []byte, maxLines)}
	large := []string{strings.Repeat("x", maxBytes/4)}
	for range 5 {
		l.Add(Record{What: "setacl", After: &large})
	}
	if l.Lost() != 2 {
		t.Errorf("%d large records lost", l.Lost())
	}
}

// Package audit keeps a file that says who changed rights, who opened what is not
// theirs, and what administrators did: JSON lines, one for each.
package audit

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// Record is a line of the file. Fields are added over the years, never changed.
type Record struct {
	Time     time.Time `json:"time"`
	What     string    `json:"what"`
	User     string    `json:"user,omitempty"`     // as whom it was judged
	Login    string    `json:"login,omitempty"`    // who logged in, if that is somebody else
	Operator string    `json:"operator,omitempty"` // instead: the administrator, or token, that called
	Owner    string    `json:"owner"`
	Mailbox  string    `json:"mailbox"`           // as the owner calls it
	To       string    `json:"to,omitempty"`      // its new name
	Entries  []string  `json:"entries,omitempty"` // names of annotations that were set
	Keys     int       `json:"keys,omitempty"`    // of the sharing index that were wrong
	Before   *[]string `json:"before,omitempty"`  // its entries, as lines of a dovecot-acl file; absent where they did not change
	After    *[]string `json:"after,omitempty"`
	Result   string    `json:"result"` // ok, the response code of what was refused or failed, or failed
	Node     string    `json:"node"`
	Session  string    `json:"session,omitempty"`
	External string    `json:"ext_session,omitempty"` // what the client says that its own session is
	Client   string    `json:"client,omitempty"`      // its address, as far as it is known here

	Args string `json:"args,omitempty"` // of an administrator's operation
}

// What waits to be written at most.
const (
	maxLines = 4096
	maxBytes = 16 << 20
)

// closeTime is how long Close waits for a disk.
const closeTime = 5 * time.Second

// Log is the file. One goroutine writes it, so that nobody else waits for the disk;
// what it can't keep up with, or can't write, is lost and counted.
type Log struct {
	path string
	log  *slog.Logger

	lines   chan []byte
	waiting atomic.Int64            // bytes in lines
	next    atomic.Pointer[os.File] // to be written from now on; nil: the same as before
	lost    atomic.Int64
	full    atomic.Bool // lines were lost because of too many, and it is in the log
	closing chan struct{}
	done    chan struct{}
}

// Open opens the file, or makes it, and starts to write.
func Open(path string, log *slog.Logger) (*Log, error) {
	l := &Log{path: path, log: log, lines: make(chan []byte, maxLines), closing: make(chan struct{}), done: make(chan struct{})}
	f, err := l.open()
	if err != nil {
		return nil, err
	}
	go l.run(f)
	return l, nil
}

func (l *Log) open() (*os.File, error) {
	return os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// Reopen opens the path anew, after the file was rotated. With an error the old file stays.
func (l *Log) Reopen() error {
	f, err := l.open()
	if err != nil {
		return err
	}
	if unused := l.next.Swap(f); unused != nil {
		_ = unused.Close()
	}
	select {
	case l.lines <- nil: // the old file is let go at once
	default:
	}
	return nil
}

// Add has a record written soon. It waits for nothing.
func (l *Log) Add(r Record) {
	line, err := json.Marshal(r)
	if err != nil {
		l.lost.Add(1)
		l.log.Error("audit log: a record can't be written", "path", l.path, "error", err)
		return
	}
	line = append(line, '\n')
	if l.waiting.Add(int64(len(line))) <= maxBytes {
		select {
		case l.lines <- line:
			return
		default:
		}
	}
	l.waiting.Add(-int64(len(line)))
	l.lost.Add(1)
	if !l.full.Swap(true) {
		l.log.Error("audit log: more comes than can be written, records are lost", "path", l.path)
	}
}

// Lost is how many records were not written; 0 of a nil Log.
func (l *Log) Lost() int64 {
	if l == nil {
		return 0
	}
	return l.lost.Load()
}

// Close writes what waits, and closes the file. Nothing may be added any more.
func (l *Log) Close() error {
	close(l.closing)
	select {
	case <-l.done:
		return nil
	case <-time.After(closeTime):
		return fmt.Errorf("audit log %s: the disk does not answer", l.path)
	}
}

// run writes lines until closing, and then those that wait.
func (l *Log) run(f *os.File) {
	defer close(l.done)
	w := writer{Log: l, f: f}
	defer func() { _ = w.f.Close() }()
	for {
		select {
		case line := <-l.lines:
			w.write(line)
			continue
		case <-l.closing:
		}
		for {
			select {
			case line := <-l.lines:
				w.write(line)
				continue
			default:
			}
			return
		}
	}
}

// writer is run's own state.
type writer struct {
	*Log
	f       *os.File
	partial bool  // the file ends within a line
	failed  int64 // lines since one was written
}

func (w *writer) write(line []byte) {
	w.waiting.Add(-int64(len(line)))
	if f := w.next.Swap(nil); f != nil {
		_ = w.f.Close()
		w.f, w.partial = f, false
	}
	if len(line) == 0 {
		return
	}
	if w.partial {
		line = append([]byte{'\n'}, line...)
	}
	n, err := w.f.Write(line)
	if err != nil {
		w.partial = w.partial && n == 0 || n > 0
		w.lost.Add(1)
		if w.failed++; w.failed == 1 {
			w.log.Error("audit log can't be written, records are lost", "path", w.path, "error", err)
		}
		return
	}
	if w.failed > 0 {
		w.log.Warn("audit log can be written again", "path", w.path, "lost", w.failed)
	}
	w.partial, w.failed = false, 0
	if len(w.lines) == 0 {
		w.full.Store(false)
	}
}

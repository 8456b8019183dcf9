package imapclient

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// rawLog writes what passes, each line behind the time at which it began, in
// seconds since 1970. It never fails: after an error it stays silent. A nil
// rawLog does nothing.
type rawLog struct {
	mu     sync.Mutex // guards what follows; Close may come from elsewhere
	w      io.WriteCloser
	inLine bool
}

func newRawLog(w io.WriteCloser) *rawLog {
	if w == nil {
		return nil
	}
	return &rawLog{w: w}
}

func (l *rawLog) write(p []byte) {
	if l == nil || len(p) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w == nil {
		return
	}
	now := time.Now()
	var out bytes.Buffer
	for line := range bytes.Lines(p) {
		if !l.inLine {
			fmt.Fprintf(&out, "%d.%06d ", now.Unix(), now.Nanosecond()/1000)
		}
		out.Write(line)
		l.inLine = line[len(line)-1] != '\n'
	}
	if _, err := l.w.Write(out.Bytes()); err != nil {
		l.end()
	}
}

func (l *rawLog) close() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
}

func (l *rawLog) end() {
	if l.w != nil {
		_ = l.w.Close()
		l.w = nil
	}
}

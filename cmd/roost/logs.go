package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"strings"
	"sync"

	"github.com/roost-mail/roost/config"
)

// openLog makes the logger that log_path, log_format and syslog_facility ask
// for. Without log_path it writes to stderr. A file is opened anew by reopen,
// after it was rotated.
func openLog(set *config.Settings, stderr io.Writer) (log *slog.Logger, out *logFile, err error) {
	switch path := set.General.LogPath; path {
	case "", "/dev/stderr", "stderr":
		return slog.New(handler(stderr, set.General.LogFormat)), &logFile{}, nil
	case "syslog":
		log, err := openSyslog(set)
		return log, &logFile{}, err
	default:
		out := &logFile{path: path}
		if err := out.reopen(); err != nil {
			return nil, nil, fmt.Errorf("%s: log_path: %w", set.Where("log_path"), err)
		}
		return slog.New(handler(out, set.General.LogFormat)), out, nil
	}
}

// logFile is a log file that can be opened anew. Without a path it is nothing.
type logFile struct {
	path string
	mu   sync.Mutex // guards f
	f    *os.File
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Write(p)
}

// reopen opens the path, and only then closes the file that was open.
func (l *logFile) reopen() error {
	if l.path == "" {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.f
	l.f = f
	if old != nil {
		_ = old.Close()
	}
	return nil
}

func handler(out io.Writer, format string) slog.Handler {
	if format == "json" {
		return slog.NewJSONHandler(out, nil)
	}
	return slog.NewTextHandler(out, nil)
}

// openSyslog logs by the system's log daemon, which adds the time itself.
func openSyslog(set *config.Settings) (*slog.Logger, error) {
	facility, ok := facilities()[strings.TrimPrefix(set.General.SyslogFacility, "LOG_")]
	if !ok {
		facility = syslog.LOG_MAIL
	}
	w, err := syslog.New(facility|syslog.LOG_INFO, "roost")
	if err != nil {
		return nil, fmt.Errorf("log_path = syslog: %w", err)
	}
	h := &syslogHandler{out: w, line: &lineBuffer{}}
	h.format = handler(h.line, set.General.LogFormat)
	return slog.New(h), nil
}

func facilities() map[string]syslog.Priority {
	return map[string]syslog.Priority{
		"mail": syslog.LOG_MAIL, "daemon": syslog.LOG_DAEMON, "user": syslog.LOG_USER, "auth": syslog.LOG_AUTH,
		"local0": syslog.LOG_LOCAL0, "local1": syslog.LOG_LOCAL1, "local2": syslog.LOG_LOCAL2, "local3": syslog.LOG_LOCAL3,
		"local4": syslog.LOG_LOCAL4, "local5": syslog.LOG_LOCAL5, "local6": syslog.LOG_LOCAL6, "local7": syslog.LOG_LOCAL7,
	}
}

// syslogHandler hands each line to syslog at the level of its record.
type syslogHandler struct {
	out    *syslog.Writer
	format slog.Handler // writes into line
	line   *lineBuffer
}

// lineBuffer holds one line at a time; mu is held from formatting to sending.
type lineBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (h *syslogHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.format.Enabled(ctx, l)
}

func (h *syslogHandler) Handle(ctx context.Context, r slog.Record) error {
	h.line.mu.Lock()
	defer h.line.mu.Unlock()
	h.line.Reset()
	if err := h.format.Handle(ctx, r); err != nil {
		return err
	}
	send := h.out.Info
	switch {
	case r.Level >= slog.LevelError:
		send = h.out.Err
	case r.Level >= slog.LevelWarn:
		send = h.out.Warning
	case r.Level < slog.LevelInfo:
		send = h.out.Debug
	}
	return send(h.line.String())
}

func (h *syslogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &syslogHandler{out: h.out, format: h.format.WithAttrs(attrs), line: h.line}
}

func (h *syslogHandler) WithGroup(name string) slog.Handler {
	return &syslogHandler{out: h.out, format: h.format.WithGroup(name), line: h.line}
}

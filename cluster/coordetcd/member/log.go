package member

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapTo hands what etcd logs as a warning or worse on to log, but no message again
// within sayAgain: what is away is tried several times a second, and whoever reaches a
// port can cause a line by each connection.
func zapTo(log *slog.Logger) *zap.Logger {
	return zap.New(&core{log.With("part", "coordinator"), &said{until: map[string]time.Time{}, unsaid: map[string]int{}}})
}

const sayAgain = 30 * time.Second

// said knows what was logged. etcd's messages are constant texts, so there are few.
type said struct {
	mu     sync.Mutex
	until  map[string]time.Time // by message: when it may be said again
	unsaid map[string]int       // how often it was not
}

// may says whether a message is to be logged, and how often it was not.
func (s *said) may(message string, now time.Time) (may bool, unsaid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.until[message]) {
		s.unsaid[message]++
		return false, 0
	}
	unsaid = s.unsaid[message]
	s.until[message] = now.Add(sayAgain)
	delete(s.unsaid, message)
	return true, unsaid
}

// core is a zapcore.Core that writes to a slog.Logger.
type core struct {
	log  *slog.Logger
	said *said
}

func (c *core) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{c.log.With(attrs(fields)...), c.said}
}

func (c *core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// ofOurs are warnings about what was chosen here with good reason: one port for clients,
// who speak gRPC alone, and no tokens, as nobody has a password at an embedded member.
func ofOurs(message string) bool {
	return message == "Running http and grpc server on single port. This is not recommended for production." ||
		message == "simple token is not cryptographically signed"
}

func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if ofOurs(e.Message) {
		return nil
	}
	may, unsaid := c.said.may(e.Message, e.Time)
	if !may {
		return nil
	}
	level := slog.LevelWarn
	if e.Level > zapcore.WarnLevel {
		level = slog.LevelError
	}
	args := attrs(fields)
	if unsaid > 0 {
		args = append(args, "unsaid", unsaid)
	}
	c.log.Log(context.Background(), level, e.Message, args...)
	return nil
}

func (c *core) Sync() error { return nil }

func attrs(fields []zapcore.Field) []any {
	m := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(m)
	}
	var out []any
	for key, value := range m.Fields {
		out = append(out, key, value)
	}
	return out
}

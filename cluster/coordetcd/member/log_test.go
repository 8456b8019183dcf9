package member

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// What etcd repeats is said now and then, with how often it was not.
func TestLogRepeats(t *testing.T) {
	var out bytes.Buffer
	z := zapTo(slog.New(slog.NewTextHandler(&out, nil)))
	z.Info("all is well")
	for range 1000 {
		z.Warn("is away", zap.String("who", "d2"))
	}
	z.With(zap.Int("n", 1)).Error("something else")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "who=d2") || !strings.Contains(lines[1], "level=ERROR") {
		t.Errorf("%q", lines)
	}
	out.Reset()
	later := zapcore.Entry{Level: zapcore.WarnLevel, Message: "is away", Time: time.Now().Add(sayAgain)}
	if err := z.Core().Write(later, nil); err != nil || !strings.Contains(out.String(), "unsaid=999") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

package imapserver

import (
	"log/slog"
	"time"

	"github.com/roost-mail/roost/imap"
)

// logger says who is meant. It is made when it is needed, and anew when more is
// known: after ID, after the login.
func (s *session) logger() *slog.Logger {
	if s.log != nil {
		return s.log
	}
	args := []any{"session", s.client.SessionID}
	if s.client.Remote.IsValid() {
		args = append(args, "client", s.client.Remote.String())
	}
	if s.client.Carrier.IsValid() {
		args = append(args, "proxy", s.client.Carrier.Addr().String())
	}
	if s.client.ExternalSessionID != "" {
		args = append(args, "ext_session", s.client.ExternalSessionID)
	}
	if s.login != nil {
		args = append(args, "user", s.login.User, "acting", s.login.Acting)
	}
	s.log = s.cfg.Log.With(args...)
	return s.log
}

// logCommand logs what was slow, and what failed for a reason that is not the
// client's. took is without the time that the client let us wait.
func (s *session) logCommand(cmd *command, err error, took time.Duration) {
	slow := s.cfg.SlowCommand > 0 && took >= s.cfg.SlowCommand && cmd.name != "IDLE"
	code := imap.CodeOf(err)
	failed := code == imap.CodeServerBug || code == imap.CodeUnavailable || code == imap.CodeCorruption
	if s.login == nil {
		return // a refused login has a line of its own
	}
	if !slow && !failed {
		return
	}
	box := cmd.mailbox
	if box == "" {
		box = s.name
	}
	level, what := slog.LevelInfo, "slow command"
	args := []any{"command", cmd.name, "mailbox", box, "code", string(code), "ms", took.Milliseconds()}
	if failed {
		level, what = slog.LevelWarn, "command failed"
		args = append(args, "error", err)
	}
	s.logger().Log(s.ctx, level, what, args...)
}

func (s *session) logLogin(cred *Credentials) {
	level := slog.LevelInfo
	if s.login.Probe {
		level = slog.LevelDebug
	}
	s.logger().Log(s.ctx, level, "login", "mechanism", mechanismName(cred), "secured", s.client.Secured, "tls", s.client.TLS)
}

func (s *session) logRefused(cred *Credentials, err error) {
	user := cred.AuthzID
	if user == "" {
		user = cred.AuthID
	}
	level := slog.LevelInfo
	if code := imap.CodeOf(err); code == imap.CodeUnavailable || code == imap.CodeServerBug {
		level = slog.LevelWarn // it is not the client's fault
	}
	s.logger().Log(s.ctx, level, "login refused", "user", user, "acting", cred.AuthID,
		"mechanism", mechanismName(cred), "code", string(imap.CodeOf(err)), "error", err)
}

func mechanismName(cred *Credentials) string {
	if cred.Mechanism == "" {
		return "LOGIN command"
	}
	return cred.Mechanism
}

// logEnd is the last line of a session. Connections that never said anything
// are left to the debug level: they are health checks, mostly.
func (s *session) logEnd(reason string) {
	level, what := slog.LevelInfo, "logout"
	switch {
	case s.login == nil:
		level, what = slog.LevelDebug, "disconnected before login"
	case s.login.Probe:
		level = slog.LevelDebug
	}
	s.logger().Log(s.ctx, level, what, "reason", reason, "bytes_in", s.stream.in, "bytes_out", s.stream.out,
		"commands", s.commands, "ms", time.Since(s.stream.began).Milliseconds())
}

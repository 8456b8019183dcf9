package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
)

// After a connection could not be made, the next attempt waits. Commands that
// come earlier wait for it, but while it is known to be in vain (Away): the first that
// comes after the peer's return works.
const (
	firstPause = 200 * time.Millisecond
	maxPause   = 2 * time.Second
)

// justNow is for how long a connection that has said something need not be asked
// whether it lives.
const justNow = 50 * time.Millisecond

// maxPrepare bounds what follows a login, however much the peer tells.
const maxPrepare = time.Minute

// link is a connection that is made when it is needed and made again when it
// was lost. It belongs to whoever uses its Account or Mailbox.
type link struct {
	cfg     *Config
	mailbox string // for the log; empty on the connection for no mailbox

	// prepare brings a new connection that is logged in to where it is needed;
	// nil if that is nothing.
	prepare func(context.Context, *imapclient.Conn) error

	conn      *imapclient.Conn // nil while there is none
	delimiter byte             // of the peer's names; 0 while unknown

	waits bool // what is done on it is mostly to wait for news

	pause   time.Duration
	retryAt time.Time
	failure error // of the last attempt, if retryAt is to come
}

// do calls f with a connection. If it breaks and repeat is set, f is called
// once more with another; without repeat the outcome is unknown then. An error is an *imap.Error as the client may see it,
// but for the codes that f's command gives a meaning of its own.
//
// f may have made another connection already (resumed), with which it goes on.
func (l *link) do(ctx context.Context, repeat bool, f func(*imapclient.Conn) error) error {
	for {
		conn, fresh, err := l.get(ctx, !repeat)
		if err != nil {
			return err
		}
		err = l.watched(ctx, conn, f)
		if conn.Broken() == nil {
			return err
		}
		l.abandon(conn)
		if last, ok := errors.AsType[final](err); ok {
			return last.error
		}
		if l.conn == nil && (fresh || hung(err)) || !repeat || ctx.Err() != nil {
			l.cfg.Log.Warn("connection lost", "owner", l.cfg.Owner, "mailbox", l.mailbox, "repeatable", repeat, "error", err)
			if !repeat {
				return unknown(err)
			}
			return unavailable(err)
		}
	}
}

// hung reports whether a connection broke because the peer was silent: another
// attempt would take as long.
func hung(err error) bool {
	return errors.Is(err, errHung) || errors.Is(err, os.ErrDeadlineExceeded)
}

// final is an error of f that is not the connection's, though that broke.
type final struct{ error }

// get returns the connection, and whether it was made just now. With check, one
// that was lost meanwhile is found out before anything is sent on it that must
// not be sent twice.
func (l *link) get(ctx context.Context, check bool) (conn *imapclient.Conn, fresh bool, err error) {
	if l.conn != nil && l.conn.Broken() == nil && check && time.Since(l.conn.Heard()) > justNow {
		err = l.watched(ctx, l.conn, func(c *imapclient.Conn) error {
			_, err := c.Do(ctx, nil, command("NOOP"))
			return err
		})
		if hung(err) {
			l.drop()
			return nil, false, unavailable(err)
		}
	}
	if l.conn != nil && l.conn.Broken() == nil {
		return l.conn, false, nil
	}
	l.drop()
	owner := ownerAt{l.cfg.Server, l.cfg.Owner}
	if err := l.cfg.Away.failure(owner); err != nil {
		return nil, false, err
	}
	if err := l.waitToRetry(ctx); err != nil {
		return nil, false, err
	}
	holder := l.cfg.Away.holderOf(owner)
	conn, err = l.connect(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, false, err // nobody waits any more: that says nothing of the peer
	}
	l.cfg.Away.note(owner, holder, err)
	if err != nil {
		l.pause = min(max(2*l.pause, firstPause), maxPause)
		if isAnswer(err) {
			l.pause = firstPause
		}
		l.retryAt, l.failure = time.Now().Add(l.pause), err
		return nil, false, err
	}
	l.pause, l.retryAt = 0, time.Time{}
	l.conn = conn
	return conn, true, nil
}

// isAnswer says whether a failed attempt was answered: there is no such owner, or
// nothing for this user. A name that leads nowhere must not take longer than others.
func isAnswer(err error) bool { return imap.CodeOf(err) != imap.CodeUnavailable }

// waitToRetry waits until the peer may be tried again. If it has answered just now, it
// is not asked, and the answer holds.
func (l *link) waitToRetry(ctx context.Context) error {
	if l.failure != nil && isAnswer(l.failure) && time.Now().Before(l.retryAt) {
		return l.failure
	}
	timer := time.NewTimer(time.Until(l.retryAt))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return l.failure
	}
}

func (l *link) drop() {
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// abandon is drop, unless there is another connection by now.
func (l *link) abandon(conn *imapclient.Conn) {
	_ = conn.Close()
	if l.conn == conn {
		l.conn = nil
	}
}

// errBrokeOff is a connection that was lost before it could be used.
var errBrokeOff = errors.New("connection was lost at its beginning")

// connect makes a connection that can be used. One that breaks off is tried once
// more, as one that breaks later is.
func (l *link) connect(ctx context.Context) (*imapclient.Conn, error) {
	conn, err := l.tryConnect(ctx)
	if errors.Is(err, errBrokeOff) && ctx.Err() == nil {
		conn, err = l.tryConnect(ctx)
	}
	return conn, err
}

func (l *link) tryConnect(ctx context.Context) (*imapclient.Conn, error) {
	brief, cancel := context.WithTimeout(ctx, l.cfg.ConnectTimeout)
	defer cancel()
	begun := time.Now()
	conn, err := l.cfg.Dial(brief)
	if err != nil {
		l.cfg.Log.Log(ctx, l.troubleLevel(slog.LevelWarn), "backend can't be reached", "owner", l.cfg.Owner, "error", err)
		if brief.Err() == nil && errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			err = fmt.Errorf("%w: %w", errBrokeOff, err)
		}
		return nil, unavailable(err)
	}
	if len(l.cfg.Apart) > 0 {
		conn.Hide(imapclient.Veil{Capabilities: []string{"CONDSTORE", "QRESYNC"}, Flags: l.cfg.Apart})
	}
	err = l.login(brief, conn)
	if err == nil && l.prepare != nil {
		err = l.prepared(ctx, conn)
	}
	if err != nil {
		if broken := conn.Broken(); broken != nil && brief.Err() == nil && !hung(err) && !hung(broken) {
			err = unavailable(fmt.Errorf("%w: %w", errBrokeOff, broken))
		}
		_ = conn.Close()
		return nil, err
	}
	l.cfg.Log.Info("back session", "owner", l.cfg.Owner, "acting", l.cfg.Acting, "mailbox", l.mailbox,
		"server", conn.RemoteAddr().String(), "ms", time.Since(begun).Milliseconds())
	return conn, nil
}

// prepared is prepare within a bounded time.
func (l *link) prepared(ctx context.Context, conn *imapclient.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, maxPrepare)
	defer cancel()
	return l.watched(ctx, conn, func(c *imapclient.Conn) error { return l.prepare(ctx, c) })
}

func (l *link) login(ctx context.Context, conn *imapclient.Conn) error {
	id, err := l.identify(ctx, conn)
	if err != nil {
		return unavailable(err)
	}
	if !conn.Preauth() {
		if err := l.authenticate(ctx, conn); err != nil {
			l.logRefused(conn, err)
			return loginRefusal(err)
		}
	}
	if id != nil {
		_, _ = conn.Wait(ctx, id) // a refusal is no reason to give up
	}
	if err := conn.Capability(ctx); err != nil {
		return unavailable(err)
	}
	if l.delimiter != 0 {
		return nil
	}
	return l.askDelimiter(ctx, conn)
}

// logRefused tells an owner who does not exist from an owner's backend that is
// away, and both from a password that is wrong for all owners.
func (l *link) logRefused(conn *imapclient.Conn, err error) {
	args := []any{"owner", l.cfg.Owner, "acting", l.cfg.Acting, "server", conn.RemoteAddr().String(), "error", err}
	switch imap.CodeOf(err) {
	case imap.CodeUnavailable:
		l.cfg.Log.Log(context.Background(), l.troubleLevel(slog.LevelWarn), "back session: the owner's backend is away", args...)
	case imap.CodeAuthorizationFailed:
		l.cfg.Log.Info("back session refused: no such owner, or not for this user", args...)
	default:
		if l.cfg.Delegate != nil && (l.cfg.Password == "" || !errors.Is(err, errNoDelegation)) {
			l.cfg.Log.Log(context.Background(), l.troubleLevel(slog.LevelError), "back session refused: this node's word does not count there, and the log there says why", args...)
			return
		}
		l.cfg.Log.Log(context.Background(), l.troubleLevel(slog.LevelError), "back session refused: look at imapc_master_user, imapc_password and the passdbs there", args...)
	}
}

// troubleLevel is level the first time; what goes on failing is told at the
// debug level, so that an outage does not fill the log.
func (l *link) troubleLevel(level slog.Level) slog.Level {
	if l.pause > 0 {
		return slog.LevelDebug
	}
	return level
}

// identify sends ID where it is known, together with the login.
func (l *link) identify(ctx context.Context, conn *imapclient.Conn) (*imapclient.Command, error) {
	if len(l.cfg.ID) == 0 {
		return nil, nil
	}
	if err := conn.Capability(ctx); err != nil || !conn.Has("ID") {
		return nil, err
	}
	return conn.ID(ctx, l.cfg.ID)
}

// authenticate never leaves the acting user's name out: without it the peer
// would take us for the owner.
func (l *link) authenticate(ctx context.Context, conn *imapclient.Conn) error {
	if l.cfg.Delegate != nil {
		if err := l.delegated(ctx, conn); !errors.Is(err, errNoDelegation) || l.cfg.Password == "" {
			return err
		}
	}
	if l.cfg.Acting != "" {
		_, err := conn.Authenticate(ctx, l.cfg.Owner, l.cfg.Acting, l.cfg.Password)
		return err
	}
	_, err := conn.Authenticate(ctx, "", l.cfg.Owner, l.cfg.Password)
	if errors.Is(err, imapclient.ErrNoPlain) {
		_, err = conn.Login(ctx, l.cfg.Owner, l.cfg.Password)
	}
	return err
}

func (l *link) askDelimiter(ctx context.Context, conn *imapclient.Conn) error {
	h := &imapclient.Handler{List: func(d *imapclient.ListData) { l.delimiter = d.Delimiter }}
	if _, err := conn.Do(ctx, h, command(`LIST "" ""`)); err != nil {
		return unavailable(fmt.Errorf("ask for the delimiter: %w", err))
	}
	if l.delimiter == 0 {
		l.delimiter = imap.Delimiter
	}
	return nil
}

// command is a command without arguments that need care.
func command(text string) func(*imapwire.Encoder) {
	return func(e *imapwire.Encoder) { e.RawString(text) }
}

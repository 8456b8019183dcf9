package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
)

// patience is how long a peer may be silent while an answer is due, before it is
// tried whether it answers anybody.
const patience = 5 * time.Second

// greetPatience is that for the answer to a NOOP on a connection that was quiet.
const greetPatience = 2 * time.Second

// doubt is the supervision of an exchange. A peer that works takes connections:
// if it has been silent and does not, it hangs, and nobody has to wait for the
// end of the connection's own timeout, which has to be long enough for a search
// through much mail.
type doubt struct {
	link *link // cfg only
	conn *imapclient.Conn
	ctx  context.Context // of the supervision

	begun   time.Time
	greeted bool // by a NOOP

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	ended bool
	hangs bool // the connection was closed
}

var errHung = errors.New("the server is silent and takes no connections")

// watched is f with a connection that is closed when the peer hangs. If it was
// quiet for long, a NOOP goes ahead, which every peer answers at once: where
// even that is not answered, it is the connection that is dead.
func (l *link) watched(ctx context.Context, conn *imapclient.Conn, f func(*imapclient.Conn) error) error {
	if l.waits { // for news, which may take long to come
		return f(conn)
	}
	d := &doubt{link: &link{cfg: l.cfg}, conn: conn, begun: time.Now()}
	if time.Since(conn.Heard()) > 2*patience {
		_, err := conn.Send(ctx, nil, command("NOOP"))
		d.greeted = err == nil
	}
	var cancel context.CancelFunc
	d.ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	if d.greeted {
		d.again(greetPatience)
	} else {
		d.again(patience)
	}
	err := f(conn)
	if d.end() {
		err = fmt.Errorf("%w: %w", errHung, err)
	}
	return err
}

func (d *doubt) again(after time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		d.timer = time.AfterFunc(after, d.look)
	}
}

// end ends the supervision, and says whether the peer hangs.
func (d *doubt) end() (hangs bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	d.timer.Stop()
	return d.hangs
}

// look runs in the timer's goroutine.
func (d *doubt) look() {
	heard := d.conn.Heard()
	dead := d.greeted && heard.Before(d.begun)
	if silent := time.Since(heard); silent < patience && !dead {
		d.again(patience - silent)
		return
	}
	if !dead && d.link.answers(d.ctx) {
		d.again(patience)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		d.hangs = !dead
		d.link.cfg.Log.Warn("connection to an owner's backend is dead", "owner", d.link.cfg.Owner,
			"server", d.conn.RemoteAddr().String(), "silent", time.Since(heard))
		_ = d.conn.Close()
	}
}

// answers reports whether the peer takes a connection, or at least refuses it as
// one that works does.
func (l *link) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.ConnectTimeout)
	defer cancel()
	conn, err := l.cfg.Dial(ctx)
	if err != nil {
		return false
	}
	defer conn.Close()
	err = l.authenticate(ctx, conn)
	return conn.Broken() == nil && imap.CodeOf(err) != imap.CodeUnavailable
}

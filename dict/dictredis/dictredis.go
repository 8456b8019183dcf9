// Package dictredis keeps a dictionary at a Redis server, under the keys of
// Dovecot's "redis:" dict: the prefix, then the key without "shared/".
//
// Unlike Dovecot's it can be iterated, by SCAN, which goes through all keys of
// the database: one of its own is best. A commit is one MULTI/EXEC under WATCH.
// It also publishes what it changed, on the channel
//
//	roost-dict:<db>:<prefix>
//
// to whoever watches. What other programs write is not published.
//
// The protocol is spoken by the package itself: it needs eight commands, an end
// to every wait when the caller gives up, and limits to what it reads.
package dictredis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/roost-mail/roost/dict"
)

// Open returns a handle on the dictionary that cfg names. The server need not be
// there yet. The Dict is a dict.Watcher.
func Open(cfg Config) dict.Dict {
	d := &driver{cfg: cfg, idle: make(chan *conn, maxIdle)}
	return dict.New(d, dict.Options{Name: cfg.name(), Timeout: cfg.Timeout})
}

// maxIdle is how many connections are kept for calls to come.
const maxIdle = 4

type driver struct {
	cfg  Config
	idle chan *conn
}

var (
	_ dict.Driver  = (*driver)(nil)
	_ dict.Watcher = (*driver)(nil)
)

// with runs f on a connection. One that was kept may have died meanwhile: if it
// gave no answer at all f runs once more, on a new one.
func (d *driver) with(ctx context.Context, f func(*conn) error) error {
	select {
	case c := <-d.idle:
		c.answered = false
		err := f(c)
		if d.keep(c, err) || c.answered || ctx.Err() != nil {
			return err
		}
	default:
	}
	c, err := dial(ctx, &d.cfg)
	if err != nil {
		return err
	}
	err = f(c)
	d.keep(c, err)
	return err
}

// keep puts a connection back if it is in order after err.
func (d *driver) keep(c *conn, err error) bool {
	var no serverError
	sound := err == nil || errors.As(err, &no) || errors.Is(err, dict.ErrConflict) || errors.Is(err, dict.ErrBusy)
	if sound {
		select {
		case d.idle <- c:
			return true
		default:
		}
	}
	_ = c.nc.Close()
	return sound
}

// Close implements dict.Driver.
func (d *driver) Close() error {
	for {
		select {
		case c := <-d.idle:
			_ = c.nc.Close()
		default:
			return nil
		}
	}
}

func (d *driver) key(key string) string { return d.cfg.Prefix + strings.TrimPrefix(key, dict.Root) }

// Get implements dict.Driver.
func (d *driver) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	err = d.with(ctx, func(c *conn) error {
		r, err := c.do(ctx, "GET", d.key(key))
		value, ok = r.text, err == nil && !r.null
		return err
	})
	return value, ok, err
}

// scanCount is how many keys the server looks at in one step of a SCAN, and how
// many values are asked for at once.
const scanCount = 1000

// List implements dict.Driver.
func (d *driver) List(ctx context.Context, prefix string, add func(key, value string) error) error {
	var keys []string
	seen := map[string]struct{}{}
	err := d.with(ctx, func(c *conn) error {
		keys, seen = nil, map[string]struct{}{}
		return d.scan(ctx, c, d.key(prefix), func(key string) {
			if _, twice := seen[key]; !twice {
				seen[key] = struct{}{}
				keys = append(keys, key)
			}
		})
	})
	for len(keys) > 0 && err == nil {
		some := keys[:min(len(keys), scanCount)]
		keys = keys[len(some):]
		err = d.values(ctx, some, add)
	}
	return err
}

// scan calls see for the keys that begin with prefix; for some of them twice.
func (d *driver) scan(ctx context.Context, c *conn, prefix string, see func(key string)) error {
	size := 0
	for cursor := "0"; ; {
		r, err := c.do(ctx, "SCAN", cursor, "MATCH", literal(prefix)+"*", "COUNT", strconv.Itoa(scanCount))
		if err != nil {
			return err
		}
		if len(r.list) != 2 {
			return errProtocol
		}
		for _, k := range r.list[1].list {
			if size += len(k.text); size > dict.MaxListing {
				return fmt.Errorf("keys of more than %d bytes", dict.MaxListing)
			}
			see(k.text)
		}
		if cursor = r.list[0].text; cursor == "0" {
			return nil
		}
	}
}

// literal is a pattern that only s matches.
func literal(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`, `-`, `\-`).Replace(s)
}

// values calls add for keys that have a value still.
func (d *driver) values(ctx context.Context, keys []string, add func(key, value string) error) error {
	var r reply
	err := d.with(ctx, func(c *conn) (err error) {
		r, err = c.do(ctx, append([]string{"MGET"}, keys...)...)
		return err
	})
	if err != nil {
		return err
	}
	if len(r.list) != len(keys) {
		return errProtocol
	}
	for i, v := range r.list {
		if v.null {
			continue
		}
		if err := add(dict.Root+strings.TrimPrefix(keys[i], d.cfg.Prefix), v.text); err != nil {
			return err
		}
	}
	return nil
}

// Commit implements dict.Driver.
func (d *driver) Commit(ctx context.Context, changes []dict.Change, conditions []dict.Condition) error {
	if len(changes)+len(conditions) == 0 {
		return nil
	}
	return d.with(ctx, func(c *conn) error {
		effective, err := d.effective(ctx, c, changes, conditions)
		if err != nil || !effective {
			return errors.Join(err, unwatch(ctx, c, err))
		}
		return d.exec(ctx, c, changes)
	})
}

// effective watches the keys from now on, and says whether the conditions hold and
// any change is one.
func (d *driver) effective(ctx context.Context, c *conn, changes []dict.Change, conditions []dict.Condition) (bool, error) {
	keys := make([]string, 0, len(changes)+len(conditions))
	for _, cond := range conditions {
		keys = append(keys, d.key(cond.Key))
	}
	for _, ch := range changes {
		keys = append(keys, d.key(ch.Key))
	}
	replies, err := c.pipeline(ctx, [][]string{append([]string{"WATCH"}, keys...), append([]string{"MGET"}, keys...)})
	if err != nil {
		return false, err
	}
	for _, r := range replies {
		if r.err != "" {
			return false, serverError(r.err)
		}
	}
	have := replies[1].list
	if len(have) != len(keys) {
		return false, errProtocol
	}
	for i, cond := range conditions {
		if r := have[i]; r.null != cond.Missing || !r.null && r.text != cond.Value {
			return false, fmt.Errorf("%w: key %q", dict.ErrConflict, cond.Key)
		}
	}
	for i, ch := range changes {
		if r := have[len(conditions)+i]; r.null != ch.Unset || !r.null && r.text != ch.Value {
			return true, nil
		}
	}
	return false, nil
}

// unwatch ends a WATCH, on a connection that err has left in order.
func unwatch(ctx context.Context, c *conn, err error) error {
	if err != nil && !errors.Is(err, dict.ErrConflict) {
		return nil
	}
	_, err = c.do(ctx, "UNWATCH")
	return err
}

// exec makes the changes, if nobody has changed what is watched.
func (d *driver) exec(ctx context.Context, c *conn, changes []dict.Change) error {
	commands := [][]string{{"MULTI"}}
	for _, ch := range changes {
		if ch.Unset {
			commands = append(commands, []string{"DEL", d.key(ch.Key)})
		} else {
			commands = append(commands, []string{"SET", d.key(ch.Key), ch.Value})
		}
	}
	commands = append(commands, []string{"PUBLISH", d.channel(), news(changes)}, []string{"EXEC"})
	replies, err := c.pipeline(ctx, commands)
	if err != nil {
		return err
	}
	last := replies[len(replies)-1]
	switch {
	case last.null:
		return dict.ErrBusy
	case last.err != "":
		return serverError(last.err + firstError(replies))
	}
	if e := firstError(last.list); e != "" {
		return serverError(e)
	}
	return nil
}

// firstError is the cause of an EXEC that was refused.
func firstError(replies []reply) string {
	for _, r := range replies[:max(0, len(replies)-1)] {
		if r.err != "" {
			return ": " + r.err
		}
	}
	return ""
}

func (d *driver) channel() string { return fmt.Sprintf("roost-dict:%d:%s", d.cfg.DB, d.cfg.Prefix) }

// maxNews bounds what is published; of larger commits it is said only that they were.
const maxNews = 64 << 10

// news is what is published about a commit.
func news(changes []dict.Change) string {
	size := 0
	for _, c := range changes {
		if size += len(c.Key) + len(c.Value); size > maxNews {
			return ""
		}
	}
	text, err := json.Marshal(changes)
	if err != nil {
		return ""
	}
	return string(text)
}

// Watch implements dict.Watcher.
func (d *driver) Watch(ctx context.Context, changed func([]dict.Change)) error {
	c, err := dial(ctx, &d.cfg)
	if err != nil {
		return err
	}
	defer c.nc.Close() //nolint:errcheck // nothing is lost
	if _, err := c.do(ctx, "SUBSCRIBE", d.channel()); err != nil {
		return err
	}
	changed(nil)
	for {
		changes, err := c.next(ctx)
		if err != nil {
			return err
		}
		changed(changes)
	}
}

package dictredis

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"time"

	"github.com/roost-mail/roost/dict"
)

// How often a quiet watch asks whether the server is there, and how long it waits
// for the answer.
const (
	pingAfter = 15 * time.Second
	pongTime  = 10 * time.Second
)

// next waits for the next message of a subscription, and makes sure meanwhile that
// the server is there.
func (c *conn) next(ctx context.Context) ([]dict.Change, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.nc.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		if err := c.await(ctx); err != nil {
			return nil, err
		}
		budget := maxMessage
		r, err := readReply(c.r, 0, &budget)
		if err != nil {
			return nil, err
		}
		if len(r.list) == 3 && r.list[0].text == "message" {
			return parseNews(r.list[2].text), nil
		}
	}
}

const maxMessage = 8 * maxNews // as JSON

// await returns when something can be read.
func (c *conn) await(ctx context.Context) error {
	var silent net.Error
	for _, wait := range []time.Duration{pingAfter, pongTime} {
		if err := c.nc.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		_, err := c.r.Peek(1)
		switch {
		case err == nil:
			return c.nc.SetReadDeadline(time.Now().Add(pongTime))
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.As(err, &silent) || !silent.Timeout():
			return err
		}
		c.write([]string{"PING"})
		if err := c.w.Flush(); err != nil {
			return err
		}
	}
	return errors.New("the server is silent")
}

// parseNews is nil for what is not understood: anything may have changed.
func parseNews(text string) []dict.Change {
	var changes []dict.Change
	if json.Unmarshal([]byte(text), &changes) != nil || dict.CheckCommit(changes, nil) != nil {
		return nil
	}
	return changes
}

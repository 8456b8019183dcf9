package imapclient

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapwire"
)

// Capability asks for the capabilities unless they are known.
func (c *Conn) Capability(ctx context.Context) error {
	if c.caps != nil {
		return nil
	}
	_, err := c.Do(ctx, nil, func(e *imapwire.Encoder) { e.Atom("CAPABILITY") })
	return err
}

// ID tells the server who we are, and what else it may want to know (RFC 2971).
// It goes out with the next command, or when its answer is waited for.
func (c *Conn) ID(ctx context.Context, fields map[string]string) (*Command, error) {
	if c.broken != nil {
		return nil, c.broken
	}
	defer c.guard(ctx)()
	cmd := c.queue(nil, func(e *imapwire.Encoder) {
		e.Atom("ID").SP().Special('(')
		for i, name := range slices.Sorted(maps.Keys(fields)) {
			if i > 0 {
				e.SP()
			}
			e.String(name).SP().NString(fields[name])
		}
		e.Special(')')
	})
	if c.enc.Err() != nil {
		return nil, c.unsent(cmd, c.enc.Flush())
	}
	return cmd, nil
}

// ErrNoPlain is inside the error of a login for which the server offers no
// mechanism that can do it.
var ErrNoPlain = errors.New("server offers no AUTH=PLAIN")

// Authenticate logs in as user by AUTHENTICATE PLAIN (RFC 4616), to act as
// authzid unless that is empty. The Status is that of the tagged OK.
func (c *Conn) Authenticate(ctx context.Context, authzid, user, password string) (*Status, error) {
	if err := c.Capability(ctx); err != nil {
		return nil, err
	}
	if !c.Has("AUTH=PLAIN") {
		return nil, imap.Wrap(imap.CodeCannot, textOf(imap.CodeCannot), ErrNoPlain)
	}
	plain := authzid + "\x00" + user + "\x00" + password
	if strings.Count(plain, "\x00") != 2 {
		return nil, imap.Errorf(imap.CodeAuthenticationFailed, "Authentication failed")
	}
	return c.AuthenticateBy(ctx, "PLAIN", []byte(plain))
}

// AuthenticateBy logs in by a mechanism that consists of one response of the client. That
// the server offers it, the caller has seen.
func (c *Conn) AuthenticateBy(ctx context.Context, mechanism string, message []byte) (*Status, error) {
	response := base64.StdEncoding.EncodeToString(message)
	initial := c.Has("SASL-IR")
	c.forget()
	c.continued = false
	cmd, err := c.Send(ctx, nil, func(e *imapwire.Encoder) {
		e.RawString("AUTHENTICATE ").Atom(mechanism)
		if initial {
			e.SP().RawString(response)
		}
	})
	if err != nil {
		return nil, err
	}
	if err := c.answerPrompts(ctx, cmd, response, initial); err != nil {
		return nil, err
	}
	return c.loggedIn(ctx, cmd)
}

// answerPrompts sends the response when it is asked for. A server that asks
// again is told to give up (RFC 9051 section 6.2.2).
func (c *Conn) answerPrompts(ctx context.Context, cmd *Command, response string, sent bool) error {
	defer c.guard(ctx)()
	for cmd.status == nil {
		if err := c.readResponse(); err != nil {
			return err
		}
		if !c.continued {
			continue
		}
		c.continued = false
		line := response
		if sent {
			line = "*"
		}
		sent = true
		if err := c.enc.RawString(line).CRLF().Flush(); err != nil {
			return c.fail(err)
		}
		c.wire.asked = true
	}
	return nil
}

// Login logs in by LOGIN.
func (c *Conn) Login(ctx context.Context, user, password string) (*Status, error) {
	if err := c.Capability(ctx); err != nil {
		return nil, err
	}
	if c.Has("LOGINDISABLED") {
		return nil, imap.Errorf(imap.CodePrivacyRequired, "%s", textOf(imap.CodePrivacyRequired))
	}
	c.forget()
	cmd, err := c.Send(ctx, nil, func(e *imapwire.Encoder) { e.Atom("LOGIN").SP().String(user).SP().String(password) })
	if err != nil {
		return nil, err
	}
	return c.loggedIn(ctx, cmd)
}

// forget drops the capabilities, which a login changes, but still uses what
// literals may do.
func (c *Conn) forget() { c.caps = nil }

func (c *Conn) loggedIn(ctx context.Context, cmd *Command) (*Status, error) {
	status, err := c.Wait(ctx, cmd)
	if err != nil {
		return status, err
	}
	return status, c.Capability(ctx)
}

// Logout says goodbye and closes the connection.
func (c *Conn) Logout(ctx context.Context) error {
	defer func() { _ = c.fail(errors.New("logged out")) }()
	_, err := c.Do(ctx, nil, func(e *imapwire.Encoder) { e.Atom("LOGOUT") })
	return err
}

// IdleQuiet is how long Idle waits for a server that says nothing, which may be gone
// without a trace. Those that we know say that they live every 2 minutes.
const IdleQuiet = 150 * time.Second

// Idle waits for what the server has to tell (RFC 2177), until Interrupt or
// for as long as d, or for IdleQuiet without a word. What has come when it returns was given to h. A server that
// ends it by itself is an error, and the connection goes on.
func (c *Conn) Idle(ctx context.Context, h *Handler, d time.Duration) error {
	c.continued = false
	cmd, err := c.Send(ctx, h, func(e *imapwire.Encoder) { e.Atom("IDLE") })
	if err != nil {
		return err
	}
	defer c.guard(ctx)()
	for !c.continued && cmd.status == nil {
		if err := c.readResponse(); err != nil {
			return err
		}
	}
	c.continued = false
	if err := c.idleUntil(time.Now().Add(d), cmd); err != nil {
		return err
	}
	if cmd.status != nil {
		if err := cmd.status.Err(); err != nil {
			return err
		}
		return imap.Wrap(imap.CodeCannot, textOf(imap.CodeCannot), errIdleEnded)
	}
	if err := c.enc.RawString("DONE").CRLF().Flush(); err != nil {
		return c.fail(err)
	}
	_, err = c.Wait(ctx, cmd)
	return err
}

// errIdleEnded is an IDLE that the server ended with OK.
var errIdleEnded = errors.New("server ended IDLE by itself")

func (c *Conn) idleUntil(end time.Time, cmd *Command) error {
	for cmd.status == nil {
		ended, err := c.wire.rest(min(time.Until(end), IdleQuiet), c.dec.WaitInput)
		if err != nil {
			return c.fail(err)
		}
		if ended {
			return nil
		}
		if err := c.readResponse(); err != nil {
			return err
		}
	}
	return nil
}

// Interrupt ends the present Idle soon, or the next one at once. It may be
// called from any goroutine, and by handlers.
func (c *Conn) Interrupt() { c.wire.interrupt() }

// Rearm takes an Interrupt back that no Idle has seen.
func (c *Conn) Rearm() { c.wire.rearm() }

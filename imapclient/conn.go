// Package imapclient is Roost as an IMAP client: of other backends, of foreign
// servers, in health checks and in tests.
//
// A Conn is one connection. It has no goroutine of its own: whoever waits for a
// command reads what the server sends and hands untagged responses to a
// Handler, message bodies as readers on the connection itself. So nothing is
// buffered that nobody asked for, an idle connection costs no memory but its
// socket, and a slow consumer slows the server down.
//
// The server is not trusted: everything it sends is limited, every wait ends,
// and what breaks the grammar breaks the connection (Broken). It is never
// made up for: a Conn does not reconnect and does not retry.
package imapclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapwire"
	"github.com/roost-mail/roost/metric"
)

// Config says how a Conn behaves. Zero fields have the default named beside them.
type Config struct {
	// Timeout is how long the server may be silent while an answer is due, or
	// not take what we send (imapc_cmd_timeout). 5 minutes.
	Timeout time.Duration

	// Limits bound what the server sends; 8 MiB for a line, 1 MiB for a
	// literal that is not streamed, 256 lists within lists, as structures of
	// mail are deep, otherwise those of imapwire.
	Limits imapwire.Limits

	// RawLog gives the two halves of the connection's raw log: what the server
	// sent and what we sent. Either may be nil, as RawLog itself. Passwords
	// are in it.
	RawLog func() (in, out io.WriteCloser)

	Counters *Counters // none

	// Security says how the connection is encrypted, and TLS whom we expect
	// (see tlsconn.Named); it is not nil then.
	Security Security
	TLS      *tls.Config
}

// Counters count over many connections.
type Counters struct {
	Connections atomic.Int64     // made
	RoundTrips  atomic.Int64     // waits for an answer that was not there yet
	Waits       metric.Histogram // how long these took
}

func (c Config) withDefaults() Config {
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Minute
	}
	if c.Limits.Line <= 0 {
		c.Limits.Line = 8 << 20
	}
	if c.Limits.Literal <= 0 {
		c.Limits.Literal = 1 << 20
	}
	if c.Limits.Depth <= 0 {
		c.Limits.Depth = 256
	}
	if c.Limits.ListItems <= 0 {
		c.Limits.ListItems = 1 << 20
	}
	if c.Counters == nil {
		c.Counters = new(Counters)
	}
	return c
}

// Conn is a connection to an IMAP server. It is for one goroutine at a time,
// but for Interrupt and Close.
type Conn struct {
	// Handler gets the untagged responses that the handler of no command takes.
	Handler Handler

	cfg     Config
	wire    *wire
	dec     *imapwire.Decoder
	enc     *imapwire.Encoder
	lastTag int
	pending []*Command // sent and not answered, oldest first
	caps    []string   // as they were sent; nil while they are not known
	enabled []string   // of ENABLED
	veil    Veil

	// Used again for each FETCH response.
	fetched FetchData
	word    []byte
	raw     [3][]byte // envelope, body, body structure

	continued bool // a continuation request has come that nobody has taken
	preauth   bool
	refused   error   // of a Section handler, which ends the connection
	bye       *Status // the server's, if it has said why it leaves
	broken    error   // why nothing works any more
}

// Dial connects, and waits for the greeting.
func Dial(ctx context.Context, network, addr string, cfg Config) (*Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return New(ctx, nc, cfg)
}

// New takes nc over and waits for the greeting, and for TLS if that is asked
// for: with an error nothing but STARTTLS was sent. If it fails, nc is closed.
func New(ctx context.Context, nc net.Conn, cfg Config) (*Conn, error) {
	cfg = cfg.withDefaults()
	nc, err := encrypt(ctx, nc, &cfg)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: nc, timeout: cfg.Timeout, counters: cfg.Counters}
	if cfg.RawLog != nil {
		in, out := cfg.RawLog()
		w.in, w.out = newRawLog(in), newRawLog(out)
	}
	w.heard.Store(time.Now().UnixNano())
	c := &Conn{cfg: cfg, wire: w, dec: imapwire.NewDecoder(w, cfg.Limits), enc: imapwire.NewEncoder(w)}
	c.enc.Wait = c.waitContinuation
	cfg.Counters.Connections.Add(1)
	if err := c.greeting(ctx); err != nil {
		return nil, fmt.Errorf("greeting: %w", err)
	}
	if cfg.Security == StartTLS {
		if err := c.startTLS(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Conn) greeting(ctx context.Context) error {
	defer c.guard(ctx)()
	var status *Status
	h := Handler{Status: func(s *Status) { status = s }}
	c.pending = []*Command{{handler: &h}}
	err := c.readResponse()
	c.pending = nil
	switch {
	case err != nil:
		return err
	case status == nil:
		return c.fail(errors.New("the server does not greet"))
	case status.Kind == Bye:
		return c.fail(&imap.Error{Code: status.Code, Text: textOf(status.Code), Err: status})
	}
	c.preauth = status.Kind == Preauth
	return nil
}

// Preauth reports whether the server took us as logged in from the start.
func (c *Conn) Preauth() bool { return c.preauth }

// Broken is why the connection can't be used any more, nil while it can.
func (c *Conn) Broken() error { return c.broken }

// Heard is when the server sent something last, or when the connection was made.
// It may be called from any goroutine.
func (c *Conn) Heard() time.Time { return time.Unix(0, c.wire.heard.Load()) }

// RemoteAddr is the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.wire.RemoteAddr() }

// Close closes the connection at once. It may be called from any goroutine and
// more than once.
func (c *Conn) Close() error { return c.wire.Close() }

// Detach gives the connection away, with what was read from it and not used.
// Nothing may be pending. The Conn is of no use afterwards.
func (c *Conn) Detach() (nc net.Conn, buffered []byte) {
	buffered = c.dec.TakeBuffered()
	c.broken = errors.New("connection was given away")
	_ = c.wire.SetDeadline(time.Time{})
	c.wire.closeLogs()
	return c.wire.Conn, buffered
}

// Capabilities are those that the server has told of last, as it wrote them;
// nil if it has not, or has told of them before something that may change them.
func (c *Conn) Capabilities() []string { return c.caps }

// Veil is what is not seen of a server: capabilities that it has, and flags in its FETCH
// responses. FLAGS and PERMANENTFLAGS show them.
type Veil struct {
	Capabilities []string
	Flags        []imap.Flag
}

// Hide draws a veil over the server.
func (c *Conn) Hide(v Veil) { c.veil = v }

// Has reports whether the server has told of a capability, unless that is hidden.
func (c *Conn) Has(capability string) bool {
	if slices.Contains(c.veil.Capabilities, capability) {
		return false
	}
	return slices.ContainsFunc(c.caps, func(has string) bool { return strings.EqualFold(has, capability) })
}

// maxEnabled bounds what a server can make us hold of ENABLED.
const maxEnabled = 20

// Enabled reports whether the server has said that an extension is turned on.
func (c *Conn) Enabled(extension string) bool {
	return slices.ContainsFunc(c.enabled, func(on string) bool { return strings.EqualFold(on, extension) })
}

func (c *Conn) setCapabilities(args string) {
	c.caps = strings.Fields(args)
	switch {
	case c.Has("LITERAL+"):
		c.enc.NonSync = 1 << 62
	case c.Has("LITERAL-"):
		c.enc.NonSync = 4096
	default:
		c.enc.NonSync = 0
	}
}

// fail breaks the connection.
func (c *Conn) fail(err error) error {
	if c.broken == nil {
		if c.bye != nil {
			err = c.bye
		}
		c.broken = err
		_ = c.wire.Close()
	}
	return c.broken
}

// guard closes the connection if ctx ends before the returned function is
// called: in the middle of an exchange there is no other way out.
func (c *Conn) guard(ctx context.Context) (done func()) {
	stop := context.AfterFunc(ctx, func() { _ = c.wire.Close() })
	return func() {
		if !stop() && c.broken == nil {
			_ = c.fail(ctx.Err())
		}
	}
}

// Command is a command that was sent.
type Command struct {
	tag     string
	handler *Handler
	status  *Status // once answered
}

// Answered reports whether the answer has been read.
func (cmd *Command) Answered() bool { return cmd.status != nil }

// Send sends a command, whose name and arguments build appends, without its
// tag and line end. Untagged responses go to h, which may be nil, while the
// command is the oldest that is not answered. Its answer has to be waited for.
func (c *Conn) Send(ctx context.Context, h *Handler, build func(*imapwire.Encoder)) (*Command, error) {
	if c.broken != nil {
		return nil, c.broken
	}
	defer c.guard(ctx)()
	cmd := c.queue(h, build)
	if err := c.enc.Flush(); err != nil && !errors.Is(err, errAnswered) {
		return nil, c.unsent(cmd, err)
	}
	c.wire.asked = true
	return cmd, nil
}

// queue writes a command that goes out with the next flush.
func (c *Conn) queue(h *Handler, build func(*imapwire.Encoder)) *Command {
	c.lastTag++
	cmd := &Command{tag: "R" + strconv.Itoa(c.lastTag), handler: h.or(&c.Handler)}
	c.pending = append(c.pending, cmd)
	c.enc.Tagged(cmd.tag)
	build(c.enc)
	c.enc.CRLF()
	return cmd
}

// unsent takes back a command that can't be sent, or breaks the connection.
func (c *Conn) unsent(cmd *Command, err error) error {
	c.pending = slices.DeleteFunc(c.pending, func(p *Command) bool { return p == cmd })
	if errors.Is(err, imapwire.ErrNotSendable) && c.enc.Err() == nil {
		return &imap.Error{Code: imap.CodeCannot, Text: textOf(imap.CodeCannot), Err: err}
	}
	return c.fail(fmt.Errorf("send: %w", err))
}

// Wait reads until cmd is answered. A refusal is an *imap.Error with the
// server's code; its words are in the cause only. Any other error has broken
// the connection.
func (c *Conn) Wait(ctx context.Context, cmd *Command) (*Status, error) {
	defer c.guard(ctx)()
	if c.enc.Buffered() > 0 {
		if err := c.enc.Flush(); err != nil {
			return nil, c.unsent(cmd, err)
		}
		c.wire.asked = true
	}
	for cmd.status == nil {
		if err := c.readResponse(); err != nil {
			return nil, err
		}
	}
	return cmd.status, cmd.status.Err()
}

// Do is Send and Wait.
func (c *Conn) Do(ctx context.Context, h *Handler, build func(*imapwire.Encoder)) (*Status, error) {
	cmd, err := c.Send(ctx, h, build)
	if err != nil {
		return nil, err
	}
	return c.Wait(ctx, cmd)
}

// errAnswered ends the sending of a command that was answered early.
var errAnswered = errors.New("command was answered before it was complete")

// waitContinuation is where the encoder waits before it sends a literal.
func (c *Conn) waitContinuation() error {
	cmd := c.pending[len(c.pending)-1]
	c.wire.asked = true
	for !c.continued {
		if err := c.readResponse(); err != nil {
			return err
		}
		if cmd.status != nil {
			return errAnswered
		}
	}
	c.continued = false
	return nil
}

package dictredis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/roost-mail/roost/dict"
)

// Limits of what a server may answer.
const (
	maxLine  = 4096
	maxBulk  = 512 << 20 // Redis's own
	maxArray = 1 << 20   // elements; we ask for fewer
	maxDepth = 4
)

// conn is one connection, used by one call at a time.
type conn struct {
	nc net.Conn
	r  *bufio.Reader
	w  *bufio.Writer

	answered bool // something was read since it was last taken into use
}

// serverError is an answer that says no. The connection can be used further.
type serverError string

func (e serverError) Error() string { return "the server says: " + string(e) }

// dial connects and logs in. The password appears in no error.
func dial(ctx context.Context, cfg *Config) (*conn, error) {
	network, addr := cfg.address()
	nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &conn{nc: nc, r: bufio.NewReader(nc), w: bufio.NewWriter(nc)}
	if err := c.login(ctx, cfg); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	return c, nil
}

func (c *conn) login(ctx context.Context, cfg *Config) error {
	if cfg.Password != "" {
		auth := []string{"AUTH", cfg.Password}
		if cfg.User != "" {
			auth = []string{"AUTH", cfg.User, cfg.Password}
		}
		if _, err := c.do(ctx, auth...); err != nil {
			return fmt.Errorf("log in: %w", err)
		}
	}
	if cfg.DB != 0 {
		if _, err := c.do(ctx, "SELECT", strconv.Itoa(cfg.DB)); err != nil {
			return fmt.Errorf("database %d: %w", cfg.DB, err)
		}
	}
	return nil
}

// do sends one command and returns its answer.
func (c *conn) do(ctx context.Context, args ...string) (reply, error) {
	replies, err := c.pipeline(ctx, [][]string{args})
	if err != nil {
		return reply{}, err
	}
	if e := replies[0].err; e != "" {
		return reply{}, serverError(e)
	}
	return replies[0], nil
}

// pipeline sends commands together and returns their answers. If ctx ends before
// all is read the connection is broken.
func (c *conn) pipeline(ctx context.Context, commands [][]string) ([]reply, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var sent error
	done := make(chan struct{})
	go func() { // ends with the connection, or ctx
		defer close(done)
		for _, args := range commands {
			c.write(args)
		}
		sent = c.w.Flush()
	}()
	replies, err := c.read(len(commands))
	if err != nil {
		_ = c.nc.Close()
	}
	<-done
	if err = errors.Join(err, sent); err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return replies, err
}

// write encodes a command; the writer keeps the first error.
func (c *conn) write(args []string) {
	fmt.Fprintf(c.w, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(c.w, "$%d\r\n", len(a))
		_, _ = c.w.WriteString(a)
		_, _ = c.w.WriteString("\r\n")
	}
}

func (c *conn) read(n int) ([]reply, error) {
	replies := make([]reply, 0, n)
	budget := dict.MaxListing
	for range n {
		r, err := readReply(c.r, 0, &budget)
		if err != nil {
			return nil, err
		}
		replies = append(replies, r)
		c.answered = true
	}
	return replies, nil
}

// reply is what the server answers: an error, nothing, a text (numbers too), or
// several replies.
type reply struct {
	err  string
	null bool
	text string
	list []reply
}

var errProtocol = errors.New("the server does not speak Redis's protocol")

// replyCost is what a reply needs beside its text, in bytes.
const replyCost = 64

// spend takes from a budget what is about to be kept.
func spend(budget *int, size int) error {
	if *budget -= size; *budget < 0 {
		return fmt.Errorf("an answer of more than %d bytes", dict.MaxListing)
	}
	return nil
}

// readReply reads one reply of RESP2. budget is how many bytes there may be yet, of all of it.
func readReply(r *bufio.Reader, depth int, budget *int) (reply, error) {
	line, err := readLine(r)
	if err != nil {
		return reply{}, err
	}
	if line == "" || depth > maxDepth {
		return reply{}, errProtocol
	}
	if err := spend(budget, len(line)+replyCost); err != nil {
		return reply{}, err
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':':
		return reply{text: rest}, nil
	case '-':
		return reply{err: rest}, nil
	case '$':
		return readBulk(r, rest, budget)
	case '*':
		return readArray(r, rest, depth, budget)
	}
	return reply{}, errProtocol
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case err != nil && !errors.Is(err, bufio.ErrBufferFull):
		return "", err
	case err != nil, len(line) > maxLine, len(line) < 2, line[len(line)-2] != '\r':
		return "", errProtocol
	}
	return string(line[:len(line)-2]), nil
}

func readBulk(r *bufio.Reader, size string, budget *int) (reply, error) {
	n, err := strconv.Atoi(size)
	switch {
	case err != nil || n < -1 || n > maxBulk:
		return reply{}, errProtocol
	case n == -1:
		return reply{null: true}, nil
	}
	if err := spend(budget, n); err != nil {
		return reply{}, err
	}
	buf := make([]byte, n+2)
	if _, err := io.ReadFull(r, buf); err != nil {
		return reply{}, err
	}
	if buf[n] != '\r' || buf[n+1] != '\n' {
		return reply{}, errProtocol
	}
	return reply{text: string(buf[:n])}, nil
}

func readArray(r *bufio.Reader, size string, depth int, budget *int) (reply, error) {
	n, err := strconv.Atoi(size)
	switch {
	case err != nil || n < -1 || n > maxArray:
		return reply{}, errProtocol
	case n == -1:
		return reply{null: true}, nil
	}
	var list []reply // grows as elements come, not as they are promised
	for range n {
		e, err := readReply(r, depth+1, budget)
		if err != nil {
			return reply{}, err
		}
		list = append(list, e)
	}
	return reply{list: list}, nil
}

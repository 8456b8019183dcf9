package adminhttp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/imap"
)

// Limits of a client.
const (
	maxAnswer = 64 << 20 // bytes of an answer
	dialTime  = 5 * time.Second
)

// Client calls the API of one server. It may be used by any number of goroutines.
type Client struct {
	base  string
	token string
	http  *http.Client
	name  string // of the server, for errors
}

// Unix is a client of a unix socket.
func Unix(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: dialTime}
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{base: "http://roost", name: path, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Net is a client over the network. config verifies the server if server is an https
// URL.
func Net(server, token string, config *tls.Config) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("%.100q is not https://HOST:PORT", server)
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("%.100q: the token would cross the network as it is: say https", server)
	}
	transport := &http.Transport{
		DialContext: (&net.Dialer{Timeout: dialTime}).DialContext, TLSClientConfig: config,
		TLSHandshakeTimeout: dialTime, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader,
	}
	noRedirects := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // a token is for one server
	return &Client{base: u.Scheme + "://" + u.Host, name: u.Host, token: token, http: &http.Client{Transport: transport, CheckRedirect: noRedirects}}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Call calls an operation and gives its result. tell, which may be nil, hears of
// progress. It waits for a while longer than the operation may take. An error that the server has told is an *Error; if it can't be reached
// or understood, an *imap.Error with UNAVAILABLE.
func (c *Client) Call(ctx context.Context, op *admin.Operation, args admin.Args, tell func(admin.Progress)) (admin.Result, error) {
	limit := quickTime + dialTime
	if op.Slow {
		limit += args.Time("timeout")
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	body, err := encode(op, args)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path(op.Name), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner // without the URL
		}
		return nil, imap.Wrap(imap.CodeUnavailable, fmt.Sprintf("%s: %s", c.name, unreachable(err)), err)
	}
	defer func() { _ = resp.Body.Close() }()
	in := io.LimitReader(resp.Body, maxAnswer)
	res := op.New()
	if resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), streamType) {
		err = readStream(in, res, tell)
	} else {
		err = readAnswer(in, resp.StatusCode, res)
	}
	var told *Error
	if err != nil && !errors.As(err, &told) {
		err = imap.Wrap(imap.CodeUnavailable, fmt.Sprintf("%s: the answer can't be understood: %v", c.name, err), err)
	}
	if err != nil {
		return nil, err
	}
	if formed, ok := res.(admin.Formed); ok {
		formed.SetForm(args)
	}
	return res, nil
}

// unreachable is why a server did not answer. A socket that is not there, or that nobody
// serves, says little to who does not know what it means.
func unreachable(err error) string {
	if op, is := errors.AsType[*net.OpError](err); is && op.Net == "unix" {
		for _, known := range []error{syscall.ENOENT, syscall.ECONNREFUSED} {
			if errors.Is(err, known) {
				return fmt.Sprintf("no server answers at this socket (%v): none runs with it, or it waits for the coordinator, as its log says then", known)
			}
		}
	}
	return err.Error()
}

// encode is arguments in JSON.
func encode(op *admin.Operation, args admin.Args) ([]byte, error) {
	object := map[string]any{}
	for _, a := range op.Args {
		text, is := args[a.Name]
		switch {
		case !is:
		case a.Type == admin.Users:
			object[a.Name] = strings.Split(text, "\n")
		case a.Type == admin.Bool:
			object[a.Name] = text == "true"
		default:
			object[a.Name] = text
		}
	}
	body, err := json.Marshal(object)
	if err == nil && len(body) > MaxBody {
		err = imap.BadCommand("the arguments are longer than %d bytes", MaxBody)
	}
	return body, err
}

func readAnswer(in io.Reader, status int, res admin.Result) error {
	if status == http.StatusOK {
		return json.NewDecoder(in).Decode(res)
	}
	var failed struct{ Error *Error }
	if err := json.NewDecoder(in).Decode(&failed); err != nil || failed.Error == nil {
		return fmt.Errorf("HTTP status %d", status)
	}
	return failed.Error
}

func readStream(in io.Reader, res admin.Result, tell func(admin.Progress)) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		var l struct {
			Progress *admin.Progress
			Result   json.RawMessage
			Error    *Error
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return err
		}
		switch {
		case l.Error != nil:
			return l.Error
		case l.Result != nil:
			return json.Unmarshal(l.Result, res)
		case l.Progress != nil && tell != nil:
			tell(*l.Progress)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return errors.New("it ended without a result; what was begun may go on")
}

// Others asks other nodes as one of them, over TLS. It implements admin.Peers.
type Others struct {
	Token string
	TLS   func(host string) *tls.Config // nil: plain HTTP, to this machine only
}

// Ask implements admin.Peers.
func (o *Others) Ask(ctx context.Context, address string, op *admin.Operation, args admin.Args, tell func(admin.Progress)) (admin.Result, error) {
	scheme, config := "http://", (*tls.Config)(nil)
	if o.TLS != nil {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		scheme, config = "https://", o.TLS(host)
	}
	c, err := Net(scheme+address, o.Token, config)
	if err != nil {
		return nil, err
	}
	return c.Call(ctx, op, args, tell)
}

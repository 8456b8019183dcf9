package adminhttp

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/admin"
)

// api is a Server without connections.
type api struct {
	*Server
	log   bytes.Buffer
	token string
}

func newAPI(t *testing.T, a *admin.Admin) *api {
	s := &api{}
	log := slog.New(slog.NewTextHandler(&s.log, nil))
	a.Log = log
	token, line := NewToken("oncall", true)
	tokens, err := ParseTokens(strings.NewReader(line))
	if err != nil {
		t.Fatal(err)
	}
	s.token = token
	s.Server = New(Config{Admin: a, Log: log, Tokens: func() *Tokens { return tokens }})
	return s
}

func (s *api) call(ctx context.Context, from, token, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, nil)
	r.RemoteAddr = from
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, r)
	return w
}

// TestFailures: after some wrong tokens not even the right one is looked at, at first;
// other addresses are not concerned, and the log is not filled.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPI(t, &admin.Admin{Reload: func(context.Context) (*admin.Reloaded, error) { return &admin.Reloaded{}, nil }})
		try := func(from, token string, want int) *httptest.ResponseRecorder {
			t.Helper()
			w := s.call(t.Context(), from, token, "/v1/reload")
			if w.Code != want {
				t.Errorf("from %s: %d %s; want %d", from, w.Code, w.Body, want)
			}
			return w
		}
		for range maxFailures {
			try("192.0.2.1:1000", "wrong", http.StatusUnauthorized)
		}
		began := time.Now()
		w := try("192.0.2.1:2000", s.token, http.StatusTooManyRequests)
		if got := w.Header().Get("Retry-After"); got != "59" { // the last one has waited for its answer
			t.Errorf("Retry-After: %s", got)
		}
		if !strings.Contains(w.Body.String(), `"code":"UNAVAILABLE"`) || !strings.Contains(w.Body.String(), `"exit":75`) {
			t.Error(w.Body)
		}
		for range 1000 {
			try("192.0.2.1:1000", "wrong", http.StatusTooManyRequests)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("those took %v", took)
		}
		try("192.0.2.2:1000", s.token, http.StatusOK)
		if n := strings.Count(s.log.String(), "refused"); n != maxFailures {
			t.Errorf("%d lines in the log", n)
		}
		if !strings.Contains(s.log.String(), "and for a while all from this address") {
			t.Error(s.log.String())
		}
		time.Sleep(59 * time.Second)
		try("192.0.2.1:1000", s.token, http.StatusOK)
		try("192.0.2.1:1000", "wrong", http.StatusUnauthorized)
		try("192.0.2.1:1000", s.token, http.StatusOK)
	})
}

// TestFailuresAtOnce: who tries many at the same time gains nothing.
func TestFailuresAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPI(t, &admin.Admin{})
		var running sync.WaitGroup
		codes := make(chan int, 1000)
		for range cap(codes) {
			running.Go(func() { codes <- s.call(t.Context(), "[2001:db8::1]:1", "wrong", "/v1/who").Code })
		}
		running.Wait()
		close(codes)
		looked := 0
		for code := range codes {
			if code == http.StatusUnauthorized {
				looked++
			}
		}
		if looked != maxFailures {
			t.Errorf("%d were told that their token is wrong", looked)
		}
	})
}

// TestCallsAtOnce: one token has only so many calls under way; others go on.
func TestCallsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reload := make(chan struct{})
		s := newAPI(t, &admin.Admin{Reload: func(context.Context) (*admin.Reloaded, error) {
			<-reload
			return &admin.Reloaded{}, nil
		}})
		var running sync.WaitGroup
		for range maxCalls {
			running.Go(func() {
				if w := s.call(context.Background(), "192.0.2.1:1", s.token, "/v1/reload"); w.Code != http.StatusOK {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		w := s.call(t.Context(), "192.0.2.9:1", s.token, "/v1/operations")
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "2" || !strings.Contains(w.Body.String(), "token oncall has 16 calls under way") {
			t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
		}
		close(reload)
		running.Wait()
		if w := s.call(t.Context(), "192.0.2.9:1", s.token, "/v1/reload"); w.Code != http.StatusOK {
			t.Errorf("afterwards: %d %s", w.Code, w.Body)
		}
		if len(s.calls.now) != 0 {
			t.Errorf("still counted: %v", s.calls.now)
		}
	})
}

// TestManySources: what is remembered of attackers is bounded, and the latest stay.
func TestManySources(t *testing.T) {
	var f failures
	now := time.Unix(1e9, 0)
	for i := range 2 * maxSources {
		from := source(fmt.Sprintf("[2001:db8:%x::1]:9", i))
		for range maxFailures {
			f.add(from, now)
		}
		now = now.Add(time.Millisecond)
		if f.wait(from, now) == 0 {
			t.Fatalf("%v is not remembered", from)
		}
	}
	if len(f.from) != maxSources {
		t.Errorf("%d addresses", len(f.from))
	}
	now = now.Add(failureTime)
	f.add(source("192.0.2.1:1"), now)
	if len(f.from) != 1 {
		t.Errorf("%d addresses are left when all is over", len(f.from))
	}
}

func TestSource(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1": "192.0.2.1", "[::ffff:192.0.2.1]:1": "192.0.2.1", "[2001:db8::1:2:3:4]:1": "2001:db8::", "[fe80::1%eth0]:1": "fe80::",
	} {
		if got := source(remote); got != netip.MustParseAddr(want) {
			t.Errorf("%s: %v, want %s", remote, got, want)
		}
	}
	for _, remote := range []string{"@", "", "pipe"} {
		if source(remote).IsValid() {
			t.Errorf("%s is an address", remote)
		}
	}
}

// queue is a listener of connections that were made before.
type queue struct {
	net.Listener
	conns []net.Conn
}

func (q *queue) Accept() (net.Conn, error) {
	if len(q.conns) == 0 {
		return nil, net.ErrClosed
	}
	c := q.conns[0]
	q.conns = q.conns[1:]
	return c, nil
}

type from struct {
	net.Conn
	addr   string
	closed bool
}

func (f *from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.addr)) }

func (f *from) Close() error {
	f.closed = true
	return nil
}

// TestConnectionsOfOneHost: it may have some, and does not keep others out.
func TestConnectionsOfOneHost(t *testing.T) {
	q := &queue{}
	for range 3 * maxPerHost {
		q.conns = append(q.conns, &from{addr: "192.0.2.1:1"})
	}
	late := &from{addr: "192.0.2.2:1"}
	all := append(q.conns, late)
	q.conns = all
	l := &limited{Listener: q, free: make(chan struct{}, maxConns)}
	var accepted []net.Conn
	for {
		c, err := l.Accept()
		if err != nil {
			break
		}
		accepted = append(accepted, c)
	}
	if len(accepted) != maxPerHost+1 || late.closed || !all[maxPerHost].(*from).closed {
		t.Errorf("%d were accepted", len(accepted))
	}
	for _, c := range accepted {
		c.Close()
		c.Close()
	}
	if len(l.free) != 0 || len(l.hosts.now) != 0 {
		t.Errorf("still counted: %d, %v", len(l.free), l.hosts.now)
	}
}

package adminhttp_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/admin/adminhttp"
	"github.com/roost-mail/roost/admin/admintest"
	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/tlsconn"
	"github.com/roost-mail/roost/tlsconn/tlstest"
)

type users struct{}

func (users) Normalize(name string) (string, error)          { return strings.ToLower(name), nil }
func (users) List(context.Context, string) ([]string, error) { return nil, io.EOF }

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// served is a server with TLS on loopback and a unix socket.
type served struct {
	cluster  *admintest.Cluster
	admin    *admin.Admin
	sessions *admintest.Sessions
	log      *lockedBuffer
	url      string // https://localhost:PORT
	addr     string
	socket   string
	client   *tls.Config
	read     string // tokens
	operate  string
}

func serve(t *testing.T) *served {
	t.Helper()
	s := &served{cluster: admintest.New(t), sessions: &admintest.Sessions{}, log: &lockedBuffer{}, socket: filepath.Join(t.TempDir(), "s")}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	s.admin = &admin.Admin{Node: "d1", Log: log, Cluster: s.cluster.Shared, Sessions: s.sessions, Users: users{}}
	var readLine, operateLine string
	s.read, readLine = adminhttp.NewToken("monitor", false)
	s.operate, operateLine = adminhttp.NewToken("oncall", true)
	tokens, err := adminhttp.ParseTokens(strings.NewReader("# who may call\n" + readLine + "\n\n" + operateLine + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	server := adminhttp.New(adminhttp.Config{Admin: s.admin, Log: log, Tokens: func() *adminhttp.Tokens { return tokens }})
	ca := tlstest.New(t)
	shown := tlsconn.ServerConfig{Certificates: []tlsconn.Certificate{{Certificate: ca.Valid(t, "localhost", "127.0.0.1").Certificate(t)}}}.TLS()
	ln, err := adminhttp.Listen("127.0.0.1:0", func() *tls.Config { return shown })
	if err != nil {
		t.Fatal(err)
	}
	unix, err := adminhttp.Socket(s.socket)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	s.url = "https://localhost:" + s.addr[strings.LastIndexByte(s.addr, ':')+1:]
	s.client = ca.Client("localhost")
	var running sync.WaitGroup
	for _, ln := range []net.Listener{ln, unix} {
		running.Go(func() {
			if err := server.Serve(ln); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Close(ctx); err != nil {
			t.Error(err)
		}
		running.Wait()
	})
	s.cluster.Start("be1", cluster.Registration{Volumes: []string{"v"}})
	s.cluster.Start("be2", cluster.Registration{Volumes: []string{"v"}})
	s.cluster.Settle(1 << 20)
	return s
}

func (s *served) net(t *testing.T, token string) *adminhttp.Client {
	t.Helper()
	c, err := adminhttp.Net(s.url, token, s.client)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func call(t *testing.T, c *adminhttp.Client, tell func(admin.Progress), name string, given map[string]string) (admin.Result, error) {
	t.Helper()
	op, ok := admin.Find(name)
	if !ok {
		t.Fatalf("no operation %s", name)
	}
	args, err := op.Parse(given)
	if err != nil {
		t.Fatal(err)
	}
	return c.Call(t.Context(), op, args, tell)
}

func exit(err error) int {
	if told, ok := err.(*adminhttp.Error); ok {
		return told.Exit
	}
	return admin.ExitCode(err)
}

// TestTokens: who shows none, or a wrong one, learns nothing; one that may read does
// not change anything; and the log has who did what.
func TestTokens(t *testing.T) {
	s := serve(t)
	for name, row := range map[string]struct {
		token     string
		look, act int
	}{
		"none":         {"", admin.ExitNoPerm, admin.ExitNoPerm},
		"wrong":        {strings.Repeat("A", 43), admin.ExitNoPerm, admin.ExitNoPerm},
		"very long":    {strings.Repeat("A", 10_000), admin.ExitNoPerm, admin.ExitNoPerm},
		"may read":     {s.read, 0, admin.ExitNoPerm},
		"may operate":  {s.operate, 0, 0},
		"almost right": {s.operate[:len(s.operate)-1], admin.ExitNoPerm, admin.ExitNoPerm},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := s.net(t, row.token)
			res, err := call(t, c, nil, "director status", nil)
			if exit(err) != row.look {
				t.Errorf("status: %v", err)
			}
			if st, ok := res.(*admin.DirectorStatusResult); err == nil && (!ok || len(st.Backends) != 2) {
				t.Errorf("status: %+v", res)
			}
			if _, err := call(t, c, nil, "director update", map[string]string{"host": "be1", "weight": "100"}); exit(err) != row.act {
				t.Errorf("update: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		log := s.log.String()
		for _, want := range []string{`by="token oncall"`, `by="token monitor"`, "administrator's call refused"} {
			if !strings.Contains(log, want) {
				t.Errorf("the log lacks %s", want)
			}
		}
		for _, secret := range []string{s.read, s.operate} {
			if strings.Contains(log, secret) {
				t.Error("a token is in the log")
			}
		}
	})
}

// TestTLS: a token is never shown to a server that is not the one.
func TestTLS(t *testing.T) {
	s := serve(t)
	other := tlstest.New(t).Client("localhost")
	c, err := adminhttp.Net(s.url, s.operate, other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := call(t, c, nil, "who", nil); exit(err) != admin.ExitTemporary || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", err)
	}
	for _, url := range []string{"http://director.example.org:9443", "ftp://localhost", "localhost:9443", "https://", "http://192.0.2.1:1"} {
		if _, err := adminhttp.Net(url, s.operate, s.client); err == nil {
			t.Errorf("%s is taken", url)
		}
	}
	resp, err := http.Get("http://" + s.addr + "/v1/operations")
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Error("plain HTTP is served")
		}
	}
}

// TestSocket: it is its owner's alone, and taken over only from the dead.
func TestSocket(t *testing.T) {
	s := serve(t)
	info, err := os.Stat(s.socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	c := adminhttp.Unix(s.socket)
	if _, err := call(t, c, nil, "director update", map[string]string{"host": "be1", "weight": "100"}); err != nil {
		t.Error(err)
	}
	if log := s.log.String(); !strings.Contains(log, `by="uid `) || !strings.Contains(log, fmt.Sprintf(`from="socket, pid %d"`, os.Getpid())) {
		t.Error(log)
	}
	if _, err := adminhttp.Socket(s.socket); err == nil || !strings.Contains(err.Error(), "is served by another process") {
		t.Errorf("a socket that is served: %v", err)
	}
	dir := t.TempDir()
	file, stale := filepath.Join(dir, "file"), filepath.Join(dir, "stale")
	if err := os.WriteFile(file, []byte("mail"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := adminhttp.Socket(file); err == nil {
		t.Error("a file was replaced")
	}
	ln, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	again, err := adminhttp.Socket(stale)
	if err != nil {
		t.Fatalf("a socket that a dead process left: %v", err)
	}
	again.Close()
}

// TestProgress: what takes time tells so, and goes on when the caller has gone.
func TestProgress(t *testing.T) {
	s := serve(t)
	c := adminhttp.Unix(s.socket)
	steps := 0
	res, err := call(t, c, func(p admin.Progress) {
		if steps++; p.Units == 0 || p.Doing == "" {
			t.Errorf("%+v", p)
		}
		s.cluster.Settle(1 << 20)
	}, "director drain", map[string]string{"host": "be1"})
	if changed, ok := res.(*admin.BackendChanged); err != nil || !ok || !changed.Done || steps == 0 {
		t.Errorf("%+v, %v after %d steps", res, err, steps)
	}
	_, err = call(t, c, nil, "director up", map[string]string{"host": "be1", "timeout": "300ms"})
	if exit(err) != admin.ExitTemporary || !strings.Contains(err.Error(), "It goes on") {
		t.Error(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	op, _ := admin.Find("director down")
	_, err = c.Call(ctx, op, admin.Args{"host": "be2", "timeout": "1h"}, func(admin.Progress) { leave() })
	if exit(err) != admin.ExitTemporary {
		t.Error(err)
	}
	list, err := s.cluster.Shared.Backends(t.Context())
	if err != nil || list[1].State != cluster.Down {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestHostile: nothing that a caller sends takes memory, time or the server.
func TestHostile(t *testing.T) {
	s := serve(t)
	dial := func() (net.Conn, *bufio.Reader) {
		conn, err := net.Dial("unix", s.socket)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		return conn, bufio.NewReader(conn)
	}
	head := func(method, path string, more string) string {
		return method + " " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + more + "\r\n"
	}
	body := func(text string) string {
		return head("POST", "/v1/director/status", fmt.Sprintf("Content-Length: %d\r\n", len(text))) + text
	}
	for name, row := range map[string]struct {
		send string
		want int
	}{
		"no operation":       {head("POST", "/v1/director/explode", ""), 404},
		"a group":            {head("POST", "/v1/director", ""), 404},
		"dots":               {head("POST", "/v1/../v1/director/explode/../../etc", ""), 307},
		"other method":       {head("GET", "/v1/director/drain", ""), 405},
		"no path":            {head("POST", "/", ""), 404},
		"no JSON":            {body("host=be1"), 400},
		"an array":           {body("[1]"), 400},
		"deep":               {body(strings.Repeat("[", 100_000)), 400},
		"deep inside":        {body(`{"user":` + strings.Repeat(`{"a":`, 50_000)), 400},
		"unknown":            {body(`{"nobody": 1}`), 400},
		"a line in a name":   {body(`{"user": "a\r\nX: y"}`), 400},
		"long":               {head("POST", "/v1/who", fmt.Sprintf("Content-Length: %d\r\n", 1<<40)) + strings.Repeat(" ", adminhttp.MaxBody+1), 400},
		"long, in chunks":    {head("POST", "/v1/who", "Transfer-Encoding: chunked\r\n") + "FFFFFF\r\n" + strings.Repeat(" ", adminhttp.MaxBody+1), 400},
		"long head":          {"GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n", 431},
		"no HTTP":            {"A LOGIN alice secret\r\n\r\n", 400},
		"all is as it was":   {body(`{"user": "alice"}`), 200},
		"all, with no body":  {head("POST", "/v1/director/status", ""), 200},
		"list of operations": {head("GET", "/v1/operations", ""), 200},
	} {
		t.Run(name, func(t *testing.T) {
			conn, in := dial()
			defer conn.Close()
			go func() { _, _ = io.WriteString(conn, row.send) }() // it may be refused before all is sent
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
			if resp.StatusCode != row.want {
				t.Errorf("status %d: %.200s", resp.StatusCode, text)
			}
		})
	}
	var table []struct{ Name, Path string }
	conn, in := dial()
	defer conn.Close()
	_, _ = io.WriteString(conn, head("GET", "/v1/operations", ""))
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&table); err != nil || len(table) != len(admin.Operations()) {
		t.Errorf("%v, %v", table, err)
	}
}

// TestManyConnections: those beyond the limit wait, and are served when others go.
func TestManyConnections(t *testing.T) {
	s := serve(t)
	var conns []net.Conn
	for range 300 {
		conn, err := net.Dial("unix", s.socket)
		if err != nil {
			break // the queue is full
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		conn.Close()
	}
	if _, err := call(t, adminhttp.Unix(s.socket), nil, "who", nil); err != nil {
		t.Error(err)
	}
}

// TestHostileServer: what a server answers is bounded and understood, or an error.
func TestHostileServer(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing":          "",
		"no HTTP":          "* OK IMAP4rev1\r\n",
		"no JSON":          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\nhello",
		"other JSON":       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[1]",
		"an error page":    "HTTP/1.1 502 Bad Gateway\r\n\r\n<html>",
		"no error":         "HTTP/1.1 500 x\r\n\r\n{}",
		"elsewhere":        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
		"no end":           "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n{\"progress\":{\"doing\":\"x\"}}\n",
		"line without end": "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n{\"progress\":" + strings.Repeat(" ", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = http.ReadRequest(bufio.NewReader(conn))
				_, _ = io.WriteString(conn, answer)
			}()
			c, err := adminhttp.Net("http://"+ln.Addr().String(), "token", nil)
			if err != nil {
				t.Fatal(err)
			}
			if res, err := call(t, c, nil, "director drain", map[string]string{"host": "be1"}); exit(err) != admin.ExitTemporary {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
}

// TestOthers: one node asks another over TLS, by its token.
func TestOthers(t *testing.T) {
	s := serve(t)
	s.sessions.Add(admin.Session{ID: "1", User: "alice", Proto: "imap", Remote: netip.MustParseAddrPort("192.0.2.1:1")})
	op, _ := admin.Find("who")
	for name, row := range map[string]struct {
		others adminhttp.Others
		want   string
	}{
		"right":       {adminhttp.Others{Token: s.read, TLS: func(string) *tls.Config { return s.client }}, ""},
		"wrong token": {adminhttp.Others{Token: "x", TLS: func(string) *tls.Config { return s.client }}, "a valid token is needed"},
		"no TLS":      {adminhttp.Others{Token: s.read}, ""},
		"other CA":    {adminhttp.Others{Token: s.read, TLS: func(string) *tls.Config { return tlstest.New(t).Client("localhost") }}, "certificate"},
		"far, no TLS": {adminhttp.Others{Token: s.read}, "say https"},
	} {
		addr := strings.TrimPrefix(s.url, "https://")
		if name == "far, no TLS" {
			addr = "192.0.2.1:9443"
		}
		res, err := row.others.Ask(t.Context(), addr, op, nil, nil)
		switch {
		case name == "no TLS":
			if err == nil {
				t.Error("plain HTTP was answered")
			}
		case row.want == "":
			if who, ok := res.(*admin.Who); err != nil || !ok || who.Count != 1 {
				t.Errorf("%s: %+v, %v", name, res, err)
			}
		case err == nil || !strings.Contains(err.Error(), row.want):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestErrors: every code has a status and an exit code, and causes stay in the log.
func TestErrors(t *testing.T) {
	s := serve(t)
	s.admin.Reload = func(context.Context) (*admin.Reloaded, error) {
		return nil, fmt.Errorf("password of the database is %s", "hunter2")
	}
	_, err := call(t, adminhttp.Unix(s.socket), nil, "reload", nil)
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(s.log.String(), "hunter2") {
		t.Errorf("%v; log %s", err, s.log.String())
	}
	for name, row := range map[string]struct {
		given map[string]string
		code  imap.Code
		exit  int
	}{
		"director update":   {map[string]string{"host": "be9", "weight": "1"}, imap.CodeNonExistent, admin.ExitNotFound},
		"director remove":   {map[string]string{"host": "be1"}, imap.CodeInUse, admin.ExitTemporary},
		"director ring add": {map[string]string{"address": "d2"}, imap.CodeCannot, admin.ExitFailed},
	} {
		_, err := call(t, adminhttp.Unix(s.socket), nil, name, row.given)
		told, ok := err.(*adminhttp.Error)
		if !ok || told.Code != string(row.code) || told.Exit != row.exit {
			t.Errorf("%s: %+v", name, err)
		}
	}
}

func TestParseTokens(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	for text, want := range map[string]string{
		"":                                  "",
		"# comment\n\n a " + hash + " read": "",
		"a " + hash + " operate\n":          "",
		"a " + hash:                         "NAME SHA256",
		"a " + hash + " admin":              "neither read nor operate",
		"a abcd read":                       "is not 32 bytes",
		"a " + strings.Repeat("zz", 32) + " read": "is not 32 bytes",
		strings.Repeat("x", 1000):                 "too long",
		strings.Repeat("a "+hash+" read\n", 1001): "more than 1000",
	} {
		_, err := adminhttp.ParseTokens(strings.NewReader(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func FuzzParseTokens(f *testing.F) {
	f.Add("a " + strings.Repeat("ab", 32) + " read\n#\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = adminhttp.ParseTokens(strings.NewReader(text))
	})
}

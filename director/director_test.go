package director

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/sasl"
)

// backend plays an IMAP server: lines that begin with C: are what it waits for,
// without tags, the others what it says; * stands for anything in a C: line.
func backend(t *testing.T, script string) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r, tag := bufio.NewReader(conn), ""
		for line := range strings.Lines(script) {
			line = strings.TrimSpace(line)
			want, isClient := strings.CutPrefix(line, "C: ")
			switch {
			case line == "":
			case line == "CLOSE":
				return
			case line == "HANG":
				_, _ = io.Copy(io.Discard, r)
			case !isClient:
				_, _ = io.WriteString(conn, strings.ReplaceAll(line, "TAG", tag)+"\r\n")
			default:
				got, err := r.ReadString('\n')
				if err != nil {
					t.Errorf("backend waits for %q: %v", want, err)
					return
				}
				var rest string
				tag, rest, _ = strings.Cut(strings.TrimSpace(got), " ")
				if prefix, _, _ := strings.Cut(want, "*"); !strings.HasPrefix(rest, prefix) {
					t.Errorf("backend got %q, expected %q", rest, want)
					return
				}
			}
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	return netip.MustParseAddrPort(ln.Addr().String())
}

// fixed sends everybody to one backend.
type fixed struct{ addr netip.AddrPort }

func (f fixed) Locate(context.Context, cluster.Query) (cluster.Backend, error) {
	return cluster.Backend{Name: "b", IP: f.addr.Addr(), Port: f.addr.Port()}, nil
}

func connect(t *testing.T, addr netip.AddrPort, r Route, timeout time.Duration) (imapserver.Proxy, error) {
	t.Helper()
	d := New(Config{Locator: fixed{addr}, Log: slog.New(slog.DiscardHandler), Timeout: timeout})
	return d.Connect(t.Context(), someClient(), r)
}

const greeting = "* OK [CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN] ready\n"

func TestLoginAtTheBackend(t *testing.T) {
	addr := backend(t, greeting+`
C: ID (*
* ID NIL
TAG OK done
C: AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==
TAG OK [CAPABILITY IMAP4rev1 IDLE RIGHTS=texk] welcome to the machine room
`)
	p, err := connect(t, addr, Route{User: "alice", AuthID: "alice", Password: "secret"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	capabilities, text := p.OK()
	if !slices.Equal(capabilities, []string{"IMAP4rev1", "IDLE", "RIGHTS=texk"}) || text != "Logged in" {
		t.Errorf("OK %q %q", capabilities, text)
	}
}

func TestMasterLoginNamesTheOwner(t *testing.T) {
	addr := backend(t, greeting+`
C: ID (*
TAG OK done
C: AUTHENTICATE PLAIN YWxpY2UAYm9iAHNlY3JldA==
TAG OK [CAPABILITY IMAP4rev1] in
`)
	if _, err := connect(t, addr, Route{User: "alice", AuthID: "bob", Password: "secret"}, time.Minute); err != nil {
		t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	login := greeting + "C: ID (*\nTAG OK done\nC: AUTHENTICATE PLAIN *\n"
	for _, row := range []struct {
		name, script string
		want         imap.Code
	}{
		{"wrong password", login + "TAG NO [AUTHENTICATIONFAILED] backend b17 says no\n", imap.CodeAuthenticationFailed},
		{"limit", login + "TAG NO [LIMIT] too many\n", imap.CodeLimit},
		{"unavailable", login + "TAG NO [UNAVAILABLE] storage on b17\n", imap.CodeUnavailable},
		{"no code", login + "TAG NO go away\n", imap.CodeUnavailable},
		{"bad", login + "TAG BAD what\n", imap.CodeUnavailable},
		{"bye", login + "* BYE\nCLOSE\n", imap.CodeUnavailable},
		{"garbage", "HTTP/1.1 400 Bad Request\n", imap.CodeUnavailable},
		{"full", "* BYE [UNAVAILABLE] full\n", imap.CodeUnavailable},
		{"silence", "HANG\n", imap.CodeUnavailable},
		{"silence later", greeting + "HANG\n", imap.CodeUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			timeout := time.Minute
			if strings.HasPrefix(row.name, "silence") {
				timeout = 50 * time.Millisecond
			}
			_, err := connect(t, backend(t, row.script), Route{User: "alice", AuthID: "alice", Password: "secret"}, timeout)
			e, ok := errors.AsType[*imap.Error](err)
			if !ok || e.Code != row.want {
				t.Fatalf("%v, want %s", err, row.want)
			}
			if strings.Contains(e.Text, "b17") || e.Err == nil {
				t.Errorf("text %q, cause %v", e.Text, e.Err)
			}
		})
	}
}

// TestDelegationIsHandedOn: another node's word arrives as it is; what the backend says of it
// is the asker's, if it is a word for the wire.
func TestDelegationIsHandedOn(t *testing.T) {
	d := &sasl.Delegation{Owner: "alice", Acting: "bob", Asker: "be1", Issued: time.UnixMilli(1), Expires: time.UnixMilli(2)}
	word := base64.StdEncoding.EncodeToString(d.Encode())
	offers := strings.Replace(greeting, "AUTH=PLAIN", "AUTH="+sasl.DelegationName, 1)
	login := offers + "C: ID (*\nTAG OK done\nC: AUTHENTICATE " + sasl.DelegationName + " " + word + "\n"
	for script, want := range map[string]imap.Code{
		login + "TAG OK [CAPABILITY IMAP4rev1] in\n":       "",
		login + "TAG NO [X-ROOST-AUDIENCE be2/XY] no\n":    "X-ROOST-AUDIENCE be2/XY",
		login + "TAG NO [X-ROOST-AUDIENCE two words] no\n": "X-ROOST-AUDIENCE -",
		login + "TAG NO [X-ROOST-AUDIENCE] no\n":           "X-ROOST-AUDIENCE -",
		login + "TAG NO [AUTHENTICATIONFAILED] no\n":       imap.CodeAuthenticationFailed,
		login + "TAG NO [CANNOT] no\n":                     imap.CodeUnavailable,
		greeting:                                           imap.CodeCannot,
	} {
		_, err := connect(t, backend(t, script), Route{User: "alice", AuthID: "bob", Delegation: d}, time.Minute)
		if imap.CodeOf(err) != want {
			t.Errorf("%s\n%v, want %q", script, err, want)
		}
	}
}

func TestDeadBackend(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(ln.Addr().String())
	ln.Close()
	if _, err := connect(t, addr, Route{User: "alice", AuthID: "alice"}, time.Minute); imap.CodeOf(err) != imap.CodeUnavailable {
		t.Error(err)
	}
}

// TestRunDeliversWhatWasReadEarly: what client and backend sent before the
// connections were joined is not lost.
func TestRunDeliversWhatWasReadEarly(t *testing.T) {
	addr := backend(t, greeting+`
C: ID (*
TAG OK done
C: AUTHENTICATE PLAIN *
TAG OK [CAPABILITY IMAP4rev1] in
C: NOOP
* 1 EXISTS
TAG OK noop
C: LOGOUT
* BYE
TAG OK bye
`)
	p, err := connect(t, addr, Route{User: "alice", AuthID: "alice", Password: "secret"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	client, front := tcpPair(t)
	done := make(chan imapserver.Result, 1)
	p.Run(t.Context(), front, []byte("a NOOP\r\n"), func(r imapserver.Result) { done <- r })
	if _, err := io.WriteString(client, "b LOGOUT\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(client)
	for _, want := range []string{"* 1 EXISTS", "a OK", "* BYE", "b OK"} {
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, want) {
			t.Fatalf("%q, %v; want %q", line, err, want)
		}
	}
	client.Close()
	if res := <-done; res.BytesIn != 18 || res.BytesOut != 40 {
		t.Errorf("%+v", res)
	}
}

func TestProxyingToItselfIsFoundOut(t *testing.T) {
	self := netip.MustParseAddrPort("127.0.0.1:1143")
	d := New(Config{Locator: fixed{self}, Log: slog.New(slog.DiscardHandler)})
	_, err := d.Connect(t.Context(), &imapserver.Client{Local: self}, Route{User: "alice", AuthID: "alice"})
	if imap.CodeOf(err) != imap.CodeUnavailable || !strings.Contains(err.Error(), "loops to itself") {
		t.Error(err)
	}
}

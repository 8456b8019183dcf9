package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	proxyproto "github.com/pires/go-proxyproto"

	"github.com/roost-mail/roost/porttest"
	"github.com/roost-mail/roost/tlsconn/tlstest"
)

// carried is a client behind a proxy that sends a PROXY header.
func carried(t *testing.T, addr, header string) *imapConn {
	t.Helper()
	c := tryCarried(t, addr, header)
	if greeting := c.readLine(); !strings.HasPrefix(greeting, "* OK") {
		t.Fatalf("greeting %q", greeting)
	}
	return c
}

func tryCarried(t *testing.T, addr, header string) *imapConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &imapConn{t: t, conn: conn, r: bufio.NewReader(conn), where: func() string { return addr }}
	c.send(header)
	return c
}

func headerV1(from string) string { return "PROXY TCP4 " + from + " 192.0.2.1 4000 143\r\n" }

// headerV2 is of a client whose connection to the proxy is encrypted.
func headerV2(t *testing.T, from string) string {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(2, &net.TCPAddr{IP: net.ParseIP(from), Port: 4000}, &net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 993})
	if err := h.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_SSL, Value: []byte{1, 0, 0, 0, 0}}}); err != nil {
		t.Fatal(err)
	}
	text, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// carriedRig is a cluster whose director has a listener for proxies on this machine.
func carriedRig(t *testing.T, settings string) (r *rig, addr string) {
	r = startRigWith(t, "rig", func(r *rig) {
		port := r.tlsPort(t)
		for _, be := range []string{"be1", "be2"} {
			r.tls[be].Close()
			delete(r.tls, be)
			change(t, r.files[be], "mail_max_userip_connections = 100", "mail_max_userip_connections = 1")
		}
		appendTo(t, r.files["director"], fmt.Sprintf("haproxy_trusted_networks = 127.0.0.0/8\n%s"+
			"service imap-login {\n inet_listener carried {\n  port = %d\n  haproxy = yes\n }\n}\n", settings, port))
		addr = net.JoinHostPort(rigAddrs["director"], strconv.Itoa(port))
	})
	return r, addr
}

// change replaces text in a file.
func change(t testing.TB, file, old, new string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s: no %q", file, old)
	}
	writeFile(t, file, strings.ReplaceAll(string(text), old, new))
}

func writeFile(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPROXYHeader: it is the client that the header names whom passwords in the
// clear, networks and limits are about, here and at the backend; never the proxy.
func TestPROXYHeader(t *testing.T) {
	r, addr := carriedRig(t, "disable_plaintext_auth = yes\n")
	users := filepath.Join(r.root, "etc/users.director")
	change(t, users, "someone2:{PLAIN}pass::::::", "someone2:{PLAIN}pass::::::allow_real_nets=127.0.0.0/8 ")
	change(t, users, "someone3:{PLAIN}pass::::::", "someone3:{PLAIN}pass::::::allow_nets=192.0.2.0/24 ")
	login := func(header, user, want string) *imapConn {
		t.Helper()
		c := carried(t, addr, header)
		c.command("LOGIN " + user + " pass")
		c.expect(want)
		return c
	}
	login(headerV1("192.0.2.7"), "someone1", "NO [PRIVACYREQUIRED]")
	login(headerV1("127.0.0.1"), "someone1", "NO [PRIVACYREQUIRED]") // somebody else's loopback
	login("PROXY UNKNOWN\r\n", "someone1", "NO [PRIVACYREQUIRED]")
	login(headerV2(t, "192.0.2.7"), "someone1", "OK")
	login(headerV2(t, "192.0.2.7"), "someone1", "NO [LIMIT]")
	login(headerV2(t, "192.0.2.8"), "someone1", "OK")
	login(headerV2(t, "192.0.2.7"), "someone2", "OK")
	login(headerV2(t, "192.0.2.7"), "someone3", "OK")
	login(headerV2(t, "198.51.100.7"), "someone3", "NO [AUTHENTICATIONFAILED]")
	seen := map[string]bool{}
	for _, node := range []string{"director", "be1", "be2"} {
		for i := range r.nodes[node].imap.Sessions() {
			if i.User != "" {
				seen[node+" "+i.User+" "+i.Remote.String()] = true
			}
		}
	}
	for _, want := range []string{
		"director someone1 192.0.2.7:4000", "be1 someone1 192.0.2.7:4000", "director someone1 192.0.2.8:4000", "be1 someone1 192.0.2.8:4000",
		"be2 someone2 192.0.2.7:4000",
	} {
		if !seen[want] {
			t.Errorf("no session %q among %v", want, seen)
		}
	}
	for _, header := range []string{"a LOGIN someone1 pass\r\n", "PROXY TCP4 192.0.2.7\r\n"} {
		if _, err := tryCarried(t, addr, header).r.ReadByte(); err == nil {
			t.Errorf("%q: taken in", header)
		}
	}
}

// TLS begins behind the header.
func TestPROXYHeaderAndTLS(t *testing.T) {
	ca := tlstest.New(t)
	r := startRigWith(t, "rig", func(r *rig) {
		secureRig(t, r, ca, "", "")
		appendTo(t, r.files["director"], "haproxy_trusted_networks = 127.0.0.1\nservice imap-login {\n inet_listener imaps {\n  haproxy = yes\n }\n}\n")
	})
	c := tryCarried(t, net.JoinHostPort(rigAddrs["director"], strconv.Itoa(r.tlsAt)), headerV1("192.0.2.7"))
	secured := tls.Client(c.conn, ca.Client(rigAddrs["director"]))
	c.conn, c.r = secured, bufio.NewReader(secured)
	if greeting := c.readLine(); !strings.HasPrefix(greeting, "* OK") {
		t.Fatalf("greeting %q", greeting)
	}
	c.command("LOGIN someone1 pass")
	c.expect("OK")
	for i := range r.nodes["be1"].imap.Sessions() {
		if i.Remote.String() != "192.0.2.7:4000" {
			t.Errorf("%+v", i)
		}
	}
}

// TestHAProxyInFront: the real one, with headers of both versions.
func TestHAProxyInFront(t *testing.T) {
	needTool(t, "haproxy")
	r, addr := carriedRig(t, "")
	for _, option := range []string{"send-proxy", "send-proxy-v2", "send-proxy-v2-ssl"} {
		t.Run(option, func(t *testing.T) {
			front := startHAProxy(t, addr+" "+option)
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.77")}}
			conn, err := d.Dial("tcp", front)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			c := &imapConn{t: t, conn: conn, r: bufio.NewReader(conn), where: func() string { return option }}
			c.readLine()
			c.command("LOGIN someone1 pass")
			c.expect("OK")
			found := 0
			for i := range r.nodes["be1"].imap.Sessions() {
				if i.User == "someone1" && i.Remote == conn.LocalAddr().(*net.TCPAddr).AddrPort() {
					found++
				}
			}
			if found != 1 {
				t.Errorf("%d sessions of the client's address at the backend", found)
			}
			c.command("LOGOUT")
			c.expect("OK")
		})
	}
}

// startHAProxy runs HAProxy in TCP mode in front of a server, given as in its own
// configuration, and returns where it listens.
func startHAProxy(t *testing.T, server string) string {
	t.Helper()
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(porttest.Free(t, "127.0.0.1")))
	runHAProxy(t, addr, "defaults\n mode tcp\n timeout connect 10s\n timeout client 10m\n timeout server 10m\n"+
		"listen imap\n bind "+addr+"\n server backend "+server+"\n")
	return addr
}

// runHAProxy runs HAProxy with a configuration until the test ends. It returns its
// process when it listens at addr.
func runHAProxy(t *testing.T, addr, config string) *os.Process {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(conf, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "haproxy", "-db", "-f", conf)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s", said.String())
		}
	})
	awaitServer(t, addr)
	return cmd.Process
}

package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/dict/dictfile"
	"github.com/roost-mail/roost/store"
)

// The addresses of the cluster that testdata/rig configures: a director and two
// backends. someone1 and 5 to 8 live on be1, the others below 10 on be2.
var rigAddrs = map[string]string{"director": "127.0.1.1", "be1": "127.0.1.11", "be2": "127.0.1.12"}

// rigFile is a file of testdata with its placeholders filled in. Port 0 leaves
// the usual ports as they are. The one line that a Dovecot configuration needs
// changed is changed here.
func rigFile(t testing.TB, path, root, name string, port int) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := strings.NewReplacer("@ROOT@", root, "@NAME@", name, "@IP@", rigAddrs[name]).Replace(string(text))
	s = regexp.MustCompile(`(?m)^mail_location = .*$`).ReplaceAllString(s, "mail_location = roost:~/mail")
	if port == 0 {
		return s
	}
	p := strconv.Itoa(port)
	s = strings.ReplaceAll(s, "port = 143\n", "port = "+p+"\n")
	s = strings.ReplaceAll(s, "imapc_host = 127.0.1.1\n", "imapc_host = 127.0.1.1\nimapc_port = "+p+"\n")
	s = strings.ReplaceAll(s, "imapc_port = 143\n", "")
	if strings.Contains(s, "protocols = imap\n") && !strings.Contains(s, "inet_listener") {
		s += "service imap-login {\n inet_listener imap {\n  port = " + p + "\n }\n}\n"
	}
	return strings.ReplaceAll(s, "proxy=y", "proxy=y port="+p)
}

// writeRig writes a cluster's files below root and returns the configuration
// file of each node. kind is a folder of testdata with the backends' files.
func writeRig(t testing.TB, kind, root string, port int) map[string]string {
	t.Helper()
	put := func(path, text string) string {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, f := range []string{"users", "users.director"} {
		put(filepath.Join(root, "etc", f), rigFile(t, "testdata/rig/"+f, root, "", port))
	}
	if err := os.MkdirAll(filepath.Join(root, "shared-fs/acl"), 0o700); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for name := range rigAddrs {
		from := "testdata/rig/" + name + ".conf"
		if kind == "document" && name != "director" {
			from = "testdata/document/backend.conf"
		}
		files[name] = put(filepath.Join(root, name, "roost.conf"), rigFile(t, from, root, name, port))
	}
	return files
}

// rig is a cluster in this process.
type rig struct {
	root  string
	port  int
	files map[string]string
	nodes map[string]*node
	log   *slog.Logger

	veil   time.Duration              // of its nodes: in tests what is refused need not wait, but where that is tested
	adjust func(name string, n *node) // before it serves; nil: nothing

	tls   map[string]net.Listener // on tlsPort, for the first start
	tlsAt int
}

// startRig starts a cluster and, when the test is over, stops it and checks
// every account's mail.
func startRig(t testing.TB, kind string) *rig {
	t.Helper()
	return startRigWith(t, kind, func(*rig) {})
}

// startRigWith is startRig with files that prepare may change.
func startRigWith(t testing.TB, kind string, prepare func(*rig)) *rig {
	t.Helper()
	r := &rig{root: t.TempDir(), nodes: map[string]*node{}, log: slog.New(slog.DiscardHandler)}
	if os.Getenv("ROOST_TEST_LOG") != "" {
		r.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if _, measured := t.(*testing.B); measured {
		r.veil = evenTime
	}
	listeners, port := openPorts(t)
	r.port = port
	r.files = writeRig(t, kind, r.root, r.port)
	prepare(r)
	for _, name := range []string{"director", "be1", "be2"} {
		r.start(t, name, listeners[name])
		delete(r.tls, name)
	}
	t.Cleanup(func() {
		for _, name := range []string{"director", "be1", "be2"} {
			r.stop(t, name)
		}
		checkMail(t, filepath.Join(r.root, "shared-fs/home"))
	})
	return r
}

// tlsPort is the port for TLS from the first byte, which is kept for it.
func (r *rig) tlsPort(t testing.TB) int {
	t.Helper()
	if r.tlsAt == 0 {
		r.tls, r.tlsAt = openPorts(t)
	}
	return r.tlsAt
}

// openPorts listens at a port on all three addresses.
func openPorts(t testing.TB) (listeners map[string]net.Listener, port int) {
	t.Helper()
	port, listeners = freePort(t), map[string]net.Listener{}
	for name, addr := range rigAddrs {
		ln, err := net.Listen("tcp", net.JoinHostPort(addr, strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		listeners[name] = ln
	}
	return listeners, port
}

func (r *rig) start(t testing.TB, name string, ln net.Listener) {
	t.Helper()
	set, _, err := config.Load(r.files[name])
	if err != nil {
		t.Fatal(err)
	}
	n, err := newNode(context.Background(), set, r.log.With("node", name))
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]net.Listener{}
	for _, ln := range []net.Listener{ln, r.tls[name]} {
		if ln != nil {
			given[ln.Addr().String()] = ln
		}
	}
	if err := n.listen(context.Background(), given); err != nil {
		t.Fatal(err)
	}
	n.veil = r.veil
	if r.adjust != nil {
		r.adjust(name, n)
	}
	n.start(context.Background())
	r.nodes[name] = n
}

func (r *rig) stop(t testing.TB, name string) {
	t.Helper()
	n := r.nodes[name]
	if n == nil {
		return
	}
	delete(r.nodes, name)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.close(ctx); err != nil {
		t.Errorf("%s: close: %v", name, err)
	}
}

func (r *rig) address() string {
	return net.JoinHostPort(rigAddrs["director"], strconv.Itoa(r.port))
}

// login is a session of a user.
func (r *rig) login(t *testing.T, user string) *imapConn {
	t.Helper()
	c := dialIMAP(t, r.address())
	t.Cleanup(c.close)
	c.command("LOGIN " + user + " pass")
	c.expect("OK")
	return c
}

func (r *rig) password(login string) string {
	if strings.Contains(login, "*") {
		return "master-secret"
	}
	return "pass"
}

func (r *rig) sharedDict() string { return filepath.Join(r.root, "shared-fs/acl/shared-mailboxes") }

// do is `stop be1`, `start be1`, `index set KEY VALUE` or `index empty PREFIX`.
func (r *rig) do(t *testing.T, words []string) {
	t.Helper()
	switch words[0] {
	case "stop":
		r.stop(t, words[1])
	case "start":
		r.start(t, words[1], nil)
	case "index":
		indexDo(t, r.sharedDict(), words[1:])
	default:
		t.Fatalf("unknown line %q", words)
	}
}

func indexDo(t *testing.T, path string, words []string) {
	t.Helper()
	d, err := dictfile.Open(path, dictfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	switch words[0] {
	case "set":
		if err := d.Commit(t.Context(), []dict.Change{dict.Set(words[1], words[2])}); err != nil {
			t.Fatal(err)
		}
	case "empty":
		if _, ok, err := d.Get(t.Context(), words[1]); ok || err != nil {
			t.Errorf("index still has %s (%v)", words[1], err)
		}
	}
}

// checkMail runs the store's own check over every account below home.
func checkMail(t testing.TB, home string) {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(home, "*/mail"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		var b strings.Builder
		if err := store.Check(dir, &b); err != nil {
			t.Errorf("%s: %v\n%s", dir, err, b.String())
		}
	}
}

func TestTranscripts(t *testing.T) {
	t.Parallel()
	for _, path := range transcripts(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			runTranscript(t, startRig(t, "rig"), path)
		})
	}
}

// TestDocumentBlocks runs the same with the document's blocks as printed.
func TestDocumentBlocks(t *testing.T) {
	t.Parallel()
	for _, path := range transcripts(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			runTranscript(t, startRig(t, "document"), path)
		})
	}
}

func transcripts(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	slices.Sort(paths)
	return paths
}

// plainResponse is the base64 of @plain:authzid,authid,password@ in a transcript.
func plainResponse(s string) string {
	return regexp.MustCompile(`@plain:([^,]*),([^,]*),([^@]*)@`).ReplaceAllStringFunc(s, func(m string) string {
		f := strings.Split(strings.Trim(m, "@")[len("plain:"):], ",")
		return base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("%s\x00%s\x00%s", f[0], f[1], f[2])))
	})
}

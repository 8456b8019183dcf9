package coordetcd

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/cluster/coordetcd/etcdtest"
	"github.com/roost-mail/roost/porttest"
	"github.com/roost-mail/roost/tlsconn/tlstest"
)

const host = "127.0.0.1"

// A member that asks for certificates gets ours, and is believed only with one of the
// authority's.
func TestTLS(t *testing.T) {
	t.Parallel()
	authority := tlstest.New(t)
	pair, dir := authority.Valid(t, host), t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s := etcdtest.Start(
		t, host, "--cert-file", file("cert", pair.Cert), "--key-file", file("key", pair.Key),
		"--trusted-ca-file", file("ca", authority.PEM), "--client-cert-auth",
	)
	ask := func(config *tls.Config) error {
		c, err := New(Config{Endpoints: []string{s.Addr}, TLS: config, CallTime: 2 * time.Second})
		if err != nil {
			return err
		}
		defer c.Close()
		_, _, err = c.Range(t.Context(), "")
		return err
	}
	good := authority.Client(host)
	good.Certificates = []tls.Certificate{pair.Certificate(t)}
	if err := ask(good); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	fails(t, s.Addr+": tls: ", func() error { return ask(authority.Client(host)) })
	stranger := good.Clone()
	stranger.RootCAs = tlstest.New(t).Pool()
	fails(t, "certificate signed by unknown authority", func() error { return ask(stranger) })
}

// fails has a call fail again and again until its error says why, which takes a machine that
// is not too busy.
func fails(t *testing.T, why string, call func() error) {
	t.Helper()
	for until := time.Now().Add(time.Minute); ; {
		err := call()
		switch {
		case err == nil:
			t.Fatalf("no error, want %s", why)
		case strings.Contains(err.Error(), why):
			return
		case time.Now().After(until):
			t.Fatalf("%v, want %s", err, why)
		}
	}
}

// TestUnreached: who can't be reached is named, and why.
func TestUnreached(t *testing.T) {
	at := net.JoinHostPort(host, strconv.Itoa(porttest.Free(t, host)))
	c, err := New(Config{Endpoints: []string{at}, CallTime: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fails(t, at+": connect: connection refused", func() error {
		_, _, err := c.Range(t.Context(), "")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		return err
	})
}

// With passwords, a node needs only the rights to what is below its prefix.
func TestPassword(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t, host)
	c, ctx := connect(t, s, "/roost/"), t.Context()
	a := c.client.Load()
	for _, do := range []func() error{
		func() error { _, err := a.UserAdd(ctx, "root", "r"); return err },
		func() error { _, err := a.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := a.UserAdd(ctx, "roost", "secret"); return err },
		func() error { _, err := a.RoleAdd(ctx, "mail"); return err },
		func() error {
			_, err := a.RoleGrantPermission(ctx, "mail", "/roost/", clientv3.GetPrefixRangeEnd("/roost/"), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := a.UserGrantRole(ctx, "roost", "mail"); return err },
		func() error { _, err := a.AuthEnable(ctx); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := c.Range(ctx, ""); err == nil {
		t.Error("answered without a password")
	}
	wrong, err := New(Config{Endpoints: []string{s.Addr}, Prefix: "/roost/", User: "roost", Password: "no", CallTime: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	if _, _, err := wrong.Range(ctx, ""); err == nil {
		t.Error("answered with a wrong password")
	}
	node, err := New(Config{Endpoints: []string{s.Addr}, Prefix: "/roost/", User: "roost", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	id, _, err := node.Grant(ctx, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	rev, ok, err := node.Commit(ctx, cluster.Txn{Then: []cluster.Op{{Key: "k", Lease: id}}})
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, err := node.KeepAlive(ctx, id); err != nil {
		t.Errorf("keepalive: %v", err)
	}
	watching, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	seen := false
	err = node.Watch(watching, "", rev-1, func([]cluster.Event, cluster.Revision) { seen = true; stop() })
	if !seen {
		t.Errorf("watch: %v", err)
	}
	if err := node.Revoke(ctx, id); err != nil {
		t.Errorf("revoke: %v", err)
	}
}

// Etcd need not be there yet; each call says so.
func TestAway(t *testing.T) {
	for _, user := range []string{"", "roost"} {
		c, err := New(Config{Endpoints: []string{"127.0.0.1:1"}, User: user, Password: "x", CallTime: 300 * time.Millisecond})
		if err != nil {
			t.Fatalf("user %q: %v", user, err)
		}
		if _, _, err := c.Range(t.Context(), ""); err == nil {
			t.Error("nobody answered well")
		}
		_ = c.Close()
	}
}

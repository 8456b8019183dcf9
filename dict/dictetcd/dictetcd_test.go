package dictetcd

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/roost-mail/roost/cluster/coordetcd/etcdtest"
	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/dict/dicttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is an etcd as dicttest takes it away.
type server struct{ *etcdtest.Server }

func (s server) Kill(t testing.TB) {
	if err := s.Server.Kill(); err != nil {
		t.Error(err)
	}
}

func (s server) Start(t testing.TB) {
	if err := s.Server.Start(); err != nil {
		t.Fatal(err)
	}
}

func TestEtcd(t *testing.T) {
	s := server{etcdtest.Start(t, "127.0.0.1")}
	n := 0
	t.Run("conformance", func(t *testing.T) {
		dicttest.Test(t, func(*testing.T) func() dict.Dict {
			n++
			cfg := Config{Endpoints: []string{s.Addr}, Prefix: fmt.Sprintf("/test/%d/", n)}
			return func() dict.Dict { return Open(cfg) }
		})
	})
	t.Run("compaction", func(t *testing.T) { testCompaction(t, s) })
	t.Run("faults", func(t *testing.T) {
		dicttest.TestFaults(t, dicttest.Remote{Server: s, Addr: s.Addr, Open: func(_ *testing.T, addr string, timeout time.Duration) dict.Dict {
			return Open(Config{Endpoints: []string{addr}, Prefix: "/faults/", Timeout: timeout})
		}})
	})
	t.Run("login", func(t *testing.T) { testLogin(t, s) })
}

// A mirror whose watch breaks, and starts again when what happened meanwhile was
// compacted away, shows it nevertheless.
func testCompaction(t *testing.T, s server) {
	cfg := Config{Endpoints: []string{s.Addr}, Prefix: "/compaction/"}
	d := Open(cfg)
	defer d.Close() //nolint:errcheck // nothing is lost
	m := dict.NewMirror(d, dict.MirrorOptions{Every: 20 * time.Millisecond})
	defer m.Close()
	if _, _, err := m.Get(t.Context(), "shared/a"); err != nil {
		t.Fatal(err)
	}
	s.Kill(t)
	s.Start(t)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Addr}, DialTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // nothing is lost
	var last int64
	for i := range 5 {
		res, err := c.Put(t.Context(), "/compaction/shared/a", fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		last = res.Header.Revision
	}
	if _, err := c.Compact(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		changed := m.Changed()
		v, _, err := m.Get(ctx, "shared/a")
		if err == nil && v == "4" {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("the mirror has %q, %v", v, err)
		}
	}
}

func testLogin(t *testing.T, s server) {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Addr}, DialTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // nothing is lost
	ctx := t.Context()
	for _, f := range []func() error{
		func() error { _, err := c.UserAdd(ctx, "root", "sesame"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.AuthEnable(ctx); return err },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		user, password string
		ok             bool
	}{{"root", "sesame", true}, {"root", "a secret nobody shall see", false}, {"", "", false}} {
		d := Open(Config{Endpoints: []string{s.Addr}, Prefix: "/login/", User: row.user, Password: row.password, Timeout: 5 * time.Second})
		err := d.Commit(ctx, []dict.Change{dict.Set("shared/a", "1")})
		if (err == nil) != row.ok || err != nil && (!strings.Contains(err.Error(), s.Addr) || strings.Contains(err.Error(), "nobody shall see")) {
			t.Errorf("%q: %v", row.user, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

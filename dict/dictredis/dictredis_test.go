package dictredis

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/dict/dicttest"
	"github.com/roost-mail/roost/dict/servertest"
)

func config(s *servertest.Server) Config {
	return Config{Host: s.Host, Port: s.Port, Password: s.Password, Prefix: "test[*]/"}
}

func TestRedis(t *testing.T) {
	s := servertest.Redis(t)
	n := 0
	t.Run("conformance", func(t *testing.T) {
		dicttest.Test(t, func(*testing.T) func() dict.Dict {
			cfg := config(s)
			n++
			cfg.Prefix += fmt.Sprintf("%d/", n)
			return func() dict.Dict { return Open(cfg) }
		})
	})
	t.Run("login", func(t *testing.T) { testLogin(t, s) })
	t.Run("databases and prefixes", func(t *testing.T) { testApart(t, s) })
	t.Run("Dovecot", func(t *testing.T) { testDovecot(t) })
	t.Run("faults", func(t *testing.T) {
		dicttest.TestFaults(t, dicttest.Remote{Server: s, Addr: s.Addr, Open: func(t *testing.T, addr string, timeout time.Duration) dict.Dict {
			cfg, err := ParseURI("redis:host=" + strings.Replace(addr, ":", ":port=", 1) + ":prefix=faults/:password=" + s.Password)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Timeout = timeout
			return Open(cfg)
		}})
	})
}

func testLogin(t *testing.T, s *servertest.Server) {
	for _, password := range []string{"", "a secret nobody shall see"} {
		cfg := config(s)
		cfg.Password = password
		d := Open(cfg)
		defer d.Close() //nolint:errcheck // nothing is lost
		_, _, err := d.Get(t.Context(), "shared/a")
		if err == nil || !strings.Contains(err.Error(), s.Addr) || password != "" && strings.Contains(err.Error(), password) {
			t.Errorf("password %q: %v", password, err)
		}
	}
	cfg := config(s)
	cfg.User = "default"
	d := Open(cfg)
	defer d.Close() //nolint:errcheck // nothing is lost
	if _, _, err := d.Get(t.Context(), "shared/a"); err != nil {
		t.Error(err)
	}
}

// Dictionaries of other prefixes and databases are not seen.
func testApart(t *testing.T, s *servertest.Server) {
	one := config(s)
	other, longer := one, one
	other.DB, longer.Prefix = 3, one.Prefix+"x"
	for i, cfg := range []Config{one, other, longer} {
		d := Open(cfg)
		defer d.Close() //nolint:errcheck // nothing is lost
		if err := d.Commit(t.Context(), []dict.Change{dict.Set("shared/apart/a", fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	for i, cfg := range []Config{one, other, longer} {
		d := Open(cfg)
		defer d.Close() //nolint:errcheck // nothing is lost
		got := ""
		err := d.Iterate(t.Context(), "shared/apart/", func(key, value string) error { got += key + value; return nil })
		if want := "shared/apart/a" + fmt.Sprint(i); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}

func TestParseURI(t *testing.T) {
	for uri, want := range map[string]string{
		"redis:":                              "redis at 127.0.0.1:6379, db 0, prefix \"\"",
		"redis:host=192.0.2.1:port=1:prefix=": "redis at 192.0.2.1:1, db 0, prefix \"\"",
		"redis:host=[2001:db8::1]:prefix=a/:db=2:timeout_msecs=500": "redis at [2001:db8::1]:6379, db 2, prefix \"a/\"",
		"redis:path=/run/redis.sock:password=x":                     "redis at /run/redis.sock, db 0, prefix \"\"",
	} {
		c, err := ParseURI(uri)
		if err != nil || c.name() != want {
			t.Errorf("%s: %q, %v; want %q", uri, c.name(), err, want)
		}
	}
	for _, uri := range []string{"file:/x", "redis:port=0", "redis:port=x", "redis:hots=a", "redis:db=-1", "redis:expire_secs=1", "redis:timeout_msecs=0"} {
		if c, err := ParseURI(uri); err == nil {
			t.Errorf("%s: %+v", uri, c)
		}
	}
}

// What a server answers is bounded as a whole, however small its pieces are.
func TestRepliesAreBounded(t *testing.T) {
	for _, pieces := range []string{
		strings.Repeat("*0\r\n", 1000), strings.Repeat("$0\r\n\r\n", 1000), strings.Repeat("+"+strings.Repeat("x", 95)+"\r\n", 1000),
	} {
		budget := 50_000
		if _, err := readReply(bufio.NewReader(strings.NewReader("*1000\r\n"+pieces)), 0, &budget); err == nil {
			t.Errorf("%.40q … was read", pieces)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, s := range []string{"+OK\r\n", "-ERR x\r\n", ":1\r\n", "$-1\r\n", "$3\r\na\r\n\r\n", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n", "*-1\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "$1000000000\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		budget := 1 << 16
		r, err := readReply(bufio.NewReader(strings.NewReader(s)), 0, &budget)
		if err == nil && len(r.text) > len(s) {
			t.Fatalf("%q became %q", s, r.text)
		}
		parseNews(s)
	})
}

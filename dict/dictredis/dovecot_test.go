package dictredis

import (
	"fmt"
	"testing"

	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/dict/dicttest"
	"github.com/roost-mail/roost/dict/servertest"
)

// testDovecot has doveadm, which can't log in, read keys. That of 2.3 crashes when
// it writes.
func testDovecot(t *testing.T) {
	s := servertest.RedisOpen(t)
	peer := dicttest.NewDoveadm(t, fmt.Sprintf("redis:host=%s:port=%d:prefix=site/", s.Host, s.Port))
	peer.OnlyReads = true
	d := Open(Config{Host: s.Host, Port: s.Port, Prefix: "site/"})
	defer d.Close() //nolint:errcheck // nothing is lost
	dicttest.TestDovecot(t, d, peer, []string{
		"shared/shared-boxes/user/bob/alice", "shared/a b/é", "shared/tab\there", "shared/" + dict.Escape("a/b\n%"), "shared/.",
	})
}

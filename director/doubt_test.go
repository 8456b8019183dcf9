package director

import (
	"io"
	"log/slog"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/imap"
)

// TestKnownToBeDown: a backend that checks have found silent is tried briefly, as it may be
// back. Of a cluster's own backends a lease says that they live; a foreign one has none that ends.
func TestKnownToBeDown(t *testing.T) {
	for _, row := range []struct {
		name, script string
		revision     cluster.Revision
		foreign      bool
		host         string // that is checked, if not the address
		in           bool
	}{
		{"fixed, and back", letsIn, 0, false, "", true},
		{"fixed, and it hangs still", "HANG\n", 0, false, "", false},
		{"foreign, and back", letsIn, 7, true, "", true},
		{"foreign, and it hangs still", "HANG\n", 7, true, "", false},
		{"foreign, checked by name", "HANG\n", 7, true, "dove.example.org", false},
		{"of the cluster", letsIn, 7, false, "", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			addr := backend(t, row.script)
			b := at("b1", addr, row.revision)
			b.Foreign, b.Host = row.foreign, row.host
			checked := addr.String()
			if row.host != "" {
				checked = net.JoinHostPort(row.host, strconv.Itoa(int(addr.Port())))
			}
			d := New(Config{
				Locator: &moving{answers: []cluster.Backend{b}}, Log: slog.New(slog.DiscardHandler), Timeout: time.Hour, Reconnects: 5,
				Refuses: func(addr string) (string, bool) { return "connect: timed out", addr == checked },
			})
			d.pause = time.Millisecond
			p, err := d.Connect(t.Context(), someClient(), Route{User: "alice", AuthID: "alice", Password: "secret"})
			if err == nil {
				defer func(p io.Closer) { _ = p.Close() }(p)
			}
			if row.in != (err == nil) || err != nil && imap.CodeOf(err) != imap.CodeUnavailable {
				t.Errorf("login: %v", err)
			}
		})
	}
}

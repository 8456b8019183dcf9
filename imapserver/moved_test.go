package imapserver

import (
	"context"
	"net/netip"
	"testing"
)

// Only a trusted director that sent its revision hears where a user is who is not
// held here.
func TestMoved(t *testing.T) {
	const revision = `ID ("x-roost-revision" "41")`
	for _, row := range []struct {
		name    string
		trusted bool
		id      string
		moved   Moved
		want    string
	}{
		{"a director of ours", true, revision, Moved{Revision: 42, Holder: "b2"}, "t NO [X-ROOST-MOVED 42 b2] …"},
		{"nobody has the user", true, revision, Moved{Revision: 42}, "t NO [X-ROOST-MOVED 42 -] …"},
		{"a name for which the wire is too narrow", true, revision, Moved{Revision: 42, Holder: "b 2]\r\nx"}, "t NO [X-ROOST-MOVED 42 b?2???x] …"},
		{"a stranger", false, revision, Moved{Revision: 42, Holder: "b2"}, "t NO [UNAVAILABLE] Account is temporarily unavailable."},
		{"a director without a coordinator", true, "NOOP", Moved{Revision: 42, Holder: "b2"}, "t NO [UNAVAILABLE] Account is temporarily unavailable."},
		{"no number", true, `ID ("x-roost-revision" "41x")`, Moved{Revision: 42, Holder: "b2"}, "t NO [UNAVAILABLE] Account is temporarily unavailable."},
		{"a negative number", true, `ID ("x-roost-revision" "-1")`, Moved{Revision: 42, Holder: "b2"}, "t NO [UNAVAILABLE] Account is temporarily unavailable."},
	} {
		t.Run(row.name, func(t *testing.T) {
			ts := newTestServer(t, func(c *Config) {
				c.Trusted = func(netip.Addr) bool { return row.trusted }
				c.Authenticator = authFunc(func(context.Context, *Client, Credentials) (*Login, error) { return nil, &row.moved })
			})
			c := dial(t, ts)
			_, _ = c.line()
			c.cmd(row.id)
			for _, login := range []string{"LOGIN ann secret", "AUTHENTICATE PLAIN AGFubgBzZWNyZXQ="} {
				wantLines(t, c.cmd(login), row.want)
			}
		})
	}
}

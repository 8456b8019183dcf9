package remote_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapserver"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
	"github.com/roost-mail/roost/remote"
	"github.com/roost-mail/roost/sasl"
)

// believer takes words that are meant for its name, and the password unless it is empty.
type believer struct {
	mail     *mailboxmem.Mail
	names    []string // one after the other
	offers   bool     // the mechanism
	knows    bool     // what the one behind it says of it
	password string
	asked    []string
}

func (b *believer) Login(_ context.Context, _ *imapserver.Client, cred imapserver.Credentials) (*imapserver.Login, error) {
	d := cred.Delegation
	if d == nil {
		b.asked = append(b.asked, "password")
		if b.password == "" || cred.Password != b.password {
			return nil, imap.Errorf(imap.CodeAuthenticationFailed, "No")
		}
		return &imapserver.Login{User: owner, Acting: cred.AuthID, Account: b.mail.As(cred.AuthID, true)}, nil
	}
	b.asked = append(b.asked, "for "+d.Audience)
	name := b.names[0]
	if len(b.names) > 1 {
		b.names = b.names[1:]
	}
	switch {
	case !b.knows:
		return nil, imap.Errorf(imap.CodeCannot, "No")
	case d.Audience != name:
		return nil, imap.Errorf(imap.CodeAudience+" "+imap.Code(name), "No")
	}
	return &imapserver.Login{User: d.Owner, Acting: d.Acting, Account: b.mail.As(d.Acting, true)}, nil
}

// TestDelegate: a word is given anew for whoever has the owner; a password only where no
// word is taken, and if there is one.
func TestDelegate(t *testing.T) {
	for what, row := range map[string]struct {
		believer
		password string
		want     string
		code     imap.Code
	}{
		"right at once":     {believer{names: []string{"be1"}, offers: true, knows: true}, "secret", "for be1", ""},
		"elsewhere":         {believer{names: []string{"be2"}, offers: true, knows: true}, "", "for be1, for be2", ""},
		"on the move":       {believer{names: []string{"be2", "be3"}, offers: true, knows: true}, "", "for be1, for be2, for be3", ""},
		"never":             {believer{names: []string{"be2", "be3", "be4", "be5", "be6"}, offers: true, knows: true}, "", "for be1, for be2, for be3, for be4", imap.CodeUnavailable},
		"Dovecot behind it": {believer{names: []string{"be1"}, offers: true, password: "secret"}, "secret", "for be1, password", ""},
		"no password":       {believer{names: []string{"be1"}, offers: true, password: "secret"}, "", "for be1", imap.CodeUnavailable},
		"Dovecot":           {believer{password: "secret"}, "secret", "password", ""},
		"Dovecot, and none": {believer{password: "secret"}, "", "", imap.CodeUnavailable},
	} {
		t.Run(what, func(t *testing.T) {
			b := &row.believer
			b.mail = mailboxmem.New(owner)
			mechanisms, err := sasl.Select("PLAIN")
			if b.offers {
				mechanisms = append(mechanisms, sasl.DelegationMechanism())
			}
			if err != nil {
				t.Fatal(err)
			}
			server := imapserver.New(imapserver.Config{Authenticator: b, Mechanisms: mechanisms})
			a := remote.New(remote.Config{
				Owner: owner, Acting: "bob", Password: row.password,
				Dial: func(ctx context.Context) (*imapclient.Conn, error) {
					here, there := net.Pipe()
					go server.ServeConn(context.WithoutCancel(ctx), there)
					return imapclient.New(ctx, here, imapclient.Config{Timeout: 20 * time.Second})
				},
				Delegate: func(audience string) (*sasl.Delegation, error) {
					if audience == "" {
						audience = "be1"
					}
					now := time.Now()
					return &sasl.Delegation{Owner: owner, Acting: "bob", Asker: "me", Audience: audience, Issued: now, Expires: now}, nil
				},
			})
			_, err = a.Status(t.Context(), imap.Inbox, imap.StatusMessages)
			if imap.CodeOf(err) != row.code && (err == nil) != (row.code == "") {
				t.Errorf("%v, want %q", err, row.code)
			}
			if err := errors.Join(a.Close(), server.Shutdown(t.Context())); err != nil {
				t.Error(err)
			}
			if got := strings.Join(slices.Compact(b.asked), ", "); got != row.want {
				t.Errorf("asked %q, want %q", got, row.want)
			}
		})
	}
}

package sasl

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	gosasl "github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"github.com/roost-mail/roost/imap"
)

var errWrong = errors.New("wrong proof")

// scramWorld is a server side whose one user is bob with the password "pencil".
type scramWorld struct {
	verified []Credentials
	offered  bool
}

func (w *scramWorld) server(t testing.TB, mechanism string) gosasl.Server {
	rows, err := Select(mechanism)
	if err != nil {
		t.Fatal(err)
	}
	return rows[0].NewServer(Exchange{
		Verify: func(c Credentials) error {
			w.verified = append(w.verified, c)
			if !c.Proof.OK {
				return errWrong
			}
			return nil
		},
		Keys: func(mechanism string, c Credentials) (Keys, error) {
			return DeriveKeys(mechanism, "pencil", "salt of "+c.AuthID, DefaultIterations)
		},
		Binding: func(kind string) ([]byte, error) {
			if kind == "tls-exporter" {
				return []byte("binding"), nil
			}
			return nil, errors.New("none")
		},
		BindingOffered: w.offered,
	})
}

func hashOf(mechanism string) scram.HashGeneratorFcn {
	return scram.HashGeneratorFcn(scramHash(mechanism))
}

// TestSCRAM: a client that we did not write logs in, and is refused.
func TestSCRAM(t *testing.T) {
	exporter := scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: []byte("binding")}
	for _, row := range []struct {
		name, mechanism, user, password, authzid string
		binding                                  scram.ChannelBinding
		ok                                       bool
	}{
		{"right", "SCRAM-SHA-256", "bob", "pencil", "", scram.ChannelBinding{}, true},
		{"sha-1", "scram-sha-1", "bob", "pencil", "", scram.ChannelBinding{}, true},
		{"as alice", "SCRAM-SHA-256", "bob", "pencil", "alice", scram.ChannelBinding{}, true},
		{"comma and equal sign", "SCRAM-SHA-256", "b,o=b", "pencil", "a=l,", scram.ChannelBinding{}, true},
		{"wrong password", "SCRAM-SHA-256", "bob", "pen", "", scram.ChannelBinding{}, false},
		{"bound", "SCRAM-SHA-256-PLUS", "bob", "pencil", "", exporter, true},
		{"bound, sha-1", "SCRAM-SHA-1-PLUS", "bob", "pencil", "", exporter, true},
		{"bound, wrong password", "SCRAM-SHA-256-PLUS", "bob", "pen", "", exporter, false},
		{"bound to another connection", "SCRAM-SHA-256-PLUS", "bob", "pencil", "", scram.ChannelBinding{Type: exporter.Type, Data: []byte("other")}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := &scramWorld{offered: true}
			server := w.server(t, row.mechanism)
			client, err := hashOf(row.mechanism).NewClient(row.user, row.password, row.authzid)
			if err != nil {
				t.Fatal(err)
			}
			talk := client.NewConversation()
			if row.binding.IsSupported() {
				talk = client.NewConversationWithChannelBinding(row.binding)
			}
			err = converse(server, talk)
			if row.ok != (err == nil) || row.ok != talk.Valid() {
				t.Errorf("got %v, the client says %v", err, talk.Valid())
			}
			if len(w.verified) != 1 || w.verified[0].AuthID != row.user || w.verified[0].AuthzID != row.authzid {
				t.Errorf("verified %+v", w.verified)
			}
		})
	}
}

// converse plays a client against a server to the end.
func converse(server gosasl.Server, client *scram.ClientConversation) error {
	challenge := ""
	for {
		response, err := client.Step(challenge)
		if err != nil {
			return fmt.Errorf("client: %w", err)
		}
		next, done, err := server.Next([]byte(response))
		if err != nil || done {
			return err
		}
		challenge = string(next)
	}
}

// TestSCRAMMalformed: what breaks the grammar or the rules ends the exchange at
// once; a wrong last message is for Verify to answer, as a wrong password is.
func TestSCRAMMalformed(t *testing.T) {
	const first = "n,,n=bob,r=abc"
	long := strings.Repeat("x", MaxName+1)
	for _, row := range []struct {
		name, mechanism, first string
		final                  string // empty: the first message is refused
	}{
		{"empty", "SCRAM-SHA-256", "", ""},
		{"no fields", "SCRAM-SHA-256", "bob", ""},
		{"no user", "SCRAM-SHA-256", "n,,r=abc,x=y", ""},
		{"empty user", "SCRAM-SHA-256", "n,,n=,r=abc", ""},
		{"no nonce", "SCRAM-SHA-256", "n,,n=bob", ""},
		{"empty nonce", "SCRAM-SHA-256", "n,,n=bob,r=", ""},
		{"flag", "SCRAM-SHA-256", "z,,n=bob,r=abc", ""},
		{"downgrade", "SCRAM-SHA-256", "y,,n=bob,r=abc", ""},
		{"bound without PLUS", "SCRAM-SHA-256", "p=tls-exporter,,n=bob,r=abc", ""},
		{"PLUS unbound", "SCRAM-SHA-256-PLUS", first, ""},
		{"PLUS, y", "SCRAM-SHA-256-PLUS", "y,,n=bob,r=abc", ""},
		{"kind that is not there", "SCRAM-SHA-256-PLUS", "p=tls-unique,,n=bob,r=abc", ""},
		{"kind that is not known", "SCRAM-SHA-256-PLUS", "p=x,,n=bob,r=abc", ""},
		{"extension", "SCRAM-SHA-256", "n,,m=x,n=bob,r=abc", ""},
		{"authzid", "SCRAM-SHA-256", "n,x=alice,n=bob,r=abc", ""},
		{"escape in user", "SCRAM-SHA-256", "n,,n=b=ob,r=abc", ""},
		{"escape in authzid", "SCRAM-SHA-256", "n,a==,n=bob,r=abc", ""},
		{"NUL", "SCRAM-SHA-256", "n,,n=b\x00b,r=abc", ""},
		{"invalid UTF-8", "SCRAM-SHA-256", "n,,n=b\xffb,r=abc", ""},
		{"control character in authzid", "SCRAM-SHA-256", "n,a=\x1b,n=bob,r=abc", ""},
		{"long user", "SCRAM-SHA-256", "n,,n=" + long + ",r=abc", ""},
		{"long", "SCRAM-SHA-256", "n,,n=bob,r=" + strings.Repeat("x", MaxResponse), ""},
		{"final: empty", "SCRAM-SHA-256", first, "-"},
		{"final: no proof", "SCRAM-SHA-256", first, "c=biws,r=NONCE"},
		{"final: short proof", "SCRAM-SHA-256", first, "c=biws,r=NONCE,p=YQ=="},
		{"final: no base64", "SCRAM-SHA-256", first, "c=biws,r=NONCE,p=!"},
		{"final: another header", "SCRAM-SHA-256", first, "c=eSws,r=NONCE,p=" + strings.Repeat("A", 43) + "="},
		{"final: another nonce", "SCRAM-SHA-256", first, "c=biws,r=abc,p=" + strings.Repeat("A", 43) + "="},
		{"final: wrong proof", "SCRAM-SHA-256", first, "c=biws,r=NONCE,p=" + strings.Repeat("A", 43) + "="},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := &scramWorld{offered: true}
			server := w.server(t, row.mechanism)
			challenge, done, err := server.Next([]byte(row.first))
			if row.final == "" {
				if done || !errors.Is(err, ErrMalformed) || imap.CodeOf(err) != imap.CodeAuthenticationFailed {
					t.Errorf("got %q, %v, %v", challenge, done, err)
				}
			} else {
				nonce, _, _ := strings.Cut(strings.TrimPrefix(string(challenge), "r="), ",")
				_, done, err := server.Next([]byte(strings.ReplaceAll(row.final, "NONCE", nonce)))
				if done || !errors.Is(err, errWrong) || len(w.verified) != 1 || w.verified[0].Proof.OK {
					t.Errorf("got %v, %v after %+v", done, err, w.verified)
				}
			}
			if _, done, err := server.Next(nil); done || err == nil {
				t.Errorf("a refused exchange went on: %v, %v", done, err)
			}
		})
	}
}

// Who knows the salt of a user must not log in without confirming the server's
// proof, nor by saying more.
func TestSCRAMAfterProof(t *testing.T) {
	for _, last := range []string{"", "x"} {
		w := &scramWorld{}
		server := w.server(t, "SCRAM-SHA-256")
		client, _ := hashOf("SCRAM-SHA-256").NewClient("bob", "pencil", "")
		talk := client.NewConversation()
		challenge, _, err := server.Next(nil)
		if len(challenge) != 0 || err != nil {
			t.Fatal(challenge, err)
		}
		for range 2 {
			response, err := talk.Step(string(challenge))
			if err != nil {
				t.Fatal(err)
			}
			var done bool
			if challenge, done, err = server.Next([]byte(response)); done || err != nil {
				t.Fatal(done, err)
			}
		}
		if _, done, err := server.Next([]byte(last)); done != (last == "") || (err == nil) != (last == "") {
			t.Errorf("%q: %v, %v", last, done, err)
		}
	}
}

func FuzzSCRAM(f *testing.F) {
	for _, s := range []string{"n,,n=bob,r=abc", "y,a=x,n=b=2C,r=", "p=tls-exporter,,n=bob,r=abc,x=y", "n,,n=bob,r=abc,m=", ",,,,"} {
		f.Add(s, "c=biws,r=abc,p=AAAA")
	}
	f.Fuzz(func(t *testing.T, first, final string) {
		for _, m := range Mechanisms() {
			if !m.Keys {
				continue
			}
			w := &scramWorld{}
			server := w.server(t, m.Name)
			if _, done, err := server.Next([]byte(first)); done || err != nil {
				continue
			}
			if _, done, err := server.Next([]byte(final)); done || err == nil {
				t.Errorf("%s: %q, %q was accepted", m.Name, first, final)
			}
			if c := w.verified[0]; !validName(c.AuthID) || !validName(c.AuthzID) || c.AuthID == "" {
				t.Errorf("%s passed bad names: %+v", m.Name, c)
			}
		}
	})
}

package sasl

import (
	"errors"
	"strings"
	"testing"

	gosasl "github.com/emersion/go-sasl"

	"github.com/roost-mail/roost/imap"
)

// exchange plays responses against a mechanism; "-" stands for a missing initial response.
func exchange(t *testing.T, mechanism string, responses ...string) (got *Credentials, challenges []string, err error) {
	t.Helper()
	rows, err := Select(mechanism)
	if err != nil {
		t.Fatal(err)
	}
	server := rows[0].NewServer(Exchange{Verify: func(c Credentials) error {
		got = &c
		return nil
	}})
	for _, r := range responses {
		var response []byte
		if r != "-" {
			response = []byte(r)
		}
		challenge, done, err := server.Next(response)
		if err != nil {
			return got, challenges, err
		}
		if done {
			if _, _, err := server.Next([]byte("again")); !errors.Is(err, gosasl.ErrUnexpectedClientResponse) {
				t.Errorf("a response after the end: %v", err)
			}
			return got, challenges, nil
		}
		challenges = append(challenges, string(challenge))
	}
	return got, challenges, nil
}

func TestServers(t *testing.T) {
	long := strings.Repeat("x", MaxName+1)
	rows := []struct {
		name, mechanism string
		responses       []string
		want            Credentials // the zero value: refused
		challenges      string
	}{
		{"plain", "PLAIN", []string{"\x00bob\x00pass"}, Credentials{AuthzID: "", AuthID: "bob", Password: "pass"}, ""},
		{"plain with authzid", "plain", []string{"alice\x00bob\x00pass"}, Credentials{AuthzID: "alice", AuthID: "bob", Password: "pass"}, ""},
		{"plain without initial response", "PLAIN", []string{"-", "\x00bob\x00pass"}, Credentials{AuthzID: "", AuthID: "bob", Password: "pass"}, ""},
		{"plain, empty password is not ours to judge", "PLAIN", []string{"\x00bob\x00"}, Credentials{AuthzID: "", AuthID: "bob", Password: ""}, ""},
		{"plain, Latin-1 password", "PLAIN", []string{"\x00bob\x00p\xe4ss\t"}, Credentials{AuthzID: "", AuthID: "bob", Password: "p\xe4ss\t"}, ""},
		{"plain, UTF-8 name", "PLAIN", []string{"\x00bjørn\x00x"}, Credentials{AuthzID: "", AuthID: "bjørn", Password: "x"}, ""},
		{"plain, empty", "PLAIN", []string{""}, Credentials{}, ""},
		{"plain, two parts", "PLAIN", []string{"bob\x00pass"}, Credentials{}, ""},
		{"plain, NUL in password", "PLAIN", []string{"\x00bob\x00pa\x00ss"}, Credentials{}, ""},
		{"plain, no authid", "PLAIN", []string{"alice\x00\x00pass"}, Credentials{}, ""},
		{"plain, TAB in authid", "PLAIN", []string{"\x00b\tob\x00pass"}, Credentials{}, ""},
		{"plain, LF in authzid", "PLAIN", []string{"alice\n\x00bob\x00pass"}, Credentials{}, ""},
		{"plain, C1 control", "PLAIN", []string{"\x00b\u0085ob\x00pass"}, Credentials{}, ""},
		{"plain, invalid UTF-8", "PLAIN", []string{"\x00b\xffob\x00pass"}, Credentials{}, ""},
		{"plain, long authid", "PLAIN", []string{"\x00" + long + "\x00pass"}, Credentials{}, ""},
		{"plain, long authzid", "PLAIN", []string{long + "\x00bob\x00pass"}, Credentials{}, ""},
		{"plain, long message", "PLAIN", []string{"\x00bob\x00" + strings.Repeat("x", MaxResponse)}, Credentials{}, ""},
		{"login", "LOGIN", []string{"-", "bob", "pass"}, Credentials{AuthzID: "", AuthID: "bob", Password: "pass"}, "Username:,Password:"},
		{"login, empty initial response", "LOGIN", []string{"", "bob", "pass"}, Credentials{AuthzID: "", AuthID: "bob", Password: "pass"}, "Username:,Password:"},
		{"login, name as initial response", "LOGIN", []string{"bob", "pass"}, Credentials{AuthzID: "", AuthID: "bob", Password: "pass"}, "Password:"},
		{"login, no name", "LOGIN", []string{"-", "", "pass"}, Credentials{}, "Username:"},
		{"login, NUL in name", "LOGIN", []string{"a\x00b", "pass"}, Credentials{}, ""},
		{"login, NUL in password", "LOGIN", []string{"bob", "pa\x00ss"}, Credentials{}, "Password:"},
		{"login, long password", "LOGIN", []string{"bob", strings.Repeat("x", MaxPassword+1)}, Credentials{}, "Password:"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, challenges, err := exchange(t, row.mechanism, row.responses...)
			if c := strings.Join(challenges, ","); c != row.challenges {
				t.Errorf("challenges %q, want %q", c, row.challenges)
			}
			if row.want == (Credentials{}) {
				if got != nil || !errors.Is(err, ErrMalformed) || imap.CodeOf(err) != imap.CodeAuthenticationFailed {
					t.Errorf("got %v, %v; want a refusal", got, err)
				}
				return
			}
			if err != nil || got == nil || *got != row.want {
				t.Errorf("got %v, %v; want %v", got, err, row.want)
			}
		})
	}
}

// What the function says about the credentials is what the exchange ends with.
func TestVerifyError(t *testing.T) {
	refused := errors.New("refused")
	for _, m := range Mechanisms() {
		if m.Keys {
			continue // TestSCRAM
		}
		server := m.NewServer(Exchange{Verify: func(Credentials) error { return refused }})
		response := []byte("\x00bob\x00pass")
		if m.Name == "LOGIN" {
			if _, _, err := server.Next([]byte("bob")); err != nil {
				t.Fatal(err)
			}
			response = []byte("pass")
		}
		if _, _, err := server.Next(response); !errors.Is(err, refused) {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
}

func TestPlainClient(t *testing.T) {
	rows := []struct {
		name string
		c    Credentials
		want string // empty: refused
	}{
		{"back session", Credentials{AuthzID: "alice", AuthID: "bob", Password: "secret"}, "alice\x00bob\x00secret"},
		{"own session", Credentials{AuthzID: "", AuthID: "bob", Password: "secret"}, "\x00bob\x00secret"},
		{"NUL in password", Credentials{AuthzID: "alice", AuthID: "bob", Password: "x\x00y"}, ""},
		{"NUL in name", Credentials{AuthzID: "alice\x00eve", AuthID: "bob", Password: "x"}, ""},
		{"no authid", Credentials{AuthzID: "alice", AuthID: "", Password: "x"}, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			client := newPlainClient(row.c)
			mech, ir, err := client.Start()
			if row.want == "" {
				if !errors.Is(err, ErrMalformed) || ir != nil {
					t.Errorf("got %q, %v; want a refusal", ir, err)
				}
				return
			}
			if mech != "PLAIN" || string(ir) != row.want || err != nil {
				t.Errorf("got %s %q, %v", mech, ir, err)
			}
			if again, err := client.Next([]byte{}); string(again) != row.want || err != nil {
				t.Errorf("answer to an empty challenge: %q, %v", again, err)
			}
			if _, err := client.Next([]byte("what?")); err == nil {
				t.Error("an unexpected challenge was answered")
			}
		})
	}
}

func TestSelect(t *testing.T) {
	rows, err := Select("login", "PLAIN")
	if err != nil || len(rows) != 2 || rows[0].Name != "LOGIN" || rows[1].Name != "PLAIN" {
		t.Errorf("got %v, %v", rows, err)
	}
	if _, err := Select("plain", "cram-md5"); err == nil {
		t.Error("an unknown mechanism was accepted")
	}
}

// FuzzServers demands that whatever is accepted obeys the limits, and that the
// client side says the same bytes again.
func FuzzServers(f *testing.F) {
	for _, s := range []string{"", "\x00", "\x00bob\x00pass", "alice\x00bob\x00pass", "\x00\x00\x00", "a\x00b\x00c\x00d", "\xff\x00b\x00c"} {
		f.Add([]byte(s), []byte("pass"))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		for _, m := range Mechanisms() {
			if m.Keys {
				continue // FuzzSCRAM
			}
			server := m.NewServer(Exchange{Verify: func(c Credentials) error {
				if !validName(c.AuthID) || !validName(c.AuthzID) || c.AuthID == "" {
					t.Errorf("%s passed bad names: %+v", m.Name, c)
				}
				_, ir, err := newPlainClient(c).Start()
				if err != nil || (m.Name == "PLAIN" && string(ir) != string(first)) {
					t.Errorf("client side of %+v: %q, %v", c, ir, err)
				}
				return nil
			}})
			if _, done, err := server.Next(first); err == nil && !done {
				_, _, _ = server.Next(second)
			}
		}
	})
}

func BenchmarkPlain(b *testing.B) {
	b.ReportAllocs()
	response := []byte("alice\x00bob\x00secret")
	for b.Loop() {
		server := newPlainServer(Exchange{Verify: func(Credentials) error { return nil }})
		if _, _, err := server.Next(response); err != nil {
			b.Fatal(err)
		}
	}
}

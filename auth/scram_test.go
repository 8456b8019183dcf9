package auth

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xdg-go/scram"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/sasl"
)

// loginSCRAM logs in as a client that we did not write does.
func loginSCRAM(t *testing.T, a *Authenticator, req Request, password string) (*Result, error) {
	t.Helper()
	rows, err := sasl.Select(req.Mechanism)
	if err != nil {
		t.Fatal(err)
	}
	hash := scram.SHA256
	if req.Mechanism == "SCRAM-SHA-1" {
		hash = scram.SHA1
	}
	client, err := hash.NewClient(req.AuthID, password, req.AuthzID)
	if err != nil {
		t.Fatal(err)
	}
	var result *Result
	server := rows[0].NewServer(sasl.Exchange{
		Keys: func(_ string, c sasl.Credentials) (sasl.Keys, error) {
			req.AuthzID, req.AuthID = c.AuthzID, c.AuthID
			return a.Keys(t.Context(), req)
		},
		Verify: func(c sasl.Credentials) (err error) {
			req.Proof = c.Proof
			result, err = a.Authenticate(t.Context(), req)
			return err
		},
	})
	talk := client.NewConversation()
	for challenge := ""; ; {
		response, err := talk.Step(challenge)
		if err != nil {
			t.Fatal(err)
		}
		next, done, err := server.Next([]byte(response))
		if err != nil {
			return nil, err
		}
		if done {
			return result, nil
		}
		challenge = string(next)
	}
}

// scramUsers has users with each kind of stored password.
func scramUsers(t *testing.T) string {
	t.Helper()
	text := ""
	for name, scheme := range map[string]string{"plain": "PLAIN", "hex": "CLEAR.HEX", "sha1": "SCRAM-SHA-1", "sha256": "SCRAM-SHA-256", "encoded": "SCRAM-SHA-256.B64", "crypt": "SHA512-CRYPT"} {
		hash, err := HashPassword(scheme, name, "pencil", 0)
		if err != nil {
			t.Fatal(err)
		}
		text += name + ":" + hash + "\n"
	}
	return writeFile(t, text+"off:{PLAIN}pencil::::::nologin\nnet:{PLAIN}pencil::::::allow_nets=192.0.2.0/24\nopen:::::::nopassword\nprep:{PLAIN}a\u00a0b\n")
}

func TestSCRAMLogin(t *testing.T) {
	a := newAuth(t, Config{
		Names: NameConfig{MasterSeparator: "*"},
		Passdbs: []PassdbConfig{
			{Driver: "static", Master: true, Args: "password=master-secret", ResultSuccess: "continue"},
			{Driver: "passwd-file", Args: scramUsers(t)},
		},
	})
	for _, row := range []struct{ mechanism, authzid, user, password, want string }{
		{"SCRAM-SHA-256", "", "plain", "pencil", "plain"},
		{"SCRAM-SHA-1", "", "plain", "pencil", "plain"},
		{"SCRAM-SHA-256", "", "PLAIN", "pencil", "plain"},
		{"SCRAM-SHA-256", "", "hex", "pencil", "hex"},
		{"SCRAM-SHA-256", "", "sha256", "pencil", "sha256"},
		{"SCRAM-SHA-256", "", "encoded", "pencil", "encoded"},
		{"SCRAM-SHA-1", "", "sha1", "pencil", "sha1"},
		{"SCRAM-SHA-256", "", "prep", "a b", "prep"},
		{"SCRAM-SHA-256", "", "plain", "pen", "AUTHENTICATIONFAILED"},
		{"SCRAM-SHA-256", "", "sha256", "pen", "AUTHENTICATIONFAILED"},
		{"SCRAM-SHA-256", "", "sha1", "pencil", "AUTHENTICATIONFAILED"},
		{"SCRAM-SHA-256", "", "crypt", "pencil", "AUTHENTICATIONFAILED"},
		{"SCRAM-SHA-256", "", "nobody", "pencil", "AUTHENTICATIONFAILED"},
		{"SCRAM-SHA-256", "", "open", "pencil", "AUTHENTICATIONFAILED"},
		{"SCRAM-SHA-256", "", "off", "pencil", "AUTHORIZATIONFAILED"},
		{"SCRAM-SHA-256", "", "off", "pen", "AUTHENTICATIONFAILED"},
		{"SCRAM-SHA-256", "", "net", "pencil", "AUTHENTICATIONFAILED"},
		{"SCRAM-SHA-256", "", "a/b", "pencil", "AUTHENTICATIONFAILED"},
		{"SCRAM-SHA-256", "plain", "sha256", "master-secret", "plain as sha256"},
		{"SCRAM-SHA-256", "", "plain*sha256", "master-secret", "plain as sha256"},
		{"SCRAM-SHA-256", "plain", "sha256", "pencil", "AUTHENTICATIONFAILED"},
		{"SCRAM-SHA-256", "plain", "plain", "pencil", "plain"},
	} {
		req := Request{Mechanism: row.mechanism, AuthzID: row.authzid, AuthID: row.user, RemoteAddr: abroad}
		if got := say(loginSCRAM(t, a, req, row.password)); got != row.want {
			t.Errorf("%+v: %s", row, got)
		}
	}
}

// Users who do not exist cannot be told from those who do: their salts stay, also
// after a restart with the same secret, and their iterations are the usual ones.
func TestSCRAMInventedKeys(t *testing.T) {
	for _, scheme := range []string{"PLAIN", "SCRAM-SHA-256", "SHA512-CRYPT"} {
		hash, err := HashPassword(scheme, "bob", "pencil", 0)
		if err != nil {
			t.Fatal(err)
		}
		config := Config{Passdbs: []PassdbConfig{{Driver: "passwd-file", Args: writeFile(t, "bob:"+hash+"\n")}}, Secret: []byte("secret")}
		keys := func(user string, config Config) sasl.Keys {
			k, err := newAuth(t, config).Keys(t.Context(), Request{Mechanism: "SCRAM-SHA-256", AuthID: user})
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		first, again, other, known := keys("nobody", config), keys("nobody", config), keys("somebody", config), keys("bob", config)
		if fmt.Sprint(first) != fmt.Sprint(again) {
			t.Errorf("%s: other keys after a restart", scheme)
		}
		if first.Salt == other.Salt || fmt.Sprint(first.StoredKey) == fmt.Sprint(other.StoredKey) {
			t.Errorf("%s: two users have the same keys", scheme)
		}
		if first.Iterations != known.Iterations || len(first.Salt) != len(known.Salt) || len(first.StoredKey) != len(known.StoredKey) {
			t.Errorf("%s: %+v does not look like %+v", scheme, first, known)
		}
		config.Secret = nil
		if keys("nobody", config).Salt == first.Salt {
			t.Errorf("%s: the secret is not used", scheme)
		}
	}
}

// A proof about keys of a password that was changed meanwhile proves nothing, and
// no proof that was not made is taken.
func TestSCRAMProof(t *testing.T) {
	a := newAuth(t, Config{Passdbs: []PassdbConfig{{Driver: "static", Args: "password=new"}}})
	old, err := sasl.DeriveKeys("SCRAM-SHA-256", "old", "salt", 4096)
	if err != nil {
		t.Fatal(err)
	}
	for _, proof := range []sasl.Proof{
		{Mechanism: "SCRAM-SHA-256", Keys: old, OK: true},
		{Mechanism: "SCRAM-SHA-256", OK: true},
		{},
	} {
		if got := say(a.Authenticate(t.Context(), Request{AuthID: "bob", Password: "new", Proof: &proof})); got != string(imap.CodeAuthenticationFailed) {
			t.Errorf("%+v: %s", proof, got)
		}
	}
}

// Guesses by SCRAM wait as others do, each longer than the one before.
func TestSCRAMPenalty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, Config{
			Passdbs: []PassdbConfig{{Driver: "static", Args: "password=pencil"}}, MaxPenalty: 15 * time.Second,
		})
		for _, want := range []time.Duration{0, 2, 4, 8, 15} {
			start := time.Now()
			_, err := loginSCRAM(t, a, Request{Mechanism: "SCRAM-SHA-256", AuthID: "bob", RemoteAddr: office}, "pen")
			if took := time.Since(start); took != want*time.Second || err == nil {
				t.Errorf("%v after %v, want %v s", err, took, want)
			}
		}
	})
}

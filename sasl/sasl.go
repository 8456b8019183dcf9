// Package sasl is how a user proves who they are: the SASL mechanisms of RFC 4422
// that Roost speaks, both sides.
//
// A server side reads bytes, checks their form and hands the credentials to one
// function; it does not know users. Names leave this package as they were typed:
// package auth normalises and compares them. Nothing here keeps state but a
// running exchange, which belongs to the connection that started it.
//
// What it does not do: base64, which is the protocol's; and the decision whether
// a mechanism may be used on a connection that is not secured.
package sasl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	gosasl "github.com/emersion/go-sasl"

	"github.com/roost-mail/roost/imap"
)

// Limits on what a peer may send, in bytes after base64 is removed.
const (
	MaxName     = 1024 // authorization and authentication identity, each
	MaxPassword = 4096
	// MaxResponse is the longest response of any mechanism here. A protocol
	// need not read a longer one.
	MaxResponse = 2*(MaxName+1) + MaxPassword
)

// ErrMalformed is the cause of a refusal of bytes that break the mechanism's grammar.
var ErrMalformed = errors.New("malformed SASL response")

// Credentials are what a plaintext mechanism yields.
//
// AuthzID is whose mail is wanted and is empty if the client did not say; AuthID
// is who asks. Both are valid UTF-8 without control characters. Password may hold
// any byte but NUL: old clients send Latin-1.
type Credentials struct {
	AuthzID  string
	AuthID   string
	Password string

	Proof      *Proof      // of SCRAM, which has no password
	Delegation *Delegation // in place of a password; nobody has looked at its signature
}

// Verify decides about credentials. What it returns is what Next of the server
// side returns. It is called once an exchange, on the caller's goroutine.
type Verify func(Credentials) error

// Exchange is what a server side needs of its caller.
type Exchange struct {
	Verify Verify
	// Keys gives the keys of AuthID for a SCRAM mechanism, on the caller's
	// goroutine. It must give some for users who do not exist too, always the
	// same ones; an error ends the exchange.
	Keys func(mechanism string, c Credentials) (Keys, error)
	// Binding gives the bytes of a channel binding of some kind. nil: none.
	Binding func(kind string) ([]byte, error)
	// BindingOffered says that the client was shown a mechanism with channel binding.
	BindingOffered bool
}

// Mechanism is one row of the table.
type Mechanism struct {
	Name string
	// Plaintext says that what lets in crosses the connection readably, so
	// that the connection must be secured first.
	Plaintext bool
	Keys      bool // Exchange.Keys is needed
	// ForAnother says that nobody can open the own mail by it.
	ForAnother bool
	Binding    bool // Exchange.Binding is needed
	// NewServer starts one exchange. The server side is not safe for concurrent use.
	NewServer func(Exchange) gosasl.Server
}

// Mechanisms is the table, the preferred mechanism first.
func Mechanisms() []Mechanism {
	return []Mechanism{
		scramRow("SCRAM-SHA-256-PLUS"),                              // RFC 7677
		scramRow("SCRAM-SHA-256"),                                   // RFC 7677
		scramRow("SCRAM-SHA-1-PLUS"),                                // RFC 5802
		scramRow("SCRAM-SHA-1"),                                     // RFC 5802
		{Name: "PLAIN", Plaintext: true, NewServer: newPlainServer}, // RFC 4616
		{Name: "LOGIN", Plaintext: true, NewServer: newLoginServer}, // draft-murchison-sasl-login
	}
}

// Select is the rows of the named mechanisms (the setting auth_mechanisms), in
// the order of names; case does not matter. An unknown name is an error.
func Select(names ...string) ([]Mechanism, error) {
	table := Mechanisms()
	rows := make([]Mechanism, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(table, func(m Mechanism) bool { return strings.EqualFold(m.Name, name) })
		if i < 0 {
			return nil, fmt.Errorf("unknown SASL mechanism %q", name)
		}
		rows = append(rows, table[i])
	}
	return rows, nil
}

// check is the form that both sides demand, RFC 4616 section 2.
func (c Credentials) check() error {
	switch {
	case c.AuthID == "":
		return malformed("no authentication identity")
	case !validName(c.AuthID):
		return malformed("authentication identity")
	case !validName(c.AuthzID):
		return malformed("authorization identity")
	case len(c.Password) > MaxPassword || strings.Contains(c.Password, "\x00"):
		return malformed("password")
	}
	return nil
}

func validName(s string) bool {
	return len(s) <= MaxName && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// malformed never quotes what was sent: it may hold the password.
func malformed(what string) error {
	return imap.Wrap(imap.CodeAuthenticationFailed, "Invalid authentication data.", fmt.Errorf("%w: %s", ErrMalformed, what))
}

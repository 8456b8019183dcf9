package imapserver

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	gosasl "github.com/emersion/go-sasl"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/sasl"
)

// authenticate is AUTHENTICATE. RFC 3501 section 6.2.2, RFC 4959.
func (s *session) authenticate(ctx context.Context, cmd *command) error {
	mechanism, initial, err := s.parseAuthenticate()
	if err != nil {
		return err
	}
	offered := func(m sasl.Mechanism) bool { return strings.EqualFold(m.Name, mechanism) }
	i := slices.IndexFunc(s.cfg.Mechanisms, offered)
	if i < 0 {
		return imap.Errorf(imap.CodeNone, "Unsupported authentication mechanism.")
	}
	m := s.cfg.Mechanisms[i]
	if m.Plaintext || s.cfg.SecuredOnly() {
		if err := s.checkSecured(); err != nil {
			return err
		}
	}
	server := m.NewServer(func(c sasl.Credentials) error {
		return s.logIn(ctx, &Credentials{Mechanism: m.Name, AuthzID: c.AuthzID, AuthID: c.AuthID, Password: c.Password})
	})
	if err := s.exchange(server, initial); err != nil {
		return err
	}
	s.welcome(cmd)
	return nil
}

// parseAuthenticate reads the arguments. initial is nil if there is none; "="
// is an empty one (RFC 4959 section 3).
func (s *session) parseAuthenticate() (mechanism string, initial []byte, err error) {
	if !s.dec.ExpectSP() || !s.dec.ExpectAtom(&mechanism) {
		return "", nil, s.dec.Err()
	}
	var text string
	if s.dec.SP() {
		if !s.dec.Expect(s.dec.Text(&text), "initial response") {
			return "", nil, s.dec.Err()
		}
		if text == "=" {
			initial = []byte{}
		} else if initial, err = decodeBase64(text); err != nil {
			return "", nil, err
		}
	}
	s.dec.ExpectCRLF()
	return mechanism, initial, s.dec.Err()
}

// exchange asks and answers until the mechanism is done. The mechanism's end is
// also that of the login: it is its last step that verifies.
func (s *session) exchange(server gosasl.Server, response []byte) error {
	for {
		challenge, done, err := server.Next(response)
		if err != nil || done {
			return err
		}
		s.enc.RawString("+ ").RawString(base64.StdEncoding.EncodeToString(challenge)).CRLF()
		if response, err = s.readResponse(); err != nil {
			return err
		}
	}
}

func (s *session) readResponse() ([]byte, error) {
	var text string
	if !s.dec.Expect(s.dec.Text(&text), "response") || !s.dec.ExpectCRLF() {
		return nil, s.dec.Err()
	}
	if text == "*" {
		return nil, imap.BadCommand("Authentication cancelled by the client")
	}
	return decodeBase64(text)
}

func decodeBase64(text string) ([]byte, error) {
	if base64.StdEncoding.DecodedLen(len(text)) > sasl.MaxResponse+2 {
		return nil, imap.BadCommand("Authentication response is too long")
	}
	data, err := base64.StdEncoding.DecodeString(strings.TrimRight(text, " "))
	if err != nil {
		return nil, imap.BadCommand("Invalid base64 data")
	}
	return data, nil
}

package imapserver

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/sasl"
)

// authenticate is AUTHENTICATE. RFC 3501 section 6.2.2, RFC 4959.
func (s *session) authenticate(ctx context.Context, cmd *command) error {
	mechanism, initial, err := s.parseAuthenticate()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(s.cfg.Mechanisms, func(m sasl.Mechanism) bool {
		return strings.EqualFold(m.Name, mechanism) && s.speaks(m)
	})
	if i < 0 {
		return imap.Errorf(imap.CodeNone, "Unsupported authentication mechanism.")
	}
	m := s.cfg.Mechanisms[i]
	if m.Plaintext || s.cfg.SecuredOnly() {
		if err := s.checkSecured(); err != nil {
			return err
		}
	}
	login, cred, err := s.exchange(ctx, m, initial)
	if err != nil {
		return err
	}
	s.adopt(login, cred)
	s.welcome(cmd)
	return nil
}

// speaks says whether this connection and the Authenticator have what a
// mechanism needs, but for privacy, and whether it is for this door.
func (s *session) speaks(m sasl.Mechanism) bool {
	_, keys := s.cfg.Authenticator.(KeyHolder)
	if m.ForAnother && s.client.Door != nil && s.client.Door.NoMasters {
		return false
	}
	return (keys || !m.Keys) && (s.client.ChannelBinding != nil || !m.Binding)
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

// exchange asks and answers until the mechanism is done. A login counts only
// then: SCRAM has a step behind the one that verifies.
func (s *session) exchange(ctx context.Context, m sasl.Mechanism, response []byte) (login *Login, cred *Credentials, err error) {
	server := m.NewServer(sasl.Exchange{
		Verify: func(c sasl.Credentials) error {
			cred = &Credentials{Mechanism: m.Name, AuthzID: c.AuthzID, AuthID: c.AuthID, Password: c.Password, Proof: c.Proof, Delegation: c.Delegation}
			login, err = s.logIn(ctx, cred)
			return err
		},
		Keys: func(mechanism string, c sasl.Credentials) (sasl.Keys, error) {
			return s.keys(ctx, &Credentials{Mechanism: mechanism, AuthzID: c.AuthzID, AuthID: c.AuthID})
		},
		Binding:        s.client.ChannelBinding,
		BindingOffered: slices.ContainsFunc(s.cfg.Mechanisms, func(m sasl.Mechanism) bool { return m.Binding && s.speaks(m) }),
	})
	for {
		challenge, done, err := server.Next(response)
		if done && err == nil {
			return login, cred, nil
		}
		if err == nil {
			s.enc.RawString("+ ").RawString(base64.StdEncoding.EncodeToString(challenge)).CRLF()
			response, err = s.readResponse()
		}
		if err != nil {
			s.discard(login)
			return nil, nil, err
		}
	}
}

// keys asks the Authenticator for what a mechanism without a password needs.
func (s *session) keys(ctx context.Context, cred *Credentials) (sasl.Keys, error) {
	holder, ok := s.cfg.Authenticator.(KeyHolder)
	if !ok {
		return sasl.Keys{}, errors.New("authenticator has no keys")
	}
	keys, err := holder.Keys(ctx, s.client, *cred)
	if err != nil {
		s.logRefused(cred, err)
	}
	return keys, err
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

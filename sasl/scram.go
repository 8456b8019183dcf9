package sasl

import (
	"crypto/hmac"
	"errors"
	"strings"

	gosasl "github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"
)

// Proof is what a SCRAM exchange yields instead of a password: the keys that it
// was about, and whether the client knew the password that they were made of.
type Proof struct {
	Mechanism string
	Keys      Keys
	OK        bool
}

// scramServer is the server side of SCRAM, RFC 5802 and RFC 7677.
type scramServer struct {
	row      Mechanism
	exchange Exchange
	step     scramStep
	talk     *scram.ServerConversation
	keys     Keys
}

type scramStep int

const (
	scramStepStart scramStep = iota
	scramStepFirst
	scramStepFinal
	scramStepOK // the client confirms the server's proof by an empty response
	scramStepDone
)

func scramRow(name string) Mechanism {
	row := Mechanism{Name: name, Keys: true, Binding: strings.HasSuffix(name, "-PLUS")}
	row.NewServer = func(x Exchange) gosasl.Server { return &scramServer{row: row, exchange: x} }
	return row
}

// Next verifies the login before the client gets the server's proof, so that an
// answer to a guess is never earlier than Verify allows.
func (s *scramServer) Next(response []byte) (challenge []byte, done bool, err error) {
	step := s.step
	s.step = scramStepDone // unless all goes well
	switch {
	case step == scramStepStart && response == nil:
		s.step = scramStepFirst
		return []byte{}, false, nil
	case len(response) > MaxResponse:
		return nil, false, malformed("too long")
	case step <= scramStepFirst:
		challenge, err = s.first(string(response))
		s.step = scramStepFinal
	case step == scramStepFinal:
		challenge, err = s.final(string(response))
		s.step = scramStepOK
	case step == scramStepOK && len(response) == 0:
		return nil, true, nil
	case step == scramStepOK:
		err = malformed("a response after the end")
	default:
		err = gosasl.ErrUnexpectedClientResponse
	}
	if err != nil {
		s.step = scramStepDone
	}
	return challenge, false, err
}

// first answers the client's first message with nonce, salt and iterations. The
// server's nonce is 24 random bytes in base64.
func (s *scramServer) first(message string) ([]byte, error) {
	binding, err := s.binding(message)
	if err != nil {
		return nil, err
	}
	if parts := strings.SplitN(message, ",", 5); len(parts) > 3 && parts[3] == "r=" {
		return nil, malformed("no nonce")
	}
	var failure error // of Keys, which the library would hide
	server, err := scram.HashGeneratorFcn(scramHash(s.row.Name)).NewServer(func(string) (scram.StoredCredentials, error) {
		c := s.credentials()
		if failure = c.check(); failure == nil {
			s.keys, failure = s.exchange.Keys(s.row.Name, c)
		}
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: s.keys.Salt, Iters: s.keys.Iterations},
			StoredKey:  s.keys.StoredKey, ServerKey: s.keys.ServerKey,
		}, failure
	})
	if err != nil {
		return nil, err
	}
	s.talk = server.NewConversation()
	if s.row.Binding {
		s.talk = server.NewConversationWithChannelBindingRequired(binding)
	}
	answer, err := s.talk.Step(message)
	switch {
	case failure != nil:
		return nil, failure
	case err != nil:
		return nil, malformed("first message")
	}
	return []byte(answer), nil
}

// binding judges the flag that the first message begins with (RFC 5802 section
// 6). "y", a client that believes there is no -PLUS here, although it was
// offered, means that somebody in between took it out of the list.
func (s *scramServer) binding(message string) (none scram.ChannelBinding, err error) {
	flag, _, _ := strings.Cut(message, ",")
	kind, bound := strings.CutPrefix(flag, "p=")
	switch {
	case bound && s.row.Binding && s.exchange.Binding != nil:
		data, err := s.exchange.Binding(kind)
		if err != nil || len(data) == 0 {
			return none, malformed("the kind of channel binding is not available")
		}
		return scram.ChannelBinding{Type: scram.ChannelBindingType(kind), Data: data}, nil
	case bound || s.row.Binding:
		return none, malformed("channel binding and mechanism do not fit")
	case flag == "y" && s.exchange.BindingOffered:
		return none, malformed("client did not see that channel binding is offered")
	}
	return none, nil
}

// final checks the client's proof.
func (s *scramServer) final(message string) ([]byte, error) {
	answer, err := s.talk.Step(message)
	c := s.credentials()
	c.Proof = &Proof{Mechanism: s.row.Name, Keys: s.keys, OK: err == nil && s.talk.Valid()}
	if err := s.exchange.Verify(c); err != nil {
		return nil, err
	}
	if !c.Proof.OK {
		return nil, errors.New("a wrong proof was accepted")
	}
	return []byte(answer), nil
}

func (s *scramServer) credentials() Credentials {
	return Credentials{AuthzID: s.talk.AuthzID(), AuthID: s.talk.Username()}
}

// Proves says whether the keys are those that the proof was about.
func (p *Proof) Proves(k Keys) bool {
	return p.OK && len(k.StoredKey) > 0 && hmac.Equal(p.Keys.StoredKey, k.StoredKey)
}

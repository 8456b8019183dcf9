package sasl

import gosasl "github.com/emersion/go-sasl"

// loginServer is the server side of LOGIN: two questions, no authorization
// identity. Some clients send the name as an initial response; an empty one
// counts as none.
type loginServer struct {
	verify Verify
	step   loginStep
	authID string
}

type loginStep int

const (
	loginStepStart loginStep = iota
	loginStepName
	loginStepPassword
	loginStepDone
)

func newLoginServer(x Exchange) gosasl.Server { return &loginServer{verify: x.Verify} }

func (s *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch s.step {
	case loginStepStart:
		s.step = loginStepName
		if len(response) == 0 {
			return []byte("Username:"), false, nil
		}
		return s.takeName(response)
	case loginStepName:
		return s.takeName(response)
	case loginStepPassword:
		return s.takePassword(response)
	}
	return nil, false, gosasl.ErrUnexpectedClientResponse
}

func (s *loginServer) takeName(response []byte) ([]byte, bool, error) {
	if err := (Credentials{AuthID: string(response)}).check(); err != nil {
		s.step = loginStepDone
		return nil, false, err
	}
	s.authID, s.step = string(response), loginStepPassword
	return []byte("Password:"), false, nil
}

func (s *loginServer) takePassword(response []byte) ([]byte, bool, error) {
	s.step = loginStepDone
	c := Credentials{AuthID: s.authID, Password: string(response)}
	if err := c.check(); err != nil {
		return nil, false, err
	}
	return nil, true, s.verify(c)
}

package sasl

import (
	"strings"

	gosasl "github.com/emersion/go-sasl"
)

// plainServer is the server side of PLAIN, RFC 4616.
type plainServer struct {
	verify Verify
	done   bool
}

func newPlainServer(verify Verify) gosasl.Server { return &plainServer{verify: verify} }

// Next answers a missing initial response (nil) with an empty challenge.
func (s *plainServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if s.done {
		return nil, false, gosasl.ErrUnexpectedClientResponse
	}
	if response == nil {
		return []byte{}, false, nil
	}
	s.done = true
	c, err := parsePlain(response)
	if err != nil {
		return nil, false, err
	}
	return nil, true, s.verify(c)
}

func parsePlain(response []byte) (Credentials, error) {
	if len(response) > MaxResponse {
		return Credentials{}, malformed("too long")
	}
	parts := strings.SplitN(string(response), "\x00", 4)
	if len(parts) != 3 {
		return Credentials{}, malformed("not three parts")
	}
	c := Credentials{AuthzID: parts[0], AuthID: parts[1], Password: parts[2]}
	return c, c.check()
}

// plainClient is the client side of PLAIN.
type plainClient struct{ credentials Credentials }

// NewPlainClient is the client side of PLAIN: a back session logs in with the
// owner as AuthzID and the acting user as AuthID. Start refuses credentials that
// the server side would refuse, so that a NUL cannot move the borders between them.
func NewPlainClient(c Credentials) gosasl.Client { return &plainClient{c} }

func (c *plainClient) Start() (mech string, ir []byte, err error) {
	if err := c.credentials.check(); err != nil {
		return "", nil, err
	}
	return "PLAIN", []byte(c.credentials.AuthzID + "\x00" + c.credentials.AuthID + "\x00" + c.credentials.Password), nil
}

// Next answers the one empty challenge of a server that took no initial response.
func (c *plainClient) Next(challenge []byte) ([]byte, error) {
	if len(challenge) != 0 {
		return nil, gosasl.ErrUnexpectedServerChallenge
	}
	_, ir, err := c.Start()
	return ir, err
}
